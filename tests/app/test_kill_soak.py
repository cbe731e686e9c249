#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed again and again, one rank or all of them, in set-up, in a step or while a
checkpoint is written, and continued on another number of ranks, end with the weights, the moments
and the losses of a run that was left alone.

    test_kill_soak.py SOURCES [KILLS [SEED]]
"""

import os
import random
import signal
import sys
import time

import program
from program import TINY, check, end, losses, start, train, wait_for_step

KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 20240301
MOMENTS = ["in set-up", "in a step", "in a step", "while writing", "while writing"]  # of one run
STEPS = 60  # more than such a run gets through

holder, here = program.scratch()
archive = program.archive(here / "archive.h5")
# Four lanes, for up to four ranks.
WORDS = [
    f"data.archive={archive}",
    f"train.steps={STEPS}",
    "checkpoint.every=2",
    "checkpoint.keep=3",
    "sigreg.slices=4096",
    "batch.size=32",
    "views.local=6",
    "model.depth=4",
]
killed = []  # moment of each kill, and whether it left a checkpoint half written


def last_step(directory):
    paths = program.checkpoints(directory)
    return int(paths[-1].name[5:14]) if paths else 0


def half_written(directory):
    """Checkpoints that are being written, or were when their writer was killed."""
    found = set()
    for path in (directory / "checkpoints").glob(".step-*.h5.tmp"):
        try:
            found.add((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # it has its name by now
            pass
    return found


def begin(directory, ranks, env=None):
    return start(["train", *TINY, f"run.dir={directory}", *WORDS], ranks, env=env)


def run_until(when, directory, ranks, draw):
    """Starts a run and comes back at the moment at which it is to be killed."""
    step = last_step(directory)
    if when == "in set-up":
        process = begin(directory, ranks)
        time.sleep(draw.random())
    elif when == "in a step":
        process = begin(directory, ranks)
        wait_for_step(directory, step + draw.randint(1, 6), process)
        time.sleep(draw.random() * 0.05)
    else:  # the next checkpoint takes a second and a half
        before = half_written(directory)
        slow = {"LJ_FAULT": f"checkpoint-array:0:{step + 2}:slow"}
        process = begin(directory, ranks, slow)
        wait_for_step(directory, step + 2, process)
        while process.poll() is None and half_written(directory) <= before:
            time.sleep(0.002)
        time.sleep(draw.random() * 1.6)
    return process


def kill(directory, process, one):
    """SIGKILL for one rank, so that its launcher ends the others, or for all, and the launcher."""
    ranks = program.rank_processes(directory)
    chosen = [ranks[one % len(ranks)]] if ranks and one is not None else list(ranks.values())
    for pid in chosen:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if one is None or not ranks:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return end(process)


def kill_once(directory, what, when, draw):
    """Runs and kills; false when the run had ended before."""
    ranks = draw.randint(1, 4)
    one = draw.choice([None, draw.randrange(ranks)])
    before = half_written(directory)
    process = run_until(when, directory, ranks, draw)
    if process.poll() is not None:
        ended = end(process)
        check(False, f"{what}: ended before it was killed: {ended.code}: {ended.tail()}")
        return False
    ended = kill(directory, process, one)
    check("damaged" not in ended.err, f"{what}: a damaged checkpoint: {ended.tail()}")
    killed.append((when, not half_written(directory) <= before))
    return True


def test_run(case):
    """A run killed so often, then left alone."""
    number, kills = case
    draw = random.Random(SEED + number)
    directory = here / f"run-{number}"
    what = f"run {number} of seed {SEED}"
    for when in draw.sample(MOMENTS, kills):
        if not kill_once(directory, what, when, draw):
            return
    ranks = draw.randint(1, 4)
    ended = train(directory, *WORDS, ranks=ranks, timeout=120)
    what += f", ended on {ranks} ranks"
    check(
        ended.code == 0 and "damaged" not in ended.err,
        f"{what}: exit code {ended.code}: {ended.tail()}",
    )
    if check(last_step(directory) == STEPS, f"{what}: {program.checkpoints(directory)}"):
        found = program.tensors(program.checkpoints(directory)[-1])
        check(found == straight, f"{what}: the last checkpoint differs from the straight run's")
    check(losses(directory) == losses(here / "straight"), f"{what}: the losses differ")
    check(not half_written(directory), f"{what}: {half_written(directory)} are left")


program.done("straight", ["train", *TINY, f"run.dir={here / 'straight'}", *WORDS])
straight = program.tensors(program.checkpoints(here / "straight")[-1])
check(len(losses(here / "straight")) == STEPS, "the straight run lacks steps")
print(f"{KILLS} kills, seed {SEED}", flush=True)
program.at_once(
    test_run,
    [(i, min(len(MOMENTS), KILLS - i)) for i in range(0, KILLS, len(MOMENTS))],
)
half = sum(left_half for _, left_half in killed)
print(f"{half} of {len(killed)} kills left a checkpoint half written", flush=True)
check(len(killed) == KILLS, f"{len(killed)} kills instead of {KILLS}")
check(half >= KILLS // 5, f"only {half} kills met the writing of a checkpoint")
program.finish()
