"""What every room stands on: errors, whole files, statistics, processes, provenance."""
