#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh PROGRAM: builds the simulation against SimGrid's MPI. Of src/ it takes comm and what that
# needs of base; blocks of memory are folded (folded_memory.c).
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=$1
here=$source/tests/simulation
base=()
for name in clock log phase progress status trace words; do
    base+=("$source/src/base/$name.c")
done
smpicc -O2 -std=c11 -D_GNU_SOURCE -include "$here/renamed_calls.h" \
    -I"$source/include" -I"$source/src" -I"$here" \
    "$here"/{simulate,step,description,folded_memory,joined_messages}.c "$source"/src/comm/*.c \
    "$source"/src/comm/{gradsync,network}/*.c "${base[@]}" -o "$program" -ljansson -lxxhash -lm
