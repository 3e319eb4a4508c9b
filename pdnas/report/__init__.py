"""Tables and figures from the files of runs; see :mod:`pdnas.report.collect` for what they read."""

OFFICIAL_FIGURES = tuple(
    f"official-{name}" for name in ("architecture", "trajectories", "dropped", "candidates")
)
"""What ``pdnas official`` draws from the released logs of SupNet-D-121's search."""


def target(kind: str, name: str) -> str:
    """The Snakemake target of a table or figure: ``table3``, ``figure1``, ``figure_best_of_n``."""
    if name in OFFICIAL_FIGURES:
        return "official"
    return name if name.startswith(kind) else f"{kind}_{name.replace('-', '_')}"
