"""Tables and figures from the finished runs."""

from pdnas.spec.products import FIGURES, OFFICIAL_FIGURES, TABLES

# The official search is downloaded; a scale that needs no download does without.
downloads = any(settings.data.name != "digits" for *_, settings in runs())
CAPTIONS = "../../pdnas/report/captions"
RESULTS = {"all": results, "nasbench": nasbench_results}
MAIN_TABLES, NASBENCH_TABLES = (
    [name for name, product in TABLES.items() if product.target == target] for target in RESULTS
)
MAIN_FIGURES, NASBENCH_FIGURES = (
    [name for name, product in FIGURES.items() if product.target == target] for target in RESULTS
)
ALL_FIGURES = [*MAIN_FIGURES, *(OFFICIAL_FIGURES if downloads else ())]


def tables(names):
    return expand(f"{RUNS}/report/tables/{{name}}.csv", name=names)


def figures(names):
    return expand(f"{RUNS}/report/figures/{{name}}.png", name=names)


# A rule for each, so that `snakemake table3` and `snakemake figure1` are targets. Each needs the runs of
# its own studies.
for name, product in TABLES.items():

    rule:
        name:
            product.rule
        input:
            RESULTS[product.target](product.studies(SCALE)),
        output:
            csv=f"{RUNS}/report/tables/{name}.csv",
            markdown=report(
                f"{RUNS}/report/tables/{name}.md",
                caption=f"{CAPTIONS}/tables/{name}.rst",
                category="Tables",
            ),
            latex=f"{RUNS}/report/tables/{name}.tex",
        params:
            name=name,
            scale=config["scale"],
            settings=product.reads(SCALE),
            runs=RUNS,
            out=subpath(output.csv, parent=True),
        log:
            f"{RUNS}/report/log/table-{name}.log",
        benchmark:
            f"{RUNS}/report/log/table-{name}.tsv"
        resources:
            mem_mb=1000,
            runtime=5,
        message:
            "table {params.name}"
        shell:
            "pdnas table {params.name} --scale {params.scale:q} --runs {params.runs:q}"
            " --out {params.out:q} >{log:q} 2>&1"


for name, product in FIGURES.items():

    rule:
        name:
            product.rule
        input:
            RESULTS[product.target](product.studies(SCALE)),
        output:
            png=report(
                f"{RUNS}/report/figures/{name}.png",
                caption=f"{CAPTIONS}/figures/{name}.rst",
                category="Figures",
            ),
            pdf=f"{RUNS}/report/figures/{name}.pdf",
            data=f"{RUNS}/report/figures/{name}.csv",
        params:
            name=name,
            scale=config["scale"],
            settings=product.reads(SCALE),
            runs=RUNS,
            out=subpath(output.png, parent=True),
        log:
            f"{RUNS}/report/log/figure-{name}.log",
        benchmark:
            f"{RUNS}/report/log/figure-{name}.tsv"
        resources:
            mem_mb=1000,
            runtime=5,
        message:
            "figure {params.name}"
        shell:
            "pdnas figure {params.name} --scale {params.scale:q} --runs {params.runs:q}"
            " --out {params.out:q} >{log:q} 2>&1"


rule official:
    output:
        [
            report(path, caption=f"{CAPTIONS}/figures/{name}.rst", category="Figures")
            for name, path in zip(OFFICIAL_FIGURES, figures(OFFICIAL_FIGURES))
        ],
    params:
        out=subpath(output[0], parent=True),
    log:
        f"{RUNS}/report/log/official.log",
    benchmark:
        f"{RUNS}/report/log/official.tsv"
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "the official SupNet-D-121 search, from its released logs"
    shell:
        "pdnas official --out {params.out:q} >{log:q} 2>&1"


rule report_page:
    input:
        tables(MAIN_TABLES),
        figures(ALL_FIGURES),
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
    message:
        "one page of all tables and figures"
    shell:
        "pdnas report --scale {params.scale:q} --runs {params.runs:q} --out {output:q} >{log:q} 2>&1"


# A page holds whatever has been made by then: of the study alone, or after `all` of everything.
use rule report_page as nasbench_page with:
    input:
        tables(NASBENCH_TABLES),
        figures(NASBENCH_FIGURES),
    output:
        f"{RUNS}/report/nasbench.html",
    log:
        f"{RUNS}/report/log/nasbench-page.log",
    benchmark:
        f"{RUNS}/report/log/nasbench-page.tsv"
    message:
        "one page with the study of NAS-Bench-201"
