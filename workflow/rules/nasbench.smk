"""NAS-Bench-201: distributions over cells, and searches of the table, against the ground truth."""


rule efficiency:
    input:
        f"{RUN}/run.json",
        f"{RUN}/posterior.safetensors",
    output:
        f"{RUN}/efficiency.json",
    params:
        out=subpath(output[0], parent=True),
    log:
        f"{RUN}/log/efficiency.log",
    benchmark:
        f"{RUN}/log/efficiency.tsv"
    resources:
        **limits(0),
    message:
        "sample efficiency of {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench efficiency {params.out:q} --out {output:q} >{log:q} 2>&1"


rule scores:
    input:
        f"{RUN}/run.json",
        f"{RUN}/splits.parquet",
        f"{RUN}/weights.safetensors",
    output:
        f"{RUN}/scores.parquet",
        f"{RUN}/scores.json",
    params:
        out=subpath(output[0], parent=True),
        images=lambda w: SCALE.studies[w.study].score_images,
        spec=statistics,
        scale=config["scale"],
        threads=SCALE.threads,
        device=SCALE.device,
    log:
        f"{RUN}/log/scores.log",
    benchmark:
        f"{RUN}/log/scores.tsv"
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
        f"{RUN}/run.json",
        f"{RUN}/posterior.safetensors",
        scores=f"{RUN}/scores.parquet",
    output:
        f"{RUN}/efficiency-scored.json",
    params:
        out=subpath(output[0], parent=True),
    log:
        f"{RUN}/log/efficiency-scored.log",
    benchmark:
        f"{RUN}/log/efficiency-scored.tsv"
    resources:
        **limits(0),
    message:
        "sample efficiency and ranking of {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench efficiency {params.out:q} --scores {input.scores:q} --out {output:q}"
        " >{log:q} 2>&1"


rule rival:
    output:
        trace=f"{RUNS}/rivals/{{method}}.parquet",
        summary=f"{RUNS}/rivals/{{method}}.json",
    wildcard_constraints:
        method="|".join(METHODS),
    params:
        seeds="0-199",
        queries=300,
    log:
        f"{RUNS}/rivals/log/{{method}}.log",
    benchmark:
        f"{RUNS}/rivals/log/{{method}}.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "search the table: {wildcards.method}"
    shell:
        # The methods' matrices are small: more threads would only wait for each other.
        "OMP_NUM_THREADS=1 pdnas nasbench rival {wildcards.method} --seeds {params.seeds}"
        " --queries {params.queries} --out {output.trace:q} >{log:q} 2>&1"
