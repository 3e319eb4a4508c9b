"""Data: where files come from, whole data sets in memory, splits, and batches on the device."""
