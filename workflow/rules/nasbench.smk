"""NAS-Bench-201: distributions over cells, and searches of the table, against the ground truth."""


rule efficiency:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.POSTERIOR}",
    output:
        f"{RUN}/{layout.EFFICIENCY}",
    params:
        out=subpath(output[0], parent=True),
        truth=truth,
    log:
        f"{RUN}/log/efficiency.log",
    resources:
        **limits(0),
    message:
        "sample efficiency of {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench efficiency {params.out:q} --dataset {params.truth} --out {output:q}"
        " >{log:q} 2>&1"


rule scores:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.SPLITS}",
        f"{RUN}/{layout.WEIGHTS}",
    output:
        f"{RUN}/{layout.SCORES}",
        f"{RUN}/{layout.SCORES_RECORD}",
    params:
        out=subpath(output[0], parent=True),
        images=lambda w: SCALE.studies[w.study].score_images,
        spec=statistics,
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/scores.log",
    threads: SCALE.threads
    resources:
        **limits(min(GPUS, 1)),
    message:
        "score all cells with {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench score {params.out:q} --images {params.images} --device {params.device}"
        " --threads {params.threads} --scale {params.scale:q} >{log:q} 2>&1"


rule efficiency_scored:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.POSTERIOR}",
        scores=f"{RUN}/{layout.SCORES}",
    output:
        f"{RUN}/{layout.EFFICIENCY_SCORED}",
    params:
        out=subpath(output[0], parent=True),
        truth=truth,
    log:
        f"{RUN}/log/efficiency-scored.log",
    resources:
        **limits(0),
    message:
        "sample efficiency and ranking of {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench efficiency {params.out:q} --dataset {params.truth}"
        " --scores {input.scores:q} --out {output:q} >{log:q} 2>&1"


rule rival:
    output:
        trace=f"{RUNS}/{layout.rival_trace('{method}')}",
        summary=f"{RUNS}/{layout.rival_record('{method}')}",
    wildcard_constraints:
        method="|".join(get_args(RivalMethod)),
    params:
        command="nasbench rival",
        seeds="0-199",
        queries=300,
    log:
        f"{RUNS}/{layout.RIVALS}/log/{{method}}.log",
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "search the table: {wildcards.method}"
    shell:
        "pdnas {params.command} {wildcards.method} --seeds {params.seeds}"
        " --queries {params.queries} --out {output.trace:q} >{log:q} 2>&1"
