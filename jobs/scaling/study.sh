#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A scaling study of your training: measures it on 1, 2, 4 .. ranks of one job, predicts it on more,
# and ends with a page of figures and tables, runs/scaling/scale.html. Edit the three lines below;
# then, in a job or on a workstation, where the program was built:
#
#     sbatch --nodes=4 --ntasks-per-node=64 jobs/scaling/study.sh
#     qsub -l select=4:ncpus=64:mpiprocs=64 jobs/scaling/study.sh
#     bash jobs/scaling/study.sh
#
# Words after the script's name go to `lejepa_mpi scale` (steps=20, predict=4096), out=DIR names
# another directory; simulate=16,64 also simulates these numbers of ranks, as many on a node as the
# job has, on three kinds of links, where SimGrid is (simulate.sh, started in the source directory).
# A part that is finished is not done again until its words, the files of settings and the archive
# among them, the program or the processor change: give the same command after a job that ended too
# early. What target= or eval.every= trained until then is in directories of their own, to be
# removed before that. The exit code is that of the worst part.
#
#     LEJEPA_MPI   the program, default build/src/app/lejepa_mpi below the current directory
#SBATCH --job-name=lejepa-scaling
#SBATCH --time=2:00:00
#SBATCH --output=%x-%j.log
#PBS -N lejepa-scaling
#PBS -l walltime=2:00:00
#PBS -j oe

settings=(batch.size=256) # as of train: galaxies.yaml data.archive=galaxies.h5 batch.size=1024 ...
launch=()                 # such as mpirun --bind-to core, or srun --mpi=pmix; empty: mpirun
ranks=                    # such as 1,8,64, the last starts the job; empty: 1,2,4 .. all there are

set -uo pipefail
cd "${PBS_O_WORKDIR:-.}" || exit 1
unset OMP_PLACES OMP_PROC_BIND # the launcher binds ranks to cores

program=${LEJEPA_MPI:-build/src/app/lejepa_mpi}
threads=${SLURM_CPUS_PER_TASK:-1}
out=runs/scaling
worst=0

words=()
of_rungs=("ranks=$ranks") # what only the rungs are told
predict=default
simulated=
for word in "${settings[@]}" "$@"; do
    case $word in
    out=*) out=${word#out=} ;;
    predict=*) predict=${word#predict=} ;;
    threads=*) threads=${word#threads=} ;;
    simulate=*) simulated=${word#simulate=} ;;
    mode=* | target=*) of_rungs+=("$word") ;;
    *) words+=("$word") ;;
    esac
done
words+=("threads=$threads")

fail() {
    echo "study.sh: error: $*" >&2
    exit 2
}

# Ranks of the job: what `ranks` ends with, tasks of the allocation, or cores that we may use.
count_ranks() {
    local cores processors
    if [ -n "$ranks" ]; then
        echo "${ranks##*,}"
    elif [ -n "${SLURM_NTASKS:-}" ]; then
        echo "$SLURM_NTASKS"
    elif [ -n "${SLURM_JOB_ID:-}" ]; then
        fail "Slurm tells no number of tasks: say --ntasks or --ntasks-per-node"
    elif [ -n "${PBS_NODEFILE:-}" ]; then
        wc -l <"$PBS_NODEFILE"
    else
        cores=$(lscpu -p=Core,Socket | grep -v '^#' | sort -u | wc -l)
        processors=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # which obeys them
        echo $((cores < processors ? cores : processors))
    fi
}

# Numbers of ranks that are predicted unless predict= says which: 4, 16 and 64 times as many. One
# rank has no links to measure.
predicted() {
    local list="" factor
    for factor in 4 16 64; do
        [ $((factor * size)) -gt 65536 ] || list+=,$((factor * size))
    done
    [ "$size" -lt 2 ] || echo "${list#,}"
}

# What a step is asked: launcher, words, and what the files of settings among them hold; by which
# program, on which processor, of which archive.
asked_for() {
    local word file
    printf '%s\n' "${launch[*]}" "$@"
    cksum <"$program"
    lscpu | grep '^Model name'
    for word in "$@"; do
        if [ -f "$word" ]; then cksum "$word"; fi
        case $word in
        data.archive=*)
            while read -r file; do
                stat --format='%n %s %Y' "$file"
            done < <(tr ',' '\n' <<<"${word#data.archive=}" | while read -r part; do
                compgen -G "$part"
            done)
            ;;
        esac
    done
}

# step NAME RESULT WORD...: `scale` with these words, unless they have made the file RESULT before.
# What it prints is kept in NAME.log, and what was asked in NAME.done.
step() {
    local name=$1 result=$out/$2 record=$out/$1.done asked code
    shift 2
    asked=$(asked_for "$@")
    if [ -f "$result" ] && [ -f "$record" ] && [ "$(cat "$record")" = "$asked" ]; then
        echo "study.sh: $name: finished before"
        return
    fi
    rm -f "$record" "$result"
    "${launch[@]}" "$program" scale "$@" "out=$out" 2>&1 | tee "$out/$name.log"
    code=${PIPESTATUS[0]}
    if [ "$code" -eq 0 ]; then
        printf '%s\n' "$asked" >"$record"
        echo "study.sh: $name: finished"
    else
        echo "study.sh: $name: failed with exit code $code; see $out/$name.log" >&2
    fi
    [ "$code" -le "$worst" ] || worst=$code
}

# Of the job, as the study has found.
ranks_per_node() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["ranks_per_node"])' \
        "$out/scale.json"
}

[ -x "$program" ] || fail "$program is no program; build it, or name it by LEJEPA_MPI=PROGRAM"
mkdir -p "$out" || fail "$out: cannot be made"
size=$(count_ranks) || exit 2
[[ $size =~ ^[1-9][0-9]*$ ]] || fail "ranks=$ranks: give numbers, such as 1,8,64"
if [ "${#launch[@]}" -eq 0 ]; then
    launch=(mpirun --map-by "slot:PE=$threads" --bind-to core)
    [ -z "${PBS_NODEFILE:-}" ] || launch+=(--hostfile "$PBS_NODEFILE")
fi
# Threads of a rank have cores of their own, unless the line above says where.
if [ "$threads" -gt 1 ] 2>/dev/null; then
    case "${launch[*]}" in
    *--map-by* | *--cpus-per-task* | *" -c "*) ;;
    srun*) launch+=("--cpus-per-task=$threads") ;;
    mpirun*) launch+=(--map-by "slot:PE=$threads") ;;
    esac
fi
launch+=(-n "$size")
[ "$predict" != default ] || predict=$(predicted)

# The steps. The last one makes the page.
if "$program" help scale | grep '^objectives=' >/dev/null; then
    step objectives objectives.json "${words[@]}" objectives=all
    [ "$out/objectives.json" -ot "$out/scale.html" ] || rm -f "$out/scale.html" # which shows it
fi
step scaling scale.html "${words[@]}" "${of_rungs[@]}" "predict=$predict"

if [ -n "$simulated" ] && [ -f "$out/scaling.done" ]; then # else scale.json is an earlier one
    jobs/scaling/simulate.sh "$out/scale.json" "ranks=$simulated" "cores=$(ranks_per_node)" \
        "out=$out/simulation"
    code=$?
    [ "$code" -ne 77 ] || code=0 # SimGrid is missing, and it has said so
    [ "$code" -le "$worst" ] || worst=$code
fi
[ ! -f "$out/scale.html" ] || echo "study.sh: the page: $out/scale.html"
exit "$worst"
