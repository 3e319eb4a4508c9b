# The whole reproduction: `snakemake --cores 8 all`; another scale: `--config scale=smoke`.
configfile: Path(workflow.basedir, "config", "config.yaml")

report: "workflow/report/workflow.rst"

include: "workflow/rules/common.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/nasbench.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
        rules.report_page.output,
        RESULTS,
