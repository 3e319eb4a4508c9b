"""Tables and figures from the finished runs."""

TABLE_NAMES = [*(f"table{number}" for number in range(1, 10)), "ablations", "efficiency"]
FIGURE_NAMES = [
    "figure1",
    "mismatch",
    "trajectories",
    "kept-share",
    "posterior-cells",
    "efficiency",
    "best-of-n",
]
TABLES = expand(f"{RUNS}/report/tables/{{name}}.csv", name=TABLE_NAMES)
FIGURES = expand(f"{RUNS}/report/figures/{{name}}.png", name=FIGURE_NAMES)


rule table:
    input:
        RESULTS,
    output:
        csv=f"{RUNS}/report/tables/{{name}}.csv",
        markdown=report(
            f"{RUNS}/report/tables/{{name}}.md",
            caption="../report/tables/{name}.rst",
            category="Tables",
        ),
        latex=f"{RUNS}/report/tables/{{name}}.tex",
    params:
        scale=config["scale"],
        settings=SCALE.model_dump_json(),
        runs=RUNS,
        out=subpath(output.csv, parent=True),
    log:
        f"{RUNS}/report/log/table-{{name}}.log",
    benchmark:
        f"{RUNS}/report/log/table-{{name}}.tsv"
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    message:
        "table {wildcards.name}"
    shell:
        "pdnas table {wildcards.name} --scale {params.scale:q} --runs {params.runs:q}"
        " --out {params.out:q} >{log} 2>&1"


rule figure:
    input:
        RESULTS,
    output:
        png=report(
            f"{RUNS}/report/figures/{{name}}.png",
            caption="../report/figures/{name}.rst",
            category="Figures",
        ),
        pdf=f"{RUNS}/report/figures/{{name}}.pdf",
        data=f"{RUNS}/report/figures/{{name}}.csv",
    params:
        scale=config["scale"],
        settings=SCALE.model_dump_json(),
        runs=RUNS,
        out=subpath(output.png, parent=True),
    log:
        f"{RUNS}/report/log/figure-{{name}}.log",
    benchmark:
        f"{RUNS}/report/log/figure-{{name}}.tsv"
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    message:
        "figure {wildcards.name}"
    shell:
        "pdnas figure {wildcards.name} --scale {params.scale:q} --runs {params.runs:q}"
        " --out {params.out:q} >{log} 2>&1"
