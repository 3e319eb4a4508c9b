"""What supernets of one-of-many switches share: draws, credit, estimators, the network's part."""
