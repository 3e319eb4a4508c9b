"""The names of all files of a run's folder, and of the folder that holds a scale's runs.

What each file holds is in docs/files.md. Names with a source, mode and the like are functions, so
that a pattern (``ranking("*")``) or a wildcard (``ranking("{source}")``) can stand for them.
"""

from __future__ import annotations

from typing import get_args

from pdnas.spec.names import JudgedSource, RetrainMode

RUN = "run.json"
SPLITS = "splits.parquet"
WEIGHTS = "weights.safetensors"
POSTERIOR = "posterior.safetensors"
HISTORY = "history.parquet"
TRAJECTORY = "trajectory.parquet"
SEARCHED = (RUN, SPLITS, WEIGHTS, POSTERIOR, HISTORY, TRAJECTORY)
"""Everything that a supernet's search leaves."""
SEARCHED_ALONE = tuple(name for name in SEARCHED if name != WEIGHTS)
"""What a search leaves whose cells are trained alone."""

SCORES = "scores.parquet"
SCORES_RECORD = "scores.json"
EFFICIENCY = "efficiency.json"
EFFICIENCY_SCORED = "efficiency-scored.json"
SIZES = "sizes.json"
MACRO = "macro.json"
SUBNET_FOLDER = "subnet"
SUBNET_RECORD = "subnet.json"
NETWORK_FILES = ("network.py", "weights.safetensors", "network.pt2", "network.onnx")
"""Every file that an extraction writes beside its record, in whichever format."""
SUBNET = f"{SUBNET_FOLDER}/{SUBNET_RECORD}"
TENSORBOARD = "tensorboard"
CHECKPOINT = "checkpoint"
"""Folder of what a killed search, ranking or scoring goes on from."""


def candidates(source: str) -> str:
    return f"candidates-{source}.safetensors"


def ranking(source: str) -> str:
    return f"ranking-{source}.parquet"


def ranking_record(source: str) -> str:
    return f"ranking-{source}.json"


def candidate_label(source: str, number: int) -> str:
    """What stands for a source in file names where one of its candidates was named by number."""
    return f"{source}-{number}"


def cell_label(cell_id: int) -> str:
    """The same for a cell that was given; the number is the benchmark's cell id."""
    return f"cell-{cell_id}"


def result(label: str, mode: str) -> str:
    """Of a source's best candidate, or of an architecture with a label of its own."""
    return f"result-{label}-{mode}.json"


def retrain_checkpoint(label: str, mode: str) -> str:
    """Folder of the state that a fine-tuning or training from scratch goes on from."""
    return f"{CHECKPOINT}-{label}-{mode}"


def journal(work: str, belongs_to: str) -> str:
    """The rows that ``work`` (``scores``, ``ranking-posterior``) has finished, until all are."""
    return f"{CHECKPOINT}/{work}-{belongs_to}.jsonl"


RECORDS = (
    RUN,
    ranking_record("*"),
    *(
        result(source, mode)
        for source in sorted(get_args(JudgedSource))
        for mode in sorted(get_args(RetrainMode))
    ),
    "efficiency*.json",
    SCORES_RECORD,
    SIZES,
    MACRO,
    SUBNET,
)
"""Patterns of the records that reports are made from; each has its provenance. Results of given
candidates and cells are none: they answer somebody's own question."""

PUBLISHED = (
    *RECORDS,
    HISTORY,
    TRAJECTORY,
    POSTERIOR,
    candidates("*"),
    ranking("*"),
    SCORES,
)
"""Patterns of what is copied to be published: no weights, logs and splits."""

RUNS = "runs"
"""Folder of all scales' runs."""
SCALE_FILE = ".scale.json"
"""Which file's runs these are, in the folder of a scale that is no part of the package."""
WARM_UPS = "warm-ups"
RIVALS = "rivals"
REPORT = "report"
PUBLICATION = "published.json"
LEFT_OUT = "left-out.json"
"""Studies whose images could not be had, in the folder of a scale's runs."""


def run_folder(study: str, variant: str, seed: int | str) -> str:
    """Where a run lies under the folder of its scale's runs."""
    return f"{study}/{variant}/seed{seed}"


def rival_record(method: str, truth: str = "nasbench201") -> str:
    """How searches of a truth's table went."""
    return f"{_rivals(truth)}/{method}.json"


def rival_trace(method: str, truth: str = "nasbench201") -> str:
    """What they asked for."""
    return f"{_rivals(truth)}/{method}.parquet"


def _rivals(truth: str) -> str:
    return RIVALS if truth == "nasbench201" else f"{RIVALS}/{truth}"
