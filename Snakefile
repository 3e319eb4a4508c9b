# The whole reproduction: `snakemake --cores 8 all`; another scale: `--config scale=smoke`.
configfile: Path(workflow.basedir, "config", "config.yaml")

report: "pdnas/report/captions/workflow.rst"

include: "workflow/rules/common.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/nasbench.smk"
include: "workflow/rules/report.smk"


# Under its rate limit for submitting jobs, Snakemake wakes up once a second for each finished job
# (a fifth of a core, over an hour of this workflow). Only a cluster needs the limit.
onstart:
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


rule all:
    default_target: True
    input:
        tables(MAIN_TABLES),
        figures(ALL_FIGURES),
        rules.report_page.output,
        results(),


# How many samples posterior guidance saves: all methods, all cells scored (docs/nasbench201.md).
rule nasbench:
    input:
        tables(NASBENCH_TABLES),
        figures(NASBENCH_FIGURES),
        rules.nasbench_page.output,
        nasbench_results(),
