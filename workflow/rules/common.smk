"""The scale, validated before anything runs, and the names that all rules share."""

import re
import sys
from functools import cache
from typing import get_args

from pdnas.data.absence import absent
from pdnas.runs import layout
from pdnas.runs.kept import claim_runs_folder, runs_folder
from pdnas.runs.left_out import remember
from pdnas.spec.base import NAME
from pdnas.spec.candidates import JUDGED
from pdnas.spec.names import JudgedSource, RetrainMode, RivalMethod, Source
from pdnas.spec.roles import source_of
from pdnas.spec.scale import load_scale
from pdnas.spec.selection import has_truth, judged_by, over_macro, over_sizes
from pdnas.spec.spec import SEARCH_PARTS
from pdnas.support import forkserver
from pdnas.support.errors import PdnasError
from pdnas.support.workflow import claim_folder, explain_interrupt, mark_jobs
from pdnas.support.workflow_view import attach

KNOWN_KEYS = {"scale", "studies"}

try:
    if unknown := set(config) - KNOWN_KEYS:
        raise PdnasError(
            f"unknown config key {min(unknown)!r}; known are {', '.join(sorted(KNOWN_KEYS))}"
        )
    SCALE = load_scale(str(config["scale"]))
    RUNS = runs_folder(str(config["scale"])).as_posix()
    chosen = config["studies"] or list(SCALE.studies)
    chosen = list(map(str, chosen)) if isinstance(chosen, list) else [str(chosen)]
    for name in chosen:
        if name not in SCALE.studies:
            raise PdnasError(f"no study {name!r} at this scale; choose {', '.join(SCALE.studies)}")
    STUDIES = {name: SCALE.studies[name] for name in chosen}
except PdnasError as error:
    print(f"pdnas: error: {error}", file=sys.stderr)
    sys.exit(2)

mark_jobs()
explain_interrupt()
VIEW = attach(workflow)
if workflow.is_main_process and not workflow.output_settings.dryrun:
    claim_runs_folder(str(config["scale"]))
    if claim_folder(Path.cwd()):
        print("pdnas: a killed workflow's lock was removed", file=sys.stderr)

RUN = f"{RUNS}/{layout.run_folder('{study}', '{variant}', '{seed}')}"
GPUS = SCALE.gpus if SCALE.device == "cuda" else 0
# What trains or ranks on several GPUs runs as one process for each.
PDNAS = f"torchrun --standalone --nproc-per-node {GPUS} -m pdnas.cli" if GPUS > 1 else "pdnas"

# Rules that compute with the images.
COMPUTING = {"search", "search_alone", "rank", "retrain", "scores", "extract"}
FEW_JOBS = 3
NONE = "(?!)"  # a pattern that nothing matches


wildcard_constraints:
    study=NAME,
    variant=NAME,
    seed=r"\d+",
    source="|".join(get_args(JudgedSource)),
    mode="|".join(get_args(RetrainMode)),


def warm_up():
    """Start a process that jobs are forked from, unless they are few, elsewhere, or on a GPU."""
    rules = [job.rule.name for job in workflow.dag.needrun_jobs() if job.rule.shellcmd]
    here = workflow.is_main_process and workflow.local_exec and SCALE.device != "cuda"
    if here and len(rules) > FEW_JOBS:
        computes = not COMPUTING.isdisjoint(rules)
        forkserver.start(forkserver.COMPUTING if computes else forkserver.REPORTING, SCALE.threads)


def spec(*parts):
    """Parts of a run's specification, as text: a job runs again when those change."""
    return lambda wildcards: (
        SCALE.spec(wildcards.study, wildcards.variant).model_dump_json(include=set(parts))
    )


def statistics(wildcards):
    """What a candidate is judged with, as text: BatchNorm's statistics."""
    candidates = SCALE.spec(wildcards.study, wildcards.variant).candidates
    return candidates.model_dump_json(include=set(JUDGED))


