"""The largest numbers that anybody may ask for: beyond them a number is a slip, or overflows."""

from __future__ import annotations

MOST = 10**9
"""Of anything that is counted and has no smaller limit."""
CANDIDATES = 10**6
"""Candidates drawn at once, which are all kept in memory."""
DEPTH = 1000
"""Layers, blocks or cells."""
WIDTH = 2**16
"""Channels of a first stage."""
SEED = 2**63 - 1
"""Of random numbers."""
CLASSES = 2**20
"""Of images."""
SIDE = 2**14
"""Pixels a side of an image."""
THREADS = 1024
"""Processor threads."""
