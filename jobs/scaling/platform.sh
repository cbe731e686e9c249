#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A cluster for SimGrid: prints its platform file.
#
#     jobs/scaling/platform.sh TOPOLOGY NODES CORES [LINK_BYTES_PER_S LATENCY_S] > platform.xml
#
# TOPOLOGY is one of
#     fat-tree    8 nodes at a leaf switch, 8 switches above the leaves, as many links up as down;
#                 a message goes by the switch that its receiver's number names. 25 GB/s, 1.5 us
#     dragonfly   2 nodes at a router, 4 routers a group, all of them linked, and every router with
#                 its counterpart in each other group; shortest ways. 25 GB/s, 1.5 us
#     ethernet    one switch. 1.25 GB/s, 20 us
# with these bytes a second of a node each way, and this latency between two nodes at one switch;
# each further link adds a fifth of it. Messages inside a node share the memory of the node:
# 100 GB/s, 0.5 us. Ways are given for each pair of nodes, so that hundreds of nodes are too many.
set -euo pipefail

usage() {
    echo "platform.sh: error: $*; see its head" >&2
    exit 2
}

is_positive() {
    [[ $1 =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?$ && ${1%%[eE]*} =~ [1-9] ]]
}

[ $# -eq 3 ] || [ $# -eq 5 ] || usage "$# arguments"
case $1 in
fat-tree | dragonfly) bandwidth=${4:-25e9} latency=${5:-1.5e-6} ;;
ethernet) bandwidth=${4:-1.25e9} latency=${5:-20e-6} ;;
*) usage "topology $1" ;;
esac
[[ $2 =~ ^[1-9][0-9]{0,2}$ && $3 =~ ^[1-9][0-9]{0,3}$ ]] ||
    usage "nodes $2 (1 to 999), cores $3 (1 to 9999)"
is_positive "$bandwidth" || usage "$bandwidth bytes a second: not a number above 0, such as 25e9"
is_positive "$latency" || usage "latency $latency: not a number of seconds above 0, such as 1.5e-6"

awk -v topology="$1" -v nodes="$2" -v cores="$3" -v bandwidth="$bandwidth" -v latency="$latency" '
function link(name, rate, seconds) {
    if (!(name in known))
        printf "  <link id=\"%s\" bandwidth=\"%.9gBps\" latency=\"%.9gs\"/>\n", name, rate, seconds
    known[name] = 1
}

# One more link of the way, which is written behind all links.
function pass(name, seconds) {
    link(name, bandwidth, seconds)
    way = way "<link_ctn id=\"" name "\"/>"
}

function between_fat_tree(i, j,   spine) {
    if (int(i / 8) == int(j / 8))
        return
    spine = j % 8
    pass("leaf-" int(i / 8) "-spine-" spine, latency / 5)
    pass("spine-" spine "-leaf-" int(j / 8), latency / 5)
}

function between_dragonfly(i, j,   from, to, gate) { # group and router: 4 group + router
    from = int(i / 2)
    to = int(j / 2)
    if (int(from / 4) != int(to / 4)) {
        gate = int(from / 4) * 4 + to % 4 # linked with the router of the receiver
        if (gate != from)
            pass("router-" from "-" gate, latency / 5)
        from = gate
    }
    if (from != to)
        pass("router-" from "-" to, latency / 5)
}

function find_way(i, j) {
    way = ""
    if (i == j) {
        way = "<link_ctn id=\"memory-" i "\"/>"
        return
    }
    pass("up-" i, latency / 2)
    if (topology == "fat-tree")
        between_fat_tree(i, j)
    if (topology == "dragonfly")
        between_dragonfly(i, j)
    pass("down-" j, latency / 2)
}

BEGIN {
    print "<?xml version=\"1.0\"?>"
    print "<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">"
    print "<platform version=\"4.1\">"
    print " <zone id=\"cluster\" routing=\"Full\">"
    for (i = 0; i < nodes; i++) {
        printf "  <host id=\"node-%d\" speed=\"1Gf\" core=\"%d\"/>\n", i, cores
    }
    for (i = 0; i < nodes; i++) {
        link("memory-" i, 100e9, 0.5e-6)
        for (j = 0; j < nodes; j++) {
            find_way(i, j)
            route[i, j] = way
        }
    }
    for (i = 0; i < nodes; i++)
        for (j = 0; j < nodes; j++)
            printf "  <route src=\"node-%d\" dst=\"node-%d\" symmetrical=\"NO\">%s</route>\n", i, j,
                   route[i, j]
    print " </zone>"
    print "</platform>"
}'
