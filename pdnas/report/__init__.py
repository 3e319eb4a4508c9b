"""Tables and figures from the files of runs; see :mod:`pdnas.report.collect` for what they read."""


def target(kind: str, name: str) -> str:
    """The Snakemake target of a table or figure: ``table3``, ``figure1``, ``figure_best_of_n``."""
    if name.startswith("official-"):
        return "official"
    return name if name.startswith(kind) else f"{kind}_{name.replace('-', '_')}"
