"""The paper's tables and figures, what it reports in them, and its released search."""
