"""A GPU that is lent for minutes, on a machine without internet: docs/gpu.md."""
