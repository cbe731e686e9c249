#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_exit_codes.sh MPIRUN FAIL_ON_PURPOSE: a failing MPI call ends the job with 7 and an internal
# error with 70, whichever ranks fail, with a message, and without leaving the others waiting.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe # the same for Open MPI 5
mpirun=$1 program=$2 bad=0

# Sets said, found and launcher: output, exit code and process of mpirun.
launch() {
    ranks=$1
    shift
    said=$(timeout 20 sh -c 'echo "launcher $$"; exec "$@"' sh "$mpirun" -n "$ranks" "$program" \
        "$@" 2>&1)
    found=$?
    launcher=${said#launcher }
    launcher=${launcher%%[!0-9]*}
}

# Did mpirun itself crash? Open MPI's handler names the process; one of ours has another number.
launcher_crashed() {
    [ "$found" -eq 139 ] || return 1
    case $said in
    *":$launcher] *** Process received signal"*) return 0 ;;
    esac
    return 1
}

# expect RANKS CODE TEXT ARGUMENTS...
expect() {
    ranks=$1 code=$2 text=$3
    shift 3
    launch "$ranks" "$@"
    if launcher_crashed; then
        echo "$ranks ranks, $*: the launcher crashed, which is not our failure; once more"
        launch "$ranks" "$@"
    fi
    if [ "$found" -ne "$code" ]; then
        echo "$ranks ranks, $*: exit code $found, expected $code, and: $said"
        bad=1
    fi
    case $said in
    *"$text"*) ;;
    *)
        echo "$ranks ranks, $*: no word of '$text' in: $said"
        bad=1
        ;;
    esac
    case $said in # Open MPI counts those that abort after the first
    *"more process"*"mpi-abort"*)
        echo "$ranks ranks, $*: several ranks abort: $said"
        bad=1
        ;;
    esac
}

expect 3 0 "" none 0
expect 3 7 "error: rank 1: an MPI call failed" mpi 1
expect 2 7 "an MPI call failed" mpi -1
expect 3 7 "error: rank 2: an MPI call failed" created 2
expect 1 7 "an MPI call failed" mpi 0
expect 3 70 "internal error" invariant 2
expect 2 70 "internal error" invariant -1
exit $bad
