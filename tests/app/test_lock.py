#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two jobs and one run.dir: the second leaves at once and touches nothing; after a kill the next
one goes on without anybody's help."""

import os
import re
import signal
import time

import program
from program import TINY, check, end, start, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
RESOURCES, STOPPED = 6, 75


def begin(directory, ranks):
    """A run without an end, once it is training."""
    process = start(
        [
            "train",
            *TINY,
            f"run.dir={directory}",
            data,
            "train.steps=1000000",
            "checkpoint.every=5",
            "log.every=1",
        ],
        ranks,
    )
    metrics = directory / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 5):
        time.sleep(0.01)
    return process


def test_second_job(case):
    first_ranks, ranks = case
    what = f"{ranks} ranks beside {first_ranks}"
    directory = here / f"second-{first_ranks}-{ranks}"
    first = begin(directory, first_ranks)
    owner = dict(line.split(" ", 1) for line in (directory / "lock").read_text().splitlines())
    second = train(directory, data, "train.steps=1000000", ranks=ranks, timeout=30)
    check(
        second.code == RESOURCES,
        f"{what}: exit code {second.code}, expected {RESOURCES}: {second.tail()}",
    )
    said = f"host {owner['host']}, process {owner['process']}, since {owner['started']}"
    check(
        len(second.errors) == 1 and said in second.errors[0] and "run.dir" in second.errors[0],
        f"{what}: messages {second.errors}, expected {said}",
    )
    check(os.path.exists(f"/proc/{owner['process']}"), f"{what}: no process {owner['process']}")
    check(
        re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", owner["started"]),
        f"{what}: started {owner['started']}",
    )
    log = (directory / "log.txt").read_text()
    check("is in use" not in log, f"{what}: the second job wrote into the first one's log")
    (directory / "STOP").touch()
    ended = end(first)
    check(ended.code == STOPPED, f"{what}: the first job: exit code {ended.code}: {ended.tail()}")
    check(not (directory / "lock").exists(), f"{what}: the lock is left behind")


def test_after_kill(ranks):
    what = f"after a kill on {ranks} ranks"
    directory = here / f"kill-{ranks}"
    first = begin(directory, ranks)
    os.killpg(first.pid, signal.SIGKILL)
    end(first)
    check((directory / "lock").exists(), f"{what}: a killed job removed its lock")
    for count in (ranks, 1):
        again = train(
            directory, data, "train.steps=1000000", "run.max_seconds=0.000001", ranks=count
        )
        check(
            again.code == STOPPED, f"{what}: {count} ranks: exit code {again.code}: {again.tail()}"
        )
        check("(continuing)" in again.err, f"{what}: did not continue: {again.tail()}")
        check(not (directory / "lock").exists(), f"{what}: the lock is left behind")


program.at_once(test_second_job, [(1, 1), (1, 2), (2, 2)])
program.at_once(test_after_kill, [1, 2])
program.finish()
