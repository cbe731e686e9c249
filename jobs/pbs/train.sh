#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains in a job of PBS Pro (OpenPBS) for as long as it takes: the run saves and ends before the
# job's walltime is over, and submits the script again to go on.
#
#     qsub -l select=4:ncpus=64:mpiprocs=64 -v LEJEPA_YAML=galaxies.yaml jobs/pbs/train.sh
#
# The file holds the settings, run.dir among them, by which the next job finds what this one left.
# With ompthreads=N in the select line a rank has N threads. To end for good: touch RUN_DIR/STOP,
# which saves first, or qdel.
#
#     LEJEPA_YAML   the settings
#     LEJEPA_MPI    the program, default build/src/app/lejepa_mpi below where qsub was called
#     LEJEPA_RUN    what launches it, instead of the mpirun line below
#PBS -N lejepa
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -r y
set -uo pipefail
cd "${PBS_O_WORKDIR:?this is a batch script: qsub $0}" || exit 1

settings=${LEJEPA_YAML:?say by qsub -v LEJEPA_YAML=FILE which settings to train with}
program=${LEJEPA_MPI:-build/src/app/lejepa_mpi}
threads=${OMP_NUM_THREADS:-1}
margin_s=60 # from the end of the run to that of the job

# Seconds of a field of qstat, such as 24:00:00; nothing if it is not there.
seconds_of() {
    qstat -f "$PBS_JOBID" | awk -v field="$1" '
        $1 == field {
            count = split($3, part, ":")
            for (i = 1; i <= count; i++) seconds = 60 * seconds + part[i]
            print seconds
        }'
}

words=("$settings" "threads=$threads")
limit=$(seconds_of Resource_List.walltime)
used=$(seconds_of resources_used.walltime)
budget=$((${limit:-0} - ${used:-0} - margin_s))
[ "$budget" -le 0 ] || words+=("run.max_seconds=$budget")

unset OMP_PLACES OMP_PROC_BIND # the launcher binds ranks to cores
if [ -n "${LEJEPA_RUN:-}" ]; then
    read -r -a launch <<<"$LEJEPA_RUN"
else
    launch=(mpirun -n "$(wc -l <"$PBS_NODEFILE")" --hostfile "$PBS_NODEFILE"
            --map-by "slot:PE=$threads" --bind-to core)
fi

# PBS warns with TERM, of which mpirun's ranks would die; of USR1 they save and stop.
child=
warned=no
trap 'warned=yes; [ -z "$child" ] || kill -USR1 "$child"' TERM USR1

messages=$(mktemp)
"${launch[@]}" "$program" train "${words[@]}" 2> >(tee "$messages" >&2) &
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

# 75: stopped early with a good checkpoint, to go on; unless a file STOP or qdel asked for it.
sleep 1 # until tee has written all
if [ "$code" -eq 75 ] && [ "$warned" = no ] &&
    ! grep --quiet '^stops because of .*/STOP' "$messages"; then
    echo "train.sh: submits itself again, to continue"
    qsub -v "LEJEPA_YAML=$settings,LEJEPA_MPI=$program" "$PBS_O_WORKDIR/jobs/pbs/train.sh"
fi
rm -f "$messages"
exit "$code"
