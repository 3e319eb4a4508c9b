"""NATS-Bench's size space in bands of parameters, and NAS-Bench-Macro, against their ground truths."""


def ranked_sources(wildcards, pattern):
    """Candidates of every source that the study compares, or what was made of them."""
    return searched(wildcards, wildcards.variant, *map(pattern, get_args(Source)))


rule sizes:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.POSTERIOR}",
        lambda w: ranked_sources(w, layout.candidates),
        lambda w: ranked_sources(w, layout.ranking),
        lambda w: ranked_sources(w, layout.ranking_record),
    output:
        f"{RUN}/{layout.SIZES}",
    params:
        out=subpath(output[0], parent=True),
        scale=config["scale"],
    log:
        f"{RUN}/log/sizes.log",
    resources:
        **limits(0),
    message:
        "samples saved by {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas truth sizes {params.out:q} --scale {params.scale:q} >{log:q} 2>&1"


rule macro:
    input:
        f"{RUN}/{layout.RUN}",
        f"{RUN}/{layout.POSTERIOR}",
        lambda w: (
            searched(w, w.variant, layout.SCORES, layout.SCORES_RECORD)
            if SCALE.studies[w.study].score_images
            else []
        ),
    output:
        f"{RUN}/{layout.MACRO}",
    params:
        out=subpath(output[0], parent=True),
        scale=config["scale"],
    log:
        f"{RUN}/log/macro.log",
    resources:
        **limits(0),
    message:
        "samples saved by {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas truth macro {params.out:q} --scale {params.scale:q} >{log:q} 2>&1"


use rule rival as macro_rival with:
    output:
        trace=f"{RUNS}/{layout.rival_trace('{method}', 'nasbench-macro')}",
        summary=f"{RUNS}/{layout.rival_record('{method}', 'nasbench-macro')}",
    params:
        command="truth rival nasbench-macro",
        seeds="0-99",
        queries=300,
    log:
        f"{RUNS}/{layout.RIVALS}/nasbench-macro/log/{{method}}.log",
    message:
        "search NAS-Bench-Macro's table: {wildcards.method}"
