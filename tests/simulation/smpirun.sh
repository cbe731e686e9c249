#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# smpirun.sh DIR RANKS WORD...: starts DIR/simulate with these words on RANKS simulated ranks of the
# hosts in DIR/hosts and the links in DIR/platform.xml. Computing takes no simulated time, a message
# its links' latency and share of their bandwidth, whatever its length; MPI's own processing and
# failing tests take none. A message above 1 KiB waits for its receiver. No window of TCP bounds the
# bytes that are under way on long links.
set -euo pipefail
dir=$1
ranks=$2
shift 2
exec smpirun -np "$ranks" -platform "$dir/platform.xml" -hostfile "$dir/hosts" \
    --cfg=smpi/simulate-computation:no \
    --cfg=smpi/shared-malloc:global \
    --cfg=smpi/shared-malloc-blocksize:8388608 \
    --cfg=smpi/send-is-detached-thresh:1024 \
    --cfg=smpi/async-small-thresh:0 \
    --cfg=smpi/test:0 \
    --cfg=smpi/bw-factor:0:1 \
    --cfg=smpi/lat-factor:0:1 \
    --cfg=smpi/coll-selector:ompi \
    --cfg=network/crosstraffic:no \
    --cfg=network/TCP-gamma:1e15 \
    --cfg=contexts/stack-size:512 \
    --log=root.thres:warning \
    "$dir/simulate" "$@"
