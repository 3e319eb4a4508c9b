"""Tables of ground truth, exact sample efficiency, and searches of a table."""
