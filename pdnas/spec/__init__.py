"""Validated specifications of searches, and the scales that come with the package."""
