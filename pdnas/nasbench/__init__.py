"""NAS-Bench-201's ground truth and exact sample-efficiency arithmetic (no torch)."""
