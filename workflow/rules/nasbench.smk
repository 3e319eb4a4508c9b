"""NAS-Bench-201: learned posteriors against the ground truth."""


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
        **limits(),
    message:
        "sample efficiency of {wildcards.study}/{wildcards.variant} seed {wildcards.seed}"
    shell:
        "pdnas nasbench efficiency {params.out:q} --out {output:q} >{log} 2>&1"
