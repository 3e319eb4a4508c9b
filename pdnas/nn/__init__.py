"""Networks whose switches have a posterior: gates, objective, supernets, extraction."""
