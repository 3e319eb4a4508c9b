"""NATS-Bench's size space: posteriors over widths against the ground truth, in bands of parameters."""


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
