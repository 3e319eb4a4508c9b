"""Supernet search, candidates, ranking, and the chosen sub-network's end."""

import subprocess

from snakemake_interface_executor_plugins.settings import SharedFSUsage


def searched(wildcards, variant, *files):
    """Files of another variant's search with the same seed."""
    run = layout.run_folder(wildcards.study, variant, wildcards.seed)
    return [f"{RUNS}/{run}/{name}" for name in files]


def warmed_up(wildcards):
    """The record of the search that leaves its warm-up to this one."""
    study, variant, seed = wildcards.study, wildcards.variant, wildcards.seed
    first = SCALE.warmed_up_by(study, variant, int(seed))
    if first == (study, variant) or first[0] not in STUDIES:
        return []
    return f"{RUNS}/{layout.run_folder(*first, seed)}/{layout.RUN}"


def fetch_data():
    """Get the images of all that is to run, or end with the reason, before the first job."""
    # Where no file system is shared, each job gets its own.
    shared = SharedFSUsage.INPUT_OUTPUT in workflow.storage_settings.shared_fs_usage
    if not workflow.is_main_process or not shared:
        return
    needed = {
        SCALE.spec(job.wildcards.study, job.wildcards.variant).data
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in COMPUTING
    }
    fetch = [sys.executable, "-m", "pdnas.cli", "data", "fetch"]
    wanted = {("--root", data.root) if data.name == "folders" else (data.name,) for data in needed}
    for words in sorted(wanted - {("digits",)}):
        if subprocess.run([*fetch, *words], stdout=subprocess.DEVNULL).returncode:
            sys.exit(2)


# Inputs are complete, so that jobs can also run where they share no file system.
rule search:
    input:
        match=lambda w: (
            searched(w, other, layout.RUN, layout.POSTERIOR)
            if (other := SCALE.spec(w.study, w.variant).gates.match)
            else []
        ),
        supernet=lambda w: (
            searched(w, other, *layout.SEARCHED)
            if (other := SCALE.searched_by(w.study, w.variant)) != w.variant
            else []
        ),
        warm_up=ancient(warmed_up),  # the same warm-up, whenever it was made
    output:
        expand(f"{RUN}/{{file}}", file=layout.SEARCHED, allow_missing=True),
    wildcard_constraints:
        study=studies_where(lambda spec: spec.alone is None),
    params:
        spec=spec(*SEARCH_PARTS),
        scale=config["scale"],
        others=lambda w, input: [
            word
            for option, files in (("match", input.match), ("supernet", input.supernet))
            if files
            for word in (f"--{option}", str(Path(files[0]).parent))
        ],
        out=subpath(output[0], parent=True),
        warm_ups=f"{RUNS}/{layout.WARM_UPS}",
    log:
        f"{RUN}/log/search.log",
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "search {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        f"{PDNAS} search" " {wildcards.study:q} {wildcards.variant:q} --seed {wildcards.seed}"
        " --scale {params.scale:q} --out {params.out:q} --warm-ups {params.warm_ups:q}"
        " {params.others:q} >{log:q} 2>&1"


# Cells that are trained alone leave no weights.
use rule search as search_alone with:
    output:
        expand(f"{RUN}/{{file}}", file=layout.SEARCHED_ALONE, allow_missing=True),
    wildcard_constraints:
        study=studies_where(lambda spec: spec.alone is not None),


rule sample:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.POSTERIOR}",
    output:
        f"{RUN}/{layout.candidates('{source}')}",
    params:
        out=subpath(output[0], parent=True),
        number=lambda w: SCALE.spec(w.study, w.variant).candidates.count,
        band=lambda w: str(SCALE.spec(w.study, w.variant).candidates.band),
        scale=config["scale"],
    log:
        f"{RUN}/log/sample-{{source}}.log",
    resources:
        **limits(0),
    message:
        "sample {wildcards.study}/{wildcards.variant} seed {wildcards.seed}: {wildcards.source}"
    shell:
        "pdnas sample {params.out:q} --source {wildcards.source} --count {params.number}"
        " --scale {params.scale:q} >{log:q} 2>&1"


rule rank:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.SPLITS}",
        f"{RUN}/{layout.WEIGHTS}",
        f"{RUN}/{layout.candidates('{source}')}",
    output:
        f"{RUN}/{layout.ranking('{source}')}",
        f"{RUN}/{layout.ranking_record('{source}')}",
    params:
        out=subpath(output[0], parent=True),
        spec=spec("candidates"),
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/rank-{{source}}.log",
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "rank {wildcards.study}/{wildcards.variant} seed {wildcards.seed}: {wildcards.source}"
    shell:
        f"{PDNAS} rank" " {params.out:q} --source {wildcards.source} --device {params.device}"
        " --threads {params.threads} --scale {params.scale:q} >{log:q} 2>&1"


def ranked(wildcards, source):
    """Candidates and their ranking."""
    files = layout.candidates(source), layout.ranking_record(source)
    return searched(wildcards, wildcards.variant, *files)


rule retrain:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.SPLITS}",
        f"{RUN}/{layout.WEIGHTS}",
        f"{RUN}/{layout.POSTERIOR}",
        lambda w: [] if w.source == "full" else ranked(w, w.source),
    output:
        f"{RUN}/{layout.result('{source}', '{mode}')}",
    params:
        out=subpath(output[0], parent=True),
        spec=lambda w: statistics(w) + ("" if w.mode == "none" else spec("retrain")(w)),
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/retrain-{{source}}-{{mode}}.log",
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "retrain ({wildcards.mode}) {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        f"{PDNAS} retrain" " {params.out:q} --source {wildcards.source} --mode {wildcards.mode}"
        " --device {params.device} --threads {params.threads} --scale {params.scale:q} >{log:q} 2>&1"


# The chosen candidate as a network of its own.
rule extract:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.SPLITS}",
        f"{RUN}/{layout.WEIGHTS}",
        lambda w: ranked(w, source_of(SCALE.spec(w.study, w.variant))),
    output:
        f"{RUN}/{layout.SUBNET}",
    params:
        run=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        source=lambda w: source_of(SCALE.spec(w.study, w.variant)),
        scale=config["scale"],
        threads=SCALE.threads,
    log:
        f"{RUN}/log/extract.log",
    threads: SCALE.threads
    resources:
        **limits(0),
    message:
        "extract {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas extract {params.run:q} --source {params.source} --out {params.out:q}"
        " --threads {params.threads} --scale {params.scale:q} >{log:q} 2>&1"