def studies_where(chosen):
    """A pattern of the studies whose specifications are so; variants are alike in that."""
    named = (name for name in STUDIES if chosen(first_spec(name)))
    return "|".join(map(re.escape, named)) or NONE


def first_spec(study):
    """The specification of a study's first variant."""
    return SCALE.spec(study, next(iter(STUDIES[study].variants)))


def truth(wildcards):
    """The ground truth that a run over cells is judged by."""
    return judged_by(SCALE.spec(wildcards.study, wildcards.variant).data.name)


def limits(gpus=GPUS):
    """Resources of a job that computes; where it needs no GPU, clusters are not to see a word of one."""
    gpu = dict(gpu=gpus) if gpus else {}
    return dict(mem_mb=SCALE.memory_mb, runtime=SCALE.runtime_minutes, **gpu)


@cache
def left_out(study):
    """Why a study cannot run: its images cannot be had, and those of others can. None: it can."""
    if not workflow.is_main_process:  # a job does what it was started for
        return None
    reason = why_absent(study)
    if reason and all(map(why_absent, STUDIES)):  # nothing is left; fetching it says the reason
        reason = None
    if reason:
        print(f"pdnas: study {study} is left out: {reason}", file=sys.stderr)
    if not workflow.output_settings.dryrun:
        remember(Path(RUNS), study, reason)
    return reason


@cache
def why_absent(study):
    """Why the images of a study cannot be had; None: they can."""
    return absent(first_spec(study).data, fetch=not workflow.output_settings.dryrun)


@cache
def runs():
    """(study, its settings, variant, seed, specification) of every run of the chosen studies."""
    return [
        (study, content, variant, seed, SCALE.spec(study, variant))
        for study, content in STUDIES.items()
        for variant in content.variants
        for seed in content.seeds_of(variant)
    ]


def ends(settings, content, variant):
    """The last files of a run that `all` is to make."""
    source = source_of(settings)
    if settings.space is not None:
        return [layout.ranking_record(source), *[layout.EFFICIENCY] * has_truth(settings)]
    return [
        layout.result(source, "none"),
        *[layout.SUBNET] * (variant in content.extract),
        *[layout.result(source, "finetune")] * (variant in content.finetune),
    ]


# These are lists: of a generator Snakemake silently loses the first file.
def results(chosen=STUDIES):
    """The last file of everything that `all` is to run, or of some studies of it."""
    return [
        f"{RUNS}/{layout.run_folder(study, variant, seed)}/{name}"
        for study, content, variant, seed, settings in runs()
        if content.target == "all" and study in chosen and not left_out(study)
        for name in ends(settings, content, variant)
    ]


def nasbench_results(chosen=STUDIES):
    """The last file of everything that `nasbench` is to run, or of some studies of it."""
    return [f"{RUNS}/{layout.rival_record(method)}" for method in get_args(RivalMethod)] + [
        f"{RUNS}/{layout.run_folder(study, variant, seed)}/"
        + (layout.EFFICIENCY_SCORED if content.score_images else layout.EFFICIENCY)
        for study, content, variant, seed, settings in runs()
        if has_truth(settings) and study in chosen and not left_out(study)
    ]


def truths_results(chosen=STUDIES):
    """The last file of everything that `truths` is to run, or of some studies of it."""
    ends = dict.fromkeys(over_sizes(SCALE), layout.SIZES)
    ends |= dict.fromkeys(over_macro(SCALE), layout.MACRO)
    found = [
        f"{RUNS}/{layout.run_folder(study, variant, seed)}/{ends[study]}"
        for study, _, variant, seed, _ in runs()
        if study in ends and study in chosen and not left_out(study)
    ]
    # Searches of the table go with studies that it is the truth of.
    if any(
        settings.data.name == "cifar10" and ends.get(study) == layout.MACRO and study in chosen
        for study, *_, settings in runs()
    ):
        found += [
            f"{RUNS}/{layout.rival_record(method, 'nasbench-macro')}"
            for method in get_args(RivalMethod)
        ]
    return found
