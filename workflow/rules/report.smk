"""Tables and figures from the finished runs."""

import shlex
from functools import partial

from pdnas.spec.products import FIGURES, TABLES
from pdnas.spec.scale import SCALES, scale_path

REPORT = f"{RUNS}/{layout.REPORT}"
CAPTIONS = "../../pdnas/report/captions"
CAPTION_FILES = sorted(map(str, Path(workflow.basedir, "../pdnas/report/captions").glob("*/*.rst")))
RESULTS = {"all": results, "nasbench": nasbench_results, "truths": truths_results}
# The first form is what Snakemake's own report shows.
FORMS = {"table": ("md", "csv", "tex"), "figure": ("png", "pdf", "csv")}
# It is downloaded, so what needs no download does without, and so does a scale of one's own.
OFFICIAL = scale_path(str(config["scale"])).parent == SCALES and any(
    settings.data.name != "digits" for *_, settings in runs()
)
# Of scales of the suite, tables that have no run of their own show what stands in for them.
STAND_INS = Path(workflow.basedir, "../results/stand-ins").resolve()
BESIDES = f"--besides {shlex.quote(str(STAND_INS))}" if OFFICIAL and STAND_INS.is_dir() else ""


def files(product):
    """A table or figure in all its forms."""
    name = f"{REPORT}/{product.kind}s/{product.name}"
    return [f"{name}.{form}" for form in FORMS[product.kind]]


def products(target):
    """Every table and figure of a target."""
    found = []
    for product in (*TABLES.values(), *FIGURES.values()):
        if product.target == target:
            found += files(product)
    return found


def inputs(product, wildcards):
    """What a table or figure is made from: the ends of its studies' runs."""
    found = RESULTS[product.target](product.studies(SCALE))
    return found if product.networks else [end for end in found if not end.endswith(layout.SUBNET)]


def captioned(kind, path):
    """A file of Snakemake's own report, with its caption."""
    caption = f"{CAPTIONS}/{kind}s/{Path(path).stem}.rst"
    return report(path, caption=caption, category=f"{kind}s".title())


# A rule for each, so that `snakemake table3` and `snakemake figure1` are targets. Each needs the runs
# of its own studies, and is made again when what it reads of the scale changes.
for product in (*TABLES.values(), *FIGURES.values()):
    first, *others = files(product)

    rule:
        name:
            product.rule
        input:
            partial(inputs, product),
        output:
            captioned(product.kind, first),
            others,
        params:
            kind=product.kind,
            name=product.name,
            scale=config["scale"],
            settings=product.reads(SCALE),
            runs=RUNS,
            out=subpath(output[0], parent=True),
        log:
            f"{REPORT}/log/{product.kind}-{product.name}.log",
        resources:
            mem_mb=1000,
            runtime=5,
        message:
            "{params.kind} {params.name}"
        shell:
            "pdnas {params.kind} {params.name} --scale {params.scale:q} --runs {params.runs:q}"
            " --out {params.out:q} >{log:q} 2>&1"


# Where its logs cannot be had, the page does without and the workflow goes on. Its output is gone
# once the page is there, so the next page asks for the logs again.
rule official:
    output:
        temp(f"{REPORT}/log/official.asked"),
    params:
        out=f"{REPORT}/figures",
    log:
        f"{REPORT}/log/official.log",
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "the official SupNet-D-121 search, from its released logs"
    shell:
        "pdnas official --out {params.out:q} >{log:q} 2>&1 || [ $? -eq 2 ]; touch {output:q}"


rule report_page:
    input:
        products("all"),
        rules.official.output if OFFICIAL else [],
        captions=CAPTION_FILES,
    output:
        f"{REPORT}/report.html",
    params:
        scale=config["scale"],
        runs=RUNS,
        besides=BESIDES,
    log:
        f"{REPORT}/log/page.log",
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "one page of all tables and figures"
    shell:
        "pdnas report --scale {params.scale:q} --runs {params.runs:q} --out {output:q}"
        " {params.besides} >{log:q} 2>&1"


# A page holds whatever has been made by then: of the study alone, or after `all` of everything.
use rule report_page as nasbench_page with:
    input:
        products("nasbench"),
        captions=CAPTION_FILES,
    output:
        f"{REPORT}/nasbench.html",
    log:
        f"{REPORT}/log/nasbench-page.log",
    message:
        "one page with the study of NAS-Bench-201"


use rule report_page as truths_page with:
    input:
        products("truths"),
        captions=CAPTION_FILES,
    output:
        f"{REPORT}/truths.html",
    log:
        f"{REPORT}/log/truths-page.log",
    message:
        "one page with the study of ground truths"
