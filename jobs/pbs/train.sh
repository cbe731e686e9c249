#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains in a job of PBS Pro (OpenPBS) for as long as it takes: the run saves and ends before the
# job's walltime is over, and submits the script again to go on.
#
#     qsub -l select=4:ncpus=64:mpiprocs=64 -v LEJEPA_YAML=galaxies.yaml jobs/pbs/train.sh
#
# The file holds the settings, run.dir among them, by which the next job finds what this one left.
# With ompthreads=N in the select line a rank has N threads, else one. The next job asks for what
# this one has: chunks, place, walltime, queue, account, project. To end for good: touch
# RUN_DIR/STOP, which saves first, or qdel.
#
#     LEJEPA_YAML   the settings
#     LEJEPA_MPI    the program, default build/src/app/lejepa_mpi below where qsub was called
#     LEJEPA_RUN    what launches it, instead of the mpirun line below
#     LEJEPA_JOB    this script, default jobs/pbs/train.sh below where qsub was called
#PBS -N lejepa
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -r y
set -uo pipefail
cd "${PBS_O_WORKDIR:?this is a batch script: qsub $0}" || exit 1

settings=${LEJEPA_YAML:?say by qsub -v LEJEPA_YAML=FILE which settings to train with}
program=${LEJEPA_MPI:-build/src/app/lejepa_mpi}
margin_s=60 # from the end of the run to that of the job

# A field of qstat; nothing if it is not there. Long ones go on in lines that begin with a tab.
field() {
    qstat -f "$PBS_JOBID" | awk -v field="$1" '
        /^\t/ { if (wanted) value = value substr($0, 2); next }
        { wanted = $1 == field }
        wanted { value = $0; sub(/^[^=]*= /, "", value) }
        END { if (value != "") print value }'
}

# Seconds of a field such as 24:00:00.
seconds_of() {
    field "$1" | awk -F: '{ for (i = 1; i <= NF; i++) seconds = 60 * seconds + $i; print seconds }'
}

# Without ompthreads PBS sets OMP_NUM_THREADS to the cores of a whole chunk.
select=$(field Resource_List.select)
threads=1
case $select in
*ompthreads=*) threads=${OMP_NUM_THREADS:-1} ;;
esac

words=("$settings" "threads=$threads")
limit=$(seconds_of Resource_List.walltime)
used=$(seconds_of resources_used.walltime)
budget=$((${limit:-0} - ${used:-0} - margin_s))
if [ "$budget" -gt 0 ]; then
    words+=("run.max_seconds=$budget")
else
    echo "train.sh: qstat does not say when this job ends, or it is too short: the run does not" \
        "save before its end, and is not continued" >&2
fi

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

# Asks for what this job has. A name without a value takes it from here, whatever characters it has.
submit_again() {
    local options=(-N "${PBS_JOBNAME:-lejepa}") names=LEJEPA_YAML name value
    for name in LEJEPA_MPI LEJEPA_RUN LEJEPA_JOB; do
        [ -z "${!name:-}" ] || names+=,$name
    done
    for name in select place walltime; do
        value=$(field "Resource_List.$name")
        [ -z "$value" ] || options+=(-l "$name=$value")
    done
    value=$(field queue)
    [ -z "$value" ] || options+=(-q "$value")
    value=$(field Account_Name)
    [ -z "$value" ] || options+=(-A "$value")
    value=$(field project)
    [ "${value:-_pbs_project_default}" = _pbs_project_default ] || options+=(-P "$value")
    qsub "${options[@]}" -v "$names" "${LEJEPA_JOB:-$PBS_O_WORKDIR/jobs/pbs/train.sh}"
}

# 75: stopped early with a good checkpoint, to go on; unless a file STOP or qdel asked for it.
sleep 1 # until tee has written all
if [ "$code" -eq 75 ] && [ "$warned" = no ] &&
    ! grep --quiet '^stops because of .*/STOP' "$messages"; then
    echo "train.sh: submits itself again, to continue"
    submit_again ||
        echo "train.sh: qsub refused; submit the script again by hand, to continue" >&2
fi
rm -f "$messages"
exit "$code"
