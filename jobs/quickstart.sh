#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh checkout to a trained encoder: installs what is missing, builds, trains on the
# example archive on all cores, and compares the embedding with the same encoder untrained and
# with raw pixels. Words after the script's name are passed to `train` (train.epochs=2, ...).
# The last line is one JSON object; exit 1 unless training gained 0.03 in kNN accuracy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=/usr/bin:$PATH

archive=data/fashion-mini.h5
program=build/src/app/lejepa_mpi
probed=()

fail() {
    echo "quickstart.sh: error: $*" >&2
    exit 1
}

build_program() {
    bash jobs/install-deps.sh
    [ -f build/build.ninja ] || meson setup build --buildtype=release >&2
    ninja -C build >&2
    [ -f "$archive" ] ||
        fail "$archive is missing; it belongs to the repository: git checkout $archive"
}

# Cores that this process may use: mpirun's slots are cores, not their hardware threads.
count_cores() {
    local allowed
    allowed=$(awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status)
    lscpu -p=CPU,Core,Socket | awk -F, -v allowed="$allowed" '
        BEGIN {
            count = split(allowed, range, ",")
            for (i = 1; i <= count; i++) {
                split(range[i], end, "-")
                for (cpu = end[1]; cpu <= (end[2] == "" ? end[1] : end[2]); cpu++) may[cpu] = 1
            }
        }
        !/^#/ && ($1 in may) && !(($2, $3) in seen) { seen[$2, $3] = 1; cores++ }
        END { print cores ? cores : 1 }'
}

# One rank a core, with the mpirun of the MPI that the program was built with (or $MPIRUN).
launch() {
    local run=${MPIRUN:-mpirun} root=()
    if [ -z "${MPIRUN:-}" ] && ldd "$program" | grep libmpich >/dev/null; then
        run=$(command -v mpirun.mpich || echo mpirun)
    fi
    if [ "$(id -u)" -eq 0 ] && "$run" --version 2>&1 | grep 'Open MPI' >/dev/null; then
        root=(--allow-run-as-root)
    fi
    "$run" ${root[@]+"${root[@]}"} -n "$(count_cores)" "$program" "$@"
}

train() {
    launch train data.archive="$archive" data.where=split=0 run.dir="$run" \
        model=resnet model.width=32 model.depth=1 model.stem=large \
        views.global=4 views.local=0 views.global_scale=0.6,1 views.ratio=1,1 \
        views.intensity=1 views.blur=0 \
        projector.hidden=512 projector.out=256 loss.lambda=0.05 sigreg.slices=256 \
        batch.size=64 train.epochs=8 optim.lr=2e-3 \
        eval.every=400 eval.where=split=1 eval.bank=1000 eval.queries=500 "$@"
}

# embed FEATURES SPLIT FILE: of an encoder, its last two stages.
embed() {
    local layers=2
    [ "$1" = pixels ] && layers=1
    launch embed checkpoint="$run" data.archive="$archive" data.where=split="$2" features="$1" \
        layers="$layers" out="$3"
}

# value KEY JSON: the number of that key, which must be there.
value() {
    local found
    found=$(printf '%s' "$2" | tr -d '\n' |
        sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\([-+.0-9eE]*\).*/\1/p")
    [ -n "$found" ] || fail "probe printed no $1: $2"
    printf '%s' "$found"
}

# Accuracies of FEATURES go to the variables knn and linear.
probe() {
    local json
    embed "$1" 0 "$run/train-$1.h5"
    embed "$1" 1 "$run/test-$1.h5"
    json=$("$program" probe train="$run/train-$1.h5" test="$run/test-$1.h5" json=1)
    knn=$(value knn_top1 "$json")
    linear=$(value linear_top1 "$json")
}

build_program
mkdir -p runs
run=$(mktemp -d "runs/quickstart-$(date +%Y%m%d-%H%M%S)-XXXX")
SECONDS=0
train "$@"
for features in model untrained pixels; do
    probe "$features"
    probed+=("$knn" "$linear")
done

printf '\n%-18s %8s %8s\n' features kNN linear
printf '%-18s %8s %8s\n' trained "${probed[0]}" "${probed[1]}" untrained "${probed[2]}" \
    "${probed[3]}" pixels "${probed[4]}" "${probed[5]}"
printf '\nrun: %s\n' "$run"
printf '{"knn_trained": %s, "knn_untrained": %s, "knn_pixels": %s, ' \
    "${probed[0]}" "${probed[2]}" "${probed[4]}"
printf '"linear_trained": %s, "linear_untrained": %s, "linear_pixels": %s, "seconds": %d}\n' \
    "${probed[1]}" "${probed[3]}" "${probed[5]}" "$SECONDS"
awk -v trained="${probed[0]}" -v untrained="${probed[2]}" \
    'BEGIN { exit !(trained >= untrained + 0.03) }'
