#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains in a Slurm job for as long as it takes: a job that is about to end, by its time limit or
# because another one preempts it, saves, is requeued under its number, and goes on.
#
#     sbatch --nodes=4 --ntasks-per-node=64 jobs/slurm/train.sh data.archive=galaxies.h5 ...
#
# Words are those of `lejepa_mpi train`. run.dir is runs/slurm-JOB unless given. Of a job array each
# task is a run with seed= its number, in a directory of that name below run.dir. To end for good:
# scancel, or touch RUN_DIR/STOP, which saves first.
#
#     LEJEPA_MPI   the program, default build/src/app/lejepa_mpi below where sbatch was called
#     LEJEPA_RUN   what launches it, instead of the mpirun or srun line below
#     LEJEPA_SRUN  =1: srun --mpi=pmix launches, not mpirun
#SBATCH --job-name=lejepa
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:USR1@300
set -uo pipefail

program=${LEJEPA_MPI:-build/src/app/lejepa_mpi}
threads=${SLURM_CPUS_PER_TASK:-1}
job=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:?this is a batch script: sbatch $0}}
# This job, or this task of an array: the array's number alone would mean all of its tasks.
me=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
me=${me:-$SLURM_JOB_ID}

words=()
directory=runs/slurm-$job
for word in "$@"; do
    case $word in
    run.dir=*) directory=${word#run.dir=} ;;
    threads=*) threads=${word#threads=} ;;
    *) words+=("$word") ;;
    esac
done
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    directory=$directory/seed-$SLURM_ARRAY_TASK_ID
    words+=("seed=$SLURM_ARRAY_TASK_ID")
fi
words+=("run.dir=$directory" "threads=$threads")

# Newer Slurm says itself when the job ends; the program saves and ends before that.
if [ -z "${SLURM_JOB_END_TIME:-}" ]; then
    end=$(squeue --noheader --jobs="$me" --format=%e) &&
        end=$(date --date="$end" +%s 2>/dev/null) && export SLURM_JOB_END_TIME=$end
fi
unset OMP_PLACES OMP_PROC_BIND # the launcher binds ranks to cores

if [ -n "${LEJEPA_RUN:-}" ]; then
    read -r -a launch <<<"$LEJEPA_RUN"
elif [ "${LEJEPA_SRUN:-0}" = 1 ]; then
    launch=(srun --mpi=pmix --cpu-bind=cores "--cpus-per-task=$threads")
else
    launch=(mpirun -n "${SLURM_NTASKS:?say --ntasks or --ntasks-per-node}"
            --map-by "slot:PE=$threads" --bind-to core)
fi

# Bytes of the run's log, which says why a run ended.
log_bytes() {
    stat --format=%s "$directory/log.txt" 2>/dev/null || echo 0
}

# mpirun and srun pass USR1 on to the ranks, which save and stop. TERM comes to this script only
# when the job is cancelled.
child=
cancelled=no
trap '[ -z "$child" ] || kill -USR1 "$child"' USR1
trap 'cancelled=yes; [ -z "$child" ] || kill -USR1 "$child"' TERM

before=$(log_bytes)
"${launch[@]}" "$program" train "${words[@]}" &
child=$!
wait "$child"
code=$?
alive=yes
while [ "$code" -gt 128 ] && [ "$alive" = yes ]; do # perhaps the wait was interrupted
    kill -0 "$child" 2>/dev/null || alive=no # then bash still knows its code
    wait "$child"
    again=$?
    [ "$again" -eq 127 ] || code=$again
done

# 75: stopped early with a good checkpoint, to go on; unless a file STOP or scancel asked for it.
stopped_by_hand() {
    tail --bytes="+$((before + 1))" "$directory/log.txt" |
        grep '^stops because of .*/STOP' >/dev/null # reads all: tail must not fail
}
if [ "$code" -eq 75 ] && [ "$cancelled" = no ] && ! stopped_by_hand; then
    echo "train.sh: requeueing job $me, to continue"
    scontrol requeue "$me" && sleep 60 # Slurm ends this script meanwhile
fi
exit "$code"
