"""The command line, a module a stage."""
