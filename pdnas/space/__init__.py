"""The spaces of architectures and distributions over them: mathematics only, no files."""
