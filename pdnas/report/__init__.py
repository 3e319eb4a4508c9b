"""Tables and figures from the files of runs; see :mod:`pdnas.report.collect` for what they read."""
