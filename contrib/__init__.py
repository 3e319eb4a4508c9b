"""What serves a reproduction from outside the package."""
