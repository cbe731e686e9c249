#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Simulates the communication of a training step on clusters that are not there, by SimGrid
# (libsimgrid-dev): the code of this program's reduction, built against SimGrid's MPI, with sleeps
# as long as the arithmetic was measured to be. In the program's source directory:
#
#     lejepa_mpi scale ranks=1 mode=weak batch.size=8 out=runs/one ...   as you would train
#     jobs/scaling/simulate.sh runs/one/scale.json
#
# Several such files, of several objectives say, are simulated one after the other.
# Words NAME=VALUE change what is simulated:
#     topology=fat-tree,dragonfly,ethernet   see jobs/scaling/platform.sh
#     ranks=16,64,256                        numbers of ranks; 256 take a minute, with
#                                            exchange=ranks a quarter of an hour
#     cores=64                               ranks of a node
#     link=BYTES_PER_S,LATENCY_S             of the network, instead of the topology's
#     exchange=                              ranks or nodes instead of comm.exchange of the study,
#                                            which is auto unless it was given: nodes, if several
#     faster=1                               cores, than those that were measured
#     bf16=1                                 forward, projector and backward, besides: a ratio that
#                                            was measured elsewhere, such as 1.87
#     budget=0.001                           seconds (simulated) in which links are measured for the
#                                            prediction; 0: none is made
#     steps=2                                behind one that is not counted
#     out=runs/simulation                    a directory for what follows
#
# Writes simulation.json, a line for each file, topology and number of ranks, beside a table
# (simulation.md) and, with gnuplot, a figure (simulation.svg). jobs/README.md says what is
# simulated and what is not. What an earlier simulation left there under these names is removed
# first. Beside them stay the program (simulate), which is built again only if its sources are
# newer, and platform.xml, hosts and line.json of the last simulation. Exit codes: 2 usage, 3 no
# such scale.json or an unusable one, 77 SimGrid is missing; a simulation that fails goes on with
# the next, and the exit code is that of the worst.
set -euo pipefail

fail() {
    local code=$1
    shift
    echo "simulate.sh: error: $*" >&2
    exit "$code"
}

scales=()
topologies=fat-tree,dragonfly,ethernet
ladder=16,64,256
cores=64
link=
exchange=
faster=1
bf16=1
budget=0.001
steps=2
out=runs/simulation
for word in "$@"; do
    case $word in
    topology=*) topologies=${word#*=} ;;
    ranks=*) ladder=${word#*=} ;;
    cores=*) cores=${word#*=} ;;
    link=*) link=${word#*=} ;;
    exchange=*) exchange=${word#*=} ;;
    faster=*) faster=${word#*=} ;;
    bf16=*) bf16=${word#*=} ;;
    budget=*) budget=${word#*=} ;;
    steps=*) steps=${word#*=} ;;
    out=*) out=${word#*=} ;;
    *=*) fail 2 "$word: there are topology=, ranks=, cores=, link=, exchange=, faster=, bf16=," \
        "budget=, steps= and out=" ;;
    *) scales+=("$word") ;;
    esac
done
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rm -f "$out"/simulation.{json,md,svg,gp}

is_positive() {
    [[ $1 =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?$ && ${1%%[eE]*} =~ [1-9] ]]
}

[ "${#scales[@]}" -gt 0 ] || fail 2 "give the scale.json of a study; see the head of this script"
for scale in "${scales[@]}"; do
    [ -f "$scale" ] || fail 3 "$scale: there is no such file"
done
[[ $ladder =~ ^[1-9][0-9]{0,4}(,[1-9][0-9]{0,4})*$ ]] || fail 2 "ranks=$ladder"
[[ $cores =~ ^[1-9][0-9]{0,3}$ ]] || fail 2 "cores=$cores: one number of ranks of a node"
[[ $steps =~ ^[1-9][0-9]{0,3}$ ]] || fail 2 "steps=$steps: a number of steps, 1 or more"
[[ $exchange =~ ^(|auto|ranks|nodes)$ ]] || fail 2 "exchange=$exchange: auto, ranks or nodes"
is_positive "$bf16" || fail 2 "bf16=$bf16: a number above 0"
[ "$budget" = 0 ] || is_positive "$budget" || fail 2 "budget=$budget: a number of seconds, or 0"
is_positive "$faster" || fail 2 "faster=$faster: a number above 0"
IFS=, read -r -a topologies <<<"$topologies"
given_link=$link
IFS=, read -r -a link <<<"$link"
[ "${#topologies[@]}" -gt 0 ] || fail 2 "topology= is empty"
most=0
for ranks in ${ladder//,/ }; do most=$((ranks > most ? ranks : most)); done
for topology in "${topologies[@]}"; do
    "$source/jobs/scaling/platform.sh" "$topology" $(((most + cores - 1) / cores)) "$cores" \
        "${link[@]}" >/dev/null || exit
done
command -v smpicc >/dev/null || fail 77 "SimGrid is missing: install libsimgrid-dev"
mkdir -p "$out" || fail 2 "$out: cannot be made"
worst=0

"$source/tests/simulation/build.sh" "$out/simulate"

# Puts what was simulated in front of a line of results; link null: the topology's.
name_line() {
    python3 -c 'import json, os, sys
topology, study, link, steps = (os.fsencode(word).decode(errors="replace") for word in sys.argv[1:])
print(json.dumps({"topology": topology, "study": study, "link": link or None, "steps": int(steps),
                  **json.load(sys.stdin)}))' "$@"
}

simulate() {
    local scale=$1 topology=$2 ranks=$3 rank code=0
    local what="$scale, $topology, $ranks ranks"
    "$source/jobs/scaling/platform.sh" "$topology" $(((ranks + cores - 1) / cores)) "$cores" \
        "${link[@]}" >"$out/platform.xml"
    for ((rank = 0; rank < ranks; rank++)); do echo "node-$((rank / cores))"; done >"$out/hosts"
    "$source/tests/simulation/smpirun.sh" "$out" "$ranks" "$scale" "steps=$steps" \
        ${exchange:+"exchange=$exchange"} "faster=$faster" "bf16=$bf16" slices=8 "budget=$budget" \
        >"$out/line.json" || code=$?
    if [ "$code" -eq 0 ]; then
        name_line "$topology" "$scale" "$given_link" "$steps" <"$out/line.json" \
            >>"$out/simulation.json"
        echo "simulate.sh: $what: simulated" >&2
    else
        echo "simulate.sh: $what: failed with exit code $code" >&2
        [ "$code" -le "$worst" ] || worst=$code
    fi
}

for scale in "${scales[@]}"; do
    for topology in "${topologies[@]}"; do
        for ranks in ${ladder//,/ }; do
            simulate "$scale" "$topology" "$ranks"
        done
    done
done
[ -s "$out/simulation.json" ] && python3 "$source/jobs/scaling/simulation_table.py" "$out"
exit "$worst"
