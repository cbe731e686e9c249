#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh PROGRAM: builds the simulation against SimGrid's MPI. Of src/ it takes comm and what that
# needs of base; blocks of memory are folded (folded_memory.c), and so is that which the
# ranks of a node share (node_memory.c).
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=$1
here=$source/tests/simulation

# A program newer than all that it is made of is left as it is.
newer() {
    find "$source"/{include,src/comm,src/base} "$here" -newer "$program" -type f -print -quit
}
[ ! -e "$program" ] || [ -n "$(newer)" ] || exit 0

base=()
for name in clock log phase progress status trace words; do
    base+=("$source/src/base/$name.c")
done
wrapped= # by node_memory.c
for name in window_create window_sync window_free copy_in_parallel sum_node node_pause; do
    wrapped+=,--wrap=lj_$name
done
smpicc -O2 -std=c11 -D_GNU_SOURCE -include "$here/renamed_calls.h" \
    -I"$source/include" -I"$source/src" -I"$here" \
    "$here"/{simulate,step,description,folded_memory,joined_messages,node_memory}.c \
    "$source"/src/comm/*.c "$source"/src/comm/{gradsync,network}/*.c "${base[@]}" -o "$program" \
    "-Wl$wrapped" -ljansson -lxxhash -lm
