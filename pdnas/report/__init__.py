"""Tables and figures from the files of runs; see :mod:`pdnas.report.collect` for what they read."""

from pdnas.report import nasbench  # noqa: F401  (its tables and figures join the registries)
