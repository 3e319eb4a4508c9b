#!/usr/bin/env bash
# The studies of the scale gpu in calls of limited time, without Snakemake, internet or history:
# docs/gpu.md says which call follows which.
#
#   bash contrib/lent_gpu/gpu.sh STEP [ARGUMENT...]
#
# Finished work is kept under runs/. A step that stopped in time (exit code 75) or was cut off goes
# on when it is called again; one that has finished does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
scale=${SCALE:-pdnas/spec/scales/gpu.yaml}
runs=runs/$(basename "$scale" .yaml)
cells=${CELLS:-nasbench201 nasbench201-others}
channels=${CHANNELS:-}
seeds=${SEEDS:-0 1 2}
device=${DEVICE:-cuda}

pdnas() { "${PYTHON:-python3}" -m pdnas.cli "$@"; }

variants() { of_study "$1" "*study.variants"; }  # STUDY

score_images() { of_study "$1" "study.score_images or ''"; }  # STUDY: nothing: cells are not scored

of_study() {  # STUDY WHAT: what the scale says of a study
    "${PYTHON:-python3}" -c "
from pdnas.spec.scale import load_scale

study = load_scale('$scale').studies['$1']
print($2)"
}

# Wait for jobs; the exit code is that of one that failed, if any did.
wait_for() {
    local codes=0 job
    for job in "$@"; do wait "$job" || codes=$?; done
    return "$codes"
}

# Run a command for each variant of each study of cells and each seed, all at the same time: a small
# network leaves most of a GPU idle.
for_each_search() {
    local jobs=() study variant seed
    for study in $cells; do
        for variant in $(variants "$study"); do
            for seed in $seeds; do "$1" "$study" "$variant" "$seed" "${@:2}" & jobs+=($!); done
        done
    done
    wait_for "${jobs[@]}"
}

search() {  # STUDY VARIANT SEED OPTION...
    local run=$runs/$1/$2/seed$3
    [ -f "$run/run.json" ] ||
        pdnas search "$1" "$2" --seed "$3" --scale "$scale" --out "$run" "${@:4}"
}

search_cells() { search "$1" "$2" "$3" --stop-after "$4"; }  # STUDY VARIANT SEED MINUTES

after_search() {  # STUDY VARIANT SEED: all that follows a search of cells
    local run=$runs/$1/$2/seed$3
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

whole_cell_run() {  # STUDY VARIANT SEED MINUTES
    search_cells "$@"
    after_search "$@"
}

search_channels() {  # VARIANT MINUTES
    local matching=()
    [ "$1" != random ] || matching=(--match "$runs/multibranch/guided/seed0")
    search multibranch "$1" 0 --stop-after "$2" "${matching[@]}"
}

after_channels() {  # VARIANT: all that follows a search of channels; Table 3's are fine-tuned too
    local run=$runs/multibranch/$1/seed0 source=posterior modes=(none) mode
    [ "$1" != random ] || source=random
    case $1 in guided | random) modes+=(finetune) ;; esac
    [ -f "$run/candidates-$source.safetensors" ] || pdnas sample "$run" --source "$source"
    [ -f "$run/ranking-$source.json" ] || pdnas rank "$run" --source "$source" --device "$device"
    for mode in "${modes[@]}"; do
        [ -f "$run/result-$source-$mode.json" ] ||
            pdnas retrain "$run" --source "$source" --mode "$mode" --device "$device"
    done
}

guided_and_random() {  # MINUTES; the second begins when it can be matched to the first
    search_channels guided "$1"
    after_channels guided &
    local guided=$!
    search_channels random "$1"
    after_channels random
    wait "$guided"
}

# Kernels of several processes run at the same time only if these share one connection to the GPU.
share_gpu() {
    command -v nvidia-cuda-mps-control >/dev/null || return 0
    export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps
    mkdir -p /tmp/mps
    [ -e /tmp/mps/control ] || nvidia-cuda-mps-control -d
}

step=${1:?name a step: check, nasbench, scores, supernet, candidates, all, collect or report}
shift
case $step in
check)  # Half a minute of each study, to see that all is there and how long an epoch takes.
    pdnas data verify cifar10
    pdnas nasbench query 0 >/dev/null
    for study in $cells multibranch; do
        code=0
        variant=$(variants "$study" | cut -d" " -f1)
        pdnas search "$study" "$variant" --scale "$scale" --out "$runs-check/$study" --stop-after 0.5 ||
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
    search_channels "$1" "$2"
    ;;
candidates)  # VARIANT
    after_channels "$1"
    ;;
all)  # MINUTES each search may take: everything, side by side as far as one thing needs no other
    [ "$device" = cpu ] || share_gpu
    for_each_search whole_cell_run "$1" & jobs=($!)
    for variant in ${channels:-$(variants multibranch)}; do
        case $variant in guided | random) continue ;; esac
        { search_channels "$variant" "$1" && after_channels "$variant"; } & jobs+=($!)
    done
    guided_and_random "$1" & jobs+=($!)
    wait_for "${jobs[@]}"
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

from pdnas.report import catalogue, formats
from pdnas.report.collect import collect

scale, runs = sys.argv[1], Path(sys.argv[2])
collection = collect(scale, runs)
for name in catalogue.TABLES:
    formats.write(catalogue.table(name, collection), runs / "report" / "tables")
for name in catalogue.FIGURES:
    catalogue.draw(name, collection, runs / "report" / "figures")
MAKE
    pdnas report --scale "$scale" --runs "$runs"
    ;;
*)
    echo "no step $step" >&2
    exit 2
    ;;
esac
