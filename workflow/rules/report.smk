"""Tables and figures from the finished runs."""

TABLE_NAMES = [*(f"table{number}" for number in range(1, 10)), "ablations", "efficiency"]
FIGURE_NAMES = [
    "figure1",
    "mismatch",
    "pareto",
    "candidates",
    "error-cost",
    "trajectories",
    "kept-share",
    "posterior-cells",
    "efficiency",
    "best-of-n",
]
TABLES = expand(f"{RUNS}/report/tables/{{name}}.csv", name=TABLE_NAMES)
FIGURES = expand(f"{RUNS}/report/figures/{{name}}.png", name=FIGURE_NAMES)


def target(kind, name):
    """A rule's name: ``table3`` and ``figure1`` as they are, ``figure_best_of_n``."""
    return name if name.startswith(kind) else f"{kind}_{name.replace('-', '_')}"


# A rule for each, so that `snakemake table3` and `snakemake figure1` are targets.
for name in TABLE_NAMES:

    rule:
        name:
            target("table", name)
        input:
            RESULTS,
        output:
            csv=f"{RUNS}/report/tables/{name}.csv",
            markdown=report(
                f"{RUNS}/report/tables/{name}.md",
                caption=f"../report/tables/{name}.rst",
                category="Tables",
            ),
            latex=f"{RUNS}/report/tables/{name}.tex",
        params:
            name=name,
            scale=config["scale"],
            settings=SCALE.model_dump_json(),
            runs=RUNS,
            out=subpath(output.csv, parent=True),
        log:
            f"{RUNS}/report/log/table-{name}.log",
        benchmark:
            f"{RUNS}/report/log/table-{name}.tsv"
        resources:
            mem_mb=1000,
            runtime=5,
            gpu=0,
        message:
            "table {params.name}"
        shell:
            "pdnas table {params.name} --scale {params.scale:q} --runs {params.runs:q}"
            " --out {params.out:q} >{log} 2>&1"


for name in FIGURE_NAMES:

    rule:
        name:
            target("figure", name)
        input:
            RESULTS,
        output:
            png=report(
                f"{RUNS}/report/figures/{name}.png",
                caption=f"../report/figures/{name}.rst",
                category="Figures",
            ),
            pdf=f"{RUNS}/report/figures/{name}.pdf",
            data=f"{RUNS}/report/figures/{name}.csv",
        params:
            name=name,
            scale=config["scale"],
            settings=SCALE.model_dump_json(),
            runs=RUNS,
            out=subpath(output.png, parent=True),
        log:
            f"{RUNS}/report/log/figure-{name}.log",
        benchmark:
            f"{RUNS}/report/log/figure-{name}.tsv"
        resources:
            mem_mb=1000,
            runtime=5,
            gpu=0,
        message:
            "figure {params.name}"
        shell:
            "pdnas figure {params.name} --scale {params.scale:q} --runs {params.runs:q}"
            " --out {params.out:q} >{log} 2>&1"


rule report_page:
    input:
        TABLES,
        FIGURES,
    output:
        f"{RUNS}/report/report.html",
    params:
        scale=config["scale"],
        runs=RUNS,
    log:
        f"{RUNS}/report/log/page.log",
    benchmark:
        f"{RUNS}/report/log/page.tsv"
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    message:
        "one page of all tables and figures"
    shell:
        "pdnas report --scale {params.scale:q} --runs {params.runs:q} --out {output:q} >{log} 2>&1"
