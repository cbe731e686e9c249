#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two jobs and one run.dir: the second leaves at once and touches nothing; after a kill the next
one goes on without anybody's help. A job on another host is judged by the stamp of its lock."""

import os
import re
import signal
import threading
import time

import program
from program import TINY, check, end, start, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
RESOURCES, STOPPED = 6, 75


def begin(directory, ranks):
    """A run without an end, once it is training and has written a checkpoint."""
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
    while process.poll() is None and not (
        metrics.exists()
        and metrics.read_text().count("\n") > 5
        and list((directory / "checkpoints").glob("step-*.h5"))
    ):
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
        (directory / "STOP").touch()
        again = train(directory, data, "train.steps=1000000", ranks=count)
        check(
            again.code == STOPPED, f"{what}: {count} ranks: exit code {again.code}: {again.tail()}"
        )
        check("(continuing)" in again.err, f"{what}: did not continue: {again.tail()}")
        check(not (directory / "lock").exists(), f"{what}: the lock is left behind")


FOREIGN = "host elsewhere.invalid\nprocess 1\nticks 5\nstarted 2026-01-02 03:04:05\njob {}\n"


def foreign_lock(name, age_s, job="none"):
    """A directory with the lock of a job on another host; whoever gets it stops."""
    directory = here / name
    directory.mkdir()
    (directory / "lock").write_text(FOREIGN.format(job))
    now = time.time()
    os.utime(directory / "lock", (now - age_s, now - age_s))
    (directory / "STOP").touch()
    return directory


def test_foreign(ranks):
    """The system gives its lock on the file, as where locks are those of one host."""
    what = f"a job on another host, {ranks} ranks"
    short = [data, "train.steps=1000000"]
    dead = train(foreign_lock(f"dead-{ranks}", 400), *short, ranks=ranks)
    check(dead.code == STOPPED, f"{what}: dead: exit code {dead.code}: {dead.tail()}")

    here_too = foreign_lock(f"job-{ranks}", 0, "SLURM_JOB_ID=77")
    again = train(here_too, *short, ranks=ranks, env={"SLURM_JOB_ID": "77"})
    check(again.code == STOPPED, f"{what}: requeued: exit code {again.code}: {again.tail()}")

    directory = foreign_lock(f"living-{ranks}", 0)
    renewal = threading.Timer(3, os.utime, [directory / "lock"])
    renewal.start()
    living = train(directory, *short, ranks=ranks)
    renewal.join()
    said = "host elsewhere.invalid, process 1, since 2026-01-02 03:04:05 (last sign of life"
    check(
        living.code == RESOURCES and len(living.errors) == 1 and said in living.errors[0],
        f"{what}: living: exit code {living.code}, expected {RESOURCES}: {living.tail()}",
    )
    check("elsewhere" in (directory / "lock").read_text(), f"{what}: living: not its lock any more")

    directory = foreign_lock(f"unsure-{ranks}", 0)
    waits = start(["train", *TINY, f"run.dir={directory}", *short], ranks)
    time.sleep(3)
    check(waits.poll() is None, f"{what}: does not wait for a sign of life")
    waits.send_signal(signal.SIGUSR1)  # mpirun forwards it; of SIGTERM it makes SIGKILL
    ended = end(waits)
    check(
        "stopped on request" in ended.err and ended.code == STOPPED,
        f"{what}: a signal while waiting: {ended.code}: {ended.tail()}",
    )


program.at_once(test_second_job, [(1, 1), (1, 2), (2, 2)])
program.at_once(test_after_kill, [1, 2])
program.at_once(test_foreign, [1, 2])
program.finish()
