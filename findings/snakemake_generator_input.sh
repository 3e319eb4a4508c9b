#!/usr/bin/env bash
# Snakemake and a rule whose input is a generator. Expected: all files of the generator are made, as of
# a list (or an error). Seen with 9.27.1: the first one is missing, without a word; of an input function
# that yields, none is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"

cat >Snakefile <<'RULES'
NAMES = ["a", "b", "c"]

def wanted(wildcards):
    for name in NAMES:
        yield f"yields-{name}"

rule of_a_list:
    input: [f"list-{name}" for name in NAMES]

rule of_a_generator:
    input: (f"generator-{name}" for name in NAMES)

rule of_a_function_that_yields:
    input: wanted

rule make:
    output: "{how}-{name}"
    shell: "touch {output}"
RULES

made() {  # TARGET PREFIX: the files that the target made
    venv/bin/snakemake "$1" --cores 1 >log 2>&1 || { cat log >&2; exit 1; }
    echo "$(ls | sed -n "s/^$2-//p" | xargs)"
}

venv/bin/snakemake --version | sed 's/^/snakemake /'
list=$(made of_a_list list)
generator=$(made of_a_generator generator)
yields=$(made of_a_function_that_yields yields)
echo "expected of each:         a b c"
echo "list:                     $list"
echo "generator:                $generator"
echo "function that yields:     $yields"
[ "$list" = "a b c" ] && [ "$generator" = "b c" ] && [ "$yields" = "a b c" ] ||
    { echo "this has changed"; exit 1; }
