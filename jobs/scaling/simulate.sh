#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Simulates the communication of a training step on clusters that are not there, by SimGrid
# (libsimgrid-dev): the code of this program's reduction, built against SimGrid's MPI, with sleeps
# as long as the arithmetic was measured to be. In the program's source directory:
#
#     lejepa_mpi scale ranks=1 mode=weak batch.size=8 out=runs/one ...   as you would train
#     jobs/scaling/simulate.sh runs/one/scale.json
#
# Words NAME=VALUE change what is simulated:
#     topology=fat-tree,dragonfly,ethernet   see jobs/scaling/platform.sh
#     ranks=16,64,256                        numbers of ranks; 256 take a quarter of an hour
#     cores=64                               ranks of a node
#     link=BYTES_PER_S,LATENCY_S             of the network, instead of the topology's
#     faster=1                               cores, than those that were measured
#     steps=2                                behind one that is not counted
#     out=runs/simulation                    a directory for what follows
#
# Writes simulation.json, a line for each topology and number of ranks, beside a table
# (simulation.md) and, with gnuplot, a figure (simulation.svg). jobs/README.md says what is
# simulated and what is not. Exit codes: 2 usage, 3 no such scale.json, 77 SimGrid is missing.
set -euo pipefail

fail() {
    echo "simulate.sh: error: $2" >&2
    exit "$1"
}

scale=
topologies=fat-tree,dragonfly,ethernet
ladder=16,64,256
cores=64
link=
faster=1
steps=2
out=runs/simulation
for word in "$@"; do
    case $word in
    topology=*) topologies=${word#*=} ;;
    ranks=*) ladder=${word#*=} ;;
    cores=*) cores=${word#*=} ;;
    link=*) link=${word#*=} ;;
    faster=*) faster=${word#*=} ;;
    steps=*) steps=${word#*=} ;;
    out=*) out=${word#*=} ;;
    *=*) fail 2 "$word: there are topology=, ranks=, cores=, link=, faster=, steps= and out=" ;;
    *) scale=$word ;;
    esac
done
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ -n "$scale" ] || fail 2 "give the scale.json of a study; see the head of this script"
[ -f "$scale" ] || fail 3 "$scale: there is no such file"
[[ $ladder,$cores =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || fail 2 "ranks=$ladder, cores=$cores"
command -v smpicc >/dev/null || fail 77 "SimGrid is missing: install libsimgrid-dev"
mkdir -p "$out" || fail 2 "$out: cannot be made"
worst=0

"$source/tests/simulation/build.sh" "$out/simulate"
rm -f "$out/simulation.json"
for topology in ${topologies//,/ }; do
    for ranks in ${ladder//,/ }; do
        nodes=$(((ranks + cores - 1) / cores))
        # shellcheck disable=SC2086
        "$source/jobs/scaling/platform.sh" "$topology" "$nodes" "$cores" ${link//,/ } \
            >"$out/platform.xml"
        for ((rank = 0; rank < ranks; rank++)); do echo "node-$((rank / cores))"; done >"$out/hosts"
        if "$source/tests/simulation/smpirun.sh" "$out" "$ranks" "$scale" \
            "steps=$steps" "faster=$faster" slices=1 budget=0.001 >"$out/line.json"; then
            sed "s/^{/{\"topology\":\"$topology\",/" "$out/line.json" >>"$out/simulation.json"
            echo "simulate.sh: $topology, $ranks ranks: simulated" >&2
        else
            echo "simulate.sh: $topology, $ranks ranks: failed" >&2
            worst=1
        fi
    done
done
[ -s "$out/simulation.json" ] && python3 "$source/jobs/scaling/simulation_table.py" "$out"
exit "$worst"
