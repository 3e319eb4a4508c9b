#!/usr/bin/env bash
# The studies of the scale gpu in calls of limited time, without Snakemake, internet or history:
# docs/gpu.md says which call follows which.
#
#   bash workflow/gpu.sh STEP [ARGUMENT...]
#
# Finished work is kept under runs/. A step that stopped in time (exit code 75) or was cut off goes
# on when it is called again; one that has finished does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
scale=${SCALE:-config/scales/gpu.yaml}
runs=runs/$(basename "$scale" .yaml)
cells=${CELLS:-nasbench201-one-cell nasbench201}
seeds=${SEEDS:-0 1 2}
device=${DEVICE:-cuda}

pdnas() { "${PYTHON:-python3}" -m pdnas.cli "$@"; }

# Run a command for each study of cells and each seed, all at the same time: a small network leaves
# most of a GPU idle. Ends with the exit code of one that failed, if any did.
for_each_search() {
    local codes=0 jobs=() study seed job
    for study in $cells; do
        for seed in $seeds; do "$1" "$study" "$seed" "${@:2}" & jobs+=($!); done
    done
    for job in "${jobs[@]}"; do wait "$job" || codes=$?; done
    return "$codes"
}

search() {  # STUDY VARIANT SEED OPTION...
    local run=$runs/$1/$2/seed$3
    [ -f "$run/run.json" ] ||
        pdnas search "$1" "$2" --seed "$3" --scale "$scale" --out "$run" "${@:4}"
}

search_cells() { search "$1" guided "$2" --stop-after "$3"; }  # STUDY SEED MINUTES

after_search() {  # STUDY SEED: all that follows a search of cells
    local run=$runs/$1/guided/seed$2
    [ -f "$run/efficiency.json" ] || pdnas nasbench efficiency "$run" --out "$run/efficiency.json"
    [ -f "$run/candidates-posterior.safetensors" ] || pdnas sample "$run"
    [ -f "$run/ranking-posterior.json" ] || pdnas rank "$run" --device "$device"
    local images
    images=$(score_images "$1")
    [ -n "$images" ] || return 0
    [ -f "$run/scores.json" ] ||
        pdnas nasbench score "$run" --images "${IMAGES:-$images}" --device "$device"
    [ -f "$run/efficiency-scored.json" ] || pdnas nasbench efficiency "$run" \
        --scores "$run/scores.parquet" --out "$run/efficiency-scored.json"
}

score_images() {  # STUDY: on how many images the scale scores all cells; nothing where it does not
    "${PYTHON:-python3}" - "$scale" "$1" <<'READ'
import sys

from pdnas.config import load_scale

scale, study = sys.argv[1:]
print(load_scale(scale).studies[study].score_images or "")
READ
}

channels() {  # VARIANT SOURCE: all that follows a search of channels
    local run=$runs/multibranch/$1/seed0 mode
    [ -f "$run/candidates-$2.safetensors" ] || pdnas sample "$run" --source "$2"
    [ -f "$run/ranking-$2.json" ] || pdnas rank "$run" --source "$2" --device "$device"
    for mode in none finetune; do
        [ -f "$run/result-$2-$mode.json" ] ||
            pdnas retrain "$run" --source "$2" --mode "$mode" --device "$device"
    done
}

matching() { [ "$1" = guided ] || echo --match "$runs/multibranch/guided/seed0"; }

step=${1:?name a step: check, nasbench, scores, supernet, candidates, collect or report}
shift
case $step in
check)  # Half a minute of each study, to see that all is there and how long an epoch takes.
    pdnas data verify cifar10
    pdnas nasbench query 0 >/dev/null
    for study in $cells multibranch; do
        code=0
        pdnas search "$study" guided --scale "$scale" --out "$runs-check/$study" --stop-after 0.5 ||
            code=$?
        [ "$code" = 0 ] || [ "$code" = 75 ] || exit "$code"
    done
    rm -r "$runs-check"
    ;;
nasbench)  # MINUTES
    for_each_search search_cells "$1"
    ;;
scores)
    for_each_search after_search
    ;;
supernet)  # VARIANT MINUTES
    # shellcheck disable=SC2046 # options are words
    search multibranch "$1" 0 --stop-after "$2" $(matching "$1")
    ;;
candidates)  # VARIANT
    if [ "$1" = guided ]; then channels guided posterior; else channels "$1" random; fi
    ;;
collect)  # FOLDER: what the report needs, and of a search that goes on its newest checkpoint if that is
    # small enough; in files of at most 15 MB
    {
        find "$runs" -type f ! -path '*/checkpoint*' ! -path '*/tensorboard/*' ! -name '.*' \
            ! -name weights.safetensors
        find "$runs" -type d -path '*/checkpoint/*' | while read -r folder; do
            find "$folder" -name '*.safetensors' -size -20M | sort | tail -n 1
        done
    } | tar -czf - -T - | split -b 15m - "$1/runs.tar.gz."
    ;;
report)  # every table and figure of what was collected, then the page
    "${PYTHON:-python3}" - "$scale" "$runs" <<'MAKE'
import sys
from pathlib import Path

import pdnas.report.nasbench  # has tables and figures too
from pdnas.report import figures, formats, tables
from pdnas.report.collect import collect

scale, runs = sys.argv[1], Path(sys.argv[2])
collection = collect(scale, runs)
for name in tables.TABLES:
    formats.write(tables.table(name, collection), runs / "report" / "tables")
for name in figures.FIGURES:
    figures.draw(name, collection, runs / "report" / "figures")
MAKE
    pdnas report --scale "$scale" --runs "$runs"
    ;;
*)
    echo "no step $step" >&2
    exit 2
    ;;
esac
