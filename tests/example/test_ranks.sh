#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_ranks.sh MPIRUN PROGRAM: what the program prints is the same on 1 and 3 ranks.
one=$("$1" -n 1 "$2") && three=$("$1" -n 3 "$2") || exit 1
echo "1 rank:  $one"
echo "3 ranks: $three"
[ -n "$one" ] && [ "$one" = "$three" ]
