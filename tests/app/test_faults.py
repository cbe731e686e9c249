#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Faults: wherever one rank fails, all end soon with the same code and one message in that rank's
words; a rank that stands still, in a step or before or between, ends the run through the watchdog,
and all say where they are; so does the writer of checkpoints, which works beside training."""

import itertools
import os
import pathlib
import re
import signal
import sys
import time

import program
from program import TINY, check, end, start, train

SOURCES = pathlib.Path(sys.argv[1])
holder, here = program.scratch()
data = [
    f"data.archive={program.archive(here / 'archive.h5')}",
    "data.where=split=0",
    "eval.where=split=1",
    "eval.every=3",
]
RESOURCES, COMMUNICATION = 6, 7

# point, step, ranks that fail by it: rank 0 alone opens archives and writes checkpoints, and what
# cannot be shared on a node is done without
POINTS = [
    ("open", -1, [0]),
    ("shared", -1, []),
    ("setup", -1, [0, 1]),
    ("gradsync-create", -1, [0, 1]),
    ("read", 0, [0, 1]),
    ("read", 3, [0, 1]),
    ("step", 0, [0, 1]),
    ("step", 3, [0, 1]),
    ("checkpoint-write", 4, [0]),
    ("checkpoint-sync", 4, [0]),
    ("checkpoint-rename", 4, [0]),
    ("evaluate", 3, [0, 1]),
]


def test_table_is_complete():
    found = set()
    for path in SOURCES.rglob("*.c"):
        found.update(re.findall(r'\blj_fault\("([^"]+)"', path.read_text(encoding="utf-8")))
    known = {point for point, _, _ in POINTS} | {"network", "trace"}  # in tests of their own
    check(found == known, f"the sources have the points {sorted(found)}")


def test_fault(case):
    (point, step, passing), rank, ranks = case
    what = f"{point} at step {step} on rank {rank} of {ranks}"
    directory = here / f"{point}-{step}-{rank}-{ranks}"
    ended = train(
        directory,
        *data,
        "train.steps=6",
        "checkpoint.every=2",
        ranks=ranks,
        timeout=20,
        env={"LJ_FAULT": f"{point}:{rank}:{step}"},
    )
    if rank not in passing:
        check(
            ended.code == 0,
            f"{what}: the rank does not pass there, exit code {ended.code}: {ended.tail()}",
        )
        return
    check(
        ended.code == RESOURCES,
        f"{what}: exit code {ended.code}, expected {RESOURCES}: {ended.tail()}",
    )
    said = (f"rank {rank}: " if ranks > 1 else "") + f"injected fault at {point}, step {step} "
    check(
        len(ended.errors) == 1 and f"error: {said}" in ended.errors[0],
        f"{what}: messages {ended.errors}",
    )
    check(not list(directory.rglob("*.tmp")), f"{what}: a temporary file is left")
    names = [path.name for path in program.checkpoints(directory)]
    whole = ["step-000000002.h5"] if step >= 2 else []
    check(names == whole, f"{what}: checkpoints {names}, expected {whole}")
    again = train(directory, *data, "train.steps=6", ranks=ranks)
    check(again.code == 0, f"{what}: started again: exit code {again.code}: {again.tail()}")


def test_stall(case):
    """SIGSTOP to one rank: for good, or for longer than the watchdog waits. The other waits for its
    messages, or for what it has to write into the memory of their node."""
    rank, pause_s, exchange = case
    what = f"rank {rank} stopped for {pause_s} s, {exchange} exchange"
    directory = here / f"stall-{rank}-{pause_s}-{exchange}"
    process = start(
        [
            "train",
            *TINY,
            f"run.dir={directory}",
            *data,
            "eval.every=0",
            "train.steps=1000000",
            "log.every=1",
            "guard.stall_s=3",
            f"comm.exchange={exchange}",
        ],
        2,
    )
    metrics = directory / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size > 0):
        time.sleep(0.01)
    stopped = program.rank_processes(directory).get(rank)
    if not check(stopped is not None, f"{what}: there is no such process"):
        end(process, 1)
        return
    os.kill(stopped, signal.SIGSTOP)
    if pause_s:
        time.sleep(pause_s)
        os.kill(stopped, signal.SIGCONT)
    ended = end(process, 20)
    check(
        ended.code == COMMUNICATION,
        f"{what}: exit code {ended.code}, expected {COMMUNICATION}: {ended.tail()}",
    )
    form = (
        r"lejepa_mpi: error: rank (\d): no progress for \d+ s at step \d+, in phase '[a-z ]+'"
        r"(?:, waiting for other ranks)?; .*guard\.stall_s"
    )
    spoke = [re.fullmatch(form, line) for line in ended.errors]
    check(
        all(spoke) and str(1 - rank) in {match.group(1) for match in spoke if match},
        f"{what}: expected a line of rank {1 - rank}, found {ended.errors}",
    )


def test_slow(case):
    """Lanes of half a second, and steps longer than the watchdog waits, on a rank while others wait
    for it: healthy."""
    ranks, rank = case
    what = f"rank {rank} of {ranks} slow"
    ended = train(
        here / f"slow-{ranks}-{rank}",
        *data,
        "train.steps=2",
        "batch.size=48",
        "guard.stall_s=1",
        ranks=ranks,
        env={"LJ_FAULT": f"lane:{rank}:1:slow"},
    )
    check(ended.code == 0 and not ended.errors, f"{what}: exit code {ended.code}: {ended.tail()}")
    check(ended.seconds > 2, f"{what}: a step was not slow: {ended.seconds} s")


def test_slow_commands():
    """The same for embed, and for the rank that waits for probe on rank 0."""
    words = [f"data.archive={program.archive(here / 'many.h5', 400)}", "guard.stall_s=1"]
    ended = train(here / "trained", *words, "train.steps=2")
    check(ended.code == 0, f"train: {ended.tail()}")
    out = here / "slow.h5"
    embed = ["embed", f"checkpoint={here / 'trained'}", *words, f"out={out}"]
    ended = end(start(embed, 2, env={"LJ_FAULT": "tile:1:-1:slow"}))
    good = ended.code == 0 and not ended.errors
    check(good and ended.seconds > 3, f"slow embed, {ended.seconds} s: {ended.tail()}")
    probe = ["probe", f"train={out}", f"test={out}", "l2=100", "guard.stall_s=1", "overlap=allow"]
    ended = end(start(probe, 2, env={"LJ_FAULT": "fit:0:-1:slow"}))
    good = ended.code == 0 and not ended.errors
    check(good and ended.seconds > 3, f"slow probe, {ended.seconds} s: {ended.tail()}")


def test_stall_of_commands():
    """embed is guarded, too."""
    ended = train(here / "embedded", *data, "train.steps=2", "checkpoint.every=2")
    check(ended.code == 0, f"train: {ended.tail()}")
    ended = end(
        start(
            [
                "embed",
                f"checkpoint={here / 'embedded'}",
                *data,
                f"out={here / 'never.h5'}",
                "guard.stall_s=1",
            ],
            2,
            env={"LJ_FAULT": "open:0:-1:stall"},
        ),
        20,
    )
    check(
        ended.code == COMMUNICATION and any("rank 0: no progress" in line for line in ended.errors),
        f"embed standing still: exit code {ended.code}: {ended.tail()}",
    )


def test_stall_at(case):
    """A rank that stands still at a point says its phase, and the step at which it is then."""
    point, rank, step, then, phase = case
    what = f"rank {rank} standing still at {point}"
    ended = train(
        here / f"stall-{point}-{rank}",
        *data,
        "train.steps=6",
        "checkpoint.every=2",
        "guard.stall_s=2",
        ranks=2,
        timeout=25,
        env={"LJ_FAULT": f"{point}:{rank}:{step}:stall"},
    )
    check(
        ended.code == COMMUNICATION,
        f"{what}: exit code {ended.code}, expected {COMMUNICATION}: {ended.tail()}",
    )
    at = f" at step {then}" if then > 0 else ""
    said = f"rank {rank}: no progress for 2 s{at}, in phase {phase}; "
    check(
        any(said in line for line in ended.errors),
        f"{what}: nobody says \"{said}\": {ended.errors}",
    )


def test_stall_beside_training():
    """A checkpoint whose writing stands still ends a run that itself goes on."""
    ended = train(
        here / "beside",
        *data,
        *("eval.every=0", "train.steps=100000", "log.every=100000", "guard.stall_s=1"),
        *("checkpoint.every=300", "model.depth=4", "sigreg.slices=512"),
        ranks=2,
        timeout=60,
        env={"LJ_FAULT": "checkpoint-write:0:300:stall"},
    )
    check(ended.code == COMMUNICATION, f"beside: exit code {ended.code}: {ended.tail()}")
    form = r"rank 0: no progress for 1 s at step (\d+), in phase 'checkpoint', written beside"
    steps = [int(step) for step in re.findall(form, ended.err)]
    # A very fast machine comes to the next checkpoint before the second is over.
    check(steps and 300 <= steps[0] <= 600, f"beside: messages {ended.errors}")


def test_slow_checkpoint(ranks):
    """Writing a checkpoint takes longer than the watchdog waits, but goes on: healthy. Training
    does not wait for it, the next checkpoint and the end do; and it holds what was trained when it
    began."""
    directory, quick = here / f"slow-checkpoint-{ranks}", here / f"quick-checkpoint-{ranks}"
    words = [*data, "eval.every=0", "train.steps=5", "checkpoint.every=2", "checkpoint.keep=9"]
    env = {"LJ_FAULT": "checkpoint-array:0:2:slow"}
    train(quick, *words, ranks=ranks)
    ended = train(directory, *words, "guard.stall_s=1", ranks=ranks, env=env)
    what = f"a slow checkpoint on {ranks} ranks"
    check(ended.code == 0 and not ended.errors, f"{what}: exit code {ended.code}: {ended.tail()}")
    lines = ended.err.splitlines()
    first = [line.split()[1].split("/")[0] for line in lines if line.startswith("step ")]
    check(
        first == ["1", "2", "3", "4", "2", "5", "4", "5"],
        f"{what}: lines of the log are of steps {first}",
    )
    form = r"step +2  checkpoint written in (\S+) s, .* stood still for (\S+) s"
    took = [float(number) for number in re.search(form, ended.err).groups()]
    check(took[0] > 1.5 and took[1] < 0.5, f"{what}: {took} s")
    held = [
        [program.tensors(path) for path in program.checkpoints(run)] for run in (directory, quick)
    ]
    check(len(held[0]) == 3 and held[0] == held[1], f"{what}: it holds other weights or moments")


test_table_is_complete()
program.at_once(
    test_fault,
    [
        *itertools.product(POINTS, (0, 1), [2]),
        *((point, 0, 1) for point in POINTS),
        (("step", 3, [0, 1, 2]), 2, 3),
    ],
)
program.at_once(
    test_stall,
    [(1, 0, "ranks"), (0, 0, "ranks"), (1, 9, "ranks"), (0, 0, "nodes"), (1, 9, "nodes")],
)
program.at_once(test_slow, [(1, 0), (2, 1)])
program.at_once(test_slow_checkpoint, [1, 2])
test_stall_beside_training()
test_slow_commands()
test_stall_of_commands()
program.at_once(
    test_stall_at,
    [
        ("open", 0, -1, -1, "'setup'"),
        ("setup", 0, -1, -1, "'setup'"),
        ("setup", 1, -1, -1, "'setup'"),
        ("evaluate", 0, 3, 3, "'evaluation'"),
        ("evaluate", 1, 3, 3, "'evaluation'"),
        # The run goes on until the next checkpoint, and waits there.
        ("checkpoint-write", 0, 2, 4, "'checkpoint', written beside training"),
    ],
)
program.finish()
