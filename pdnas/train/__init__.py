"""Training: the loop, its checkpoints, the search of a posterior and the retraining of a choice."""
