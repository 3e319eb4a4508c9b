"""Speed and memory against what people would use instead: ``python -m benchmarks``."""
