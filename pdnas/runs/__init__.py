"""The folder of a run: what lies in it, how it is named, read and written."""
