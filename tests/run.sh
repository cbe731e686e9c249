#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the tests: with gcc all of them; with address and undefined-behaviour sanitizers
# the unit tests, training on three ranks, bad input and faults; with clang the unit tests. `fast`
# stops after gcc.
# The last line is "N passed, N failed, N skipped"; the exit code is 0 when none failed and some
# ran.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Debian's meson and ninja, not what a Python environment puts in front of them.
export PATH=/usr/bin:$PATH
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe # the same for Open MPI 5

passed=0
failed=0
skipped=0

# Adds the results in meson's log of a build directory: one JSON object a line.
count_results() {
    local log=$1/meson-logs/testlog.json good all left
    [ -f "$log" ] || { failed=$((failed + 1)); echo "$1: no test ran"; return; }
    good=$(grep -cE '"result": "(OK|EXPECTEDFAIL)"' "$log")
    all=$(grep -cE '"result": "[A-Z]+"' "$log")
    left=$(grep -c '"result": "SKIP"' "$log")
    skipped=$((skipped + left))
    all=$((all - left))
    [ "$all" -gt 0 ] || { failed=$((failed + 1)); echo "$1: no test ran"; return; }
    passed=$((passed + good))
    failed=$((failed + all - good))
}

# build DIRECTORY MESON-OPTION...: sets up or reuses; a build that fails counts as one failure.
build() {
    local directory=$1 output
    shift
    echo "== build in $directory"
    if [ ! -f "$directory/build.ninja" ]; then
        if ! output=$(meson setup "$directory" --werror -Dbuildtype=debugoptimized "$@" 2>&1); then
            echo "$output"
            rm -rf "$directory"
            failed=$((failed + 1))
            return 1
        fi
    fi
    ninja -C "$directory" --quiet || {
        failed=$((failed + 1))
        return 1
    }
}

# check DIRECTORY MESON-TEST-ARGUMENT...: runs and counts.
check() {
    local directory=$1
    shift
    echo "== test in $directory: $*"
    rm -f "$directory/meson-logs/testlog.json"
    meson test -C "$directory" --no-rebuild --print-errorlogs "$@"
    count_results "$directory"
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

bash jobs/install-deps.sh test || {
    failed=1
    finish
}

CC=gcc build build-test && check build-test --no-suite slow
[ "${1:-}" = fast ] && finish

# The tests ask for more memory than there is and expect NULL.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LSAN_OPTIONS=suppressions=$PWD/tests/support/lsan.supp:print_suppressions=0
if CC=gcc build build-asan -Db_sanitize=address,undefined -Db_lundef=false; then
    check build-asan --suite unit --timeout-multiplier 4
    check build-asan --timeout-multiplier 4 exactness_restart_on_other_ranks_p3
    # Without leaks: MPI's lie in components that it has unloaded, so that no name can suppress
    # them, and ranks that abort free nothing. The program counts its own blocks.
    export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
    check build-asan --timeout-multiplier 4 test_bad_input test_faults
fi
unset ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS

CC=clang build build-clang && check build-clang --suite unit
finish
