#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a run says at its start about its messages: how many a step takes, and what lanes that do
not fit the ranks cost."""

import json
import re

import program
from program import check, train

STEPS = 3
holder, here = program.scratch()
archive = program.archive(here / "archive.h5", 96)
words = [f"data.archive={archive}", f"train.steps={STEPS}"]
two_nodes = {"LJ_NODES": "0 0 1 1"}


def plan(name, ranks, *more, **how):
    """What the run wrote, and the bytes that rank 0 sent to other ranks in a step."""
    ended = train(here / name, *words, *more, ranks=ranks, **how)
    check(ended.code == 0, f"{name}: {ended.tail()}")
    ledger = json.loads((here / name / "timing.json").read_text())["ledger"]
    sent = sum(
        entry["bytes_per_call"] * entry["calls"] / STEPS
        for entry in ledger
        if entry["collective"] == "MPI_Isend"
    )
    return ended.err, sent


def check_messages(name, log, sent):
    found = re.search(
        r"in a step a rank sends at most (\d+) messages with (\d+) bytes, (\d+) of gradient, "
        r"(\d+) of weights",
        log,
    )
    if check(found, f"{name}: no line of messages: {log[-2000:]}"):
        messages, size, *parts = map(int, found.groups())
        check(
            0 < messages <= sum(parts) and sent <= size < 2 * sent,
            f"{name}: '{found[0]}', but rank 0 sent {sent} bytes",
        )


def check_advice(name, log, wanted):
    found = re.search(r"lanes on .* up to (\d+) sums of each bucket; .* on each: (.*)", log)
    check((found and found.groups()) == wanted, f"{name}: {found and found[0]}")


def test_messages_and_advice():
    for name, ranks, lanes, advice in (
        ("even", 2, 4, None),
        ("odd", 2, 6, ("2", "3 ranks, or batch.size=32")),
        ("surplus", 3, 2, None),
    ):
        log, sent = plan(name, ranks, f"batch.size={8 * lanes}")
        check_messages(name, log, sent)
        check_advice(name, log, advice)


def test_given_lanes():
    """Lanes that are set have to be set anew; MPI's own reduction sends one sum."""
    log, _ = plan("given", 2, "batch.size=24", "batch.lanes=3")
    check_advice("given", log, ("2", "3 ranks, or batch.size=16 batch.lanes=2"))
    log, _ = plan("fast", 2, "batch.size=24", "reduce=fast")
    check_advice("fast", log, None)
    log, _ = plan("alone", 1, "batch.size=24")
    check_advice("alone", log, None)
    check("a rank sends at most" not in log, "one rank sends messages")


def test_nodes():
    """Four ranks taken for those of two nodes, which exchange: a part of the bytes, the same
    bits."""
    log, sent = plan("ranks", 4, "batch.size=32", "comm.exchange=ranks", env=two_nodes)
    check_messages("ranks", log, sent)
    check("nodes exchange" not in log, f"ranks: {log[-2000:]}")
    log, fewer = plan("nodes", 4, "batch.size=32", env=two_nodes)
    check_messages("nodes", log, fewer)
    check("nodes exchange gradients and weights; the ranks of one share" in log, f"nodes: {log}")
    check(3 * fewer == sent, f"ranks send {sent} bytes, nodes {fewer}")
    log, _ = plan("one", 4, "batch.size=32")
    check("nodes exchange" not in log, f"one node: {log[-2000:]}")
    one, *others = (
        program.tensors(program.checkpoints(here / name)[-1]) for name in ("one", "ranks", "nodes")
    )
    check(all(one == other for other in others), "other bits")


test_messages_and_advice()
test_nodes()
test_given_lanes()
program.finish()
