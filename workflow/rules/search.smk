"""Supernet search, candidates, ranking, and the chosen sub-network's end."""


rule search:
    input:
        match=lambda w: (
            f"{RUNS}/{w.study}/{other}/seed{w.seed}/posterior.safetensors"
            if (other := SCALE.spec(w.study, w.variant).gates.match)
            else []
        ),
        supernet=lambda w: (
            f"{RUNS}/{w.study}/{other}/seed{w.seed}/weights.safetensors"
            if (other := SCALE.searched_by(w.study, w.variant)) != w.variant
            else []
        ),
    output:
        f"{RUN}/run.json",
        f"{RUN}/splits.parquet",
        f"{RUN}/weights.safetensors",
        f"{RUN}/posterior.safetensors",
        f"{RUN}/history.parquet",
        f"{RUN}/trajectory.parquet",
    params:
        spec=spec(*SEARCH_PARTS),
        scale=config["scale"],
        others=lambda w, input: " ".join(
            f"--{option} {Path(path).parent}"
            for option, path in (("match", input.match), ("supernet", input.supernet))
            if path
        ),
        out=subpath(output[0], parent=True),
    log:
        f"{RUN}/log/search.log",
    benchmark:
        f"{RUN}/log/search.tsv"
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "search {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas search {wildcards.study} {wildcards.variant} --seed {wildcards.seed}"
        " --scale {params.scale:q} --out {params.out:q} {params.others} >{log} 2>&1"


rule sample:
    input:
        f"{RUN}/run.json",
        f"{RUN}/posterior.safetensors",
    output:
        f"{RUN}/candidates-{{source}}.safetensors",
    params:
        out=subpath(output[0], parent=True),
        number=lambda w: SCALE.spec(w.study, w.variant).candidates.count,
    log:
        f"{RUN}/log/sample-{{source}}.log",
    benchmark:
        f"{RUN}/log/sample-{{source}}.tsv"
    resources:
        **limits(),
    message:
        "sample {wildcards.study}/{wildcards.variant} seed {wildcards.seed}: {wildcards.source}"
    shell:
        "pdnas sample {params.out:q} --source {wildcards.source} --count {params.number} >{log} 2>&1"


rule rank:
    input:
        f"{RUN}/weights.safetensors",
        f"{RUN}/candidates-{{source}}.safetensors",
    output:
        f"{RUN}/ranking-{{source}}.parquet",
        f"{RUN}/ranking-{{source}}.json",
    params:
        out=subpath(output[0], parent=True),
        spec=spec("candidates"),
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/rank-{{source}}.log",
    benchmark:
        f"{RUN}/log/rank-{{source}}.tsv"
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "rank {wildcards.study}/{wildcards.variant} seed {wildcards.seed}: {wildcards.source}"
    shell:
        "pdnas rank {params.out:q} --source {wildcards.source} --device {params.device}"
        " --threads {params.threads} --scale {params.scale:q} >{log} 2>&1"


rule retrain:
    input:
        f"{RUN}/weights.safetensors",
        lambda w: [] if w.source == "full" else f"{RUN}/ranking-{w.source}.json".format(**w),
    output:
        f"{RUN}/result-{{source}}-{{mode}}.json",
    params:
        out=subpath(output[0], parent=True),
        spec=lambda w: "" if w.mode == "none" else spec("retrain")(w),
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/retrain-{{source}}-{{mode}}.log",
    benchmark:
        f"{RUN}/log/retrain-{{source}}-{{mode}}.tsv"
    threads: SCALE.threads
    resources:
        **limits(),
    message:
        "retrain ({wildcards.mode}) {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas retrain {params.out:q} --source {wildcards.source} --mode {wildcards.mode}"
        " --device {params.device} --threads {params.threads} --scale {params.scale:q} >{log} 2>&1"
