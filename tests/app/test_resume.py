#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run that was stopped or killed, and continued on any number of ranks, ends with the weights,
the moments and the losses of a run that was not, byte for byte."""

import os
import pathlib
import random
import signal
import time

import h5py
import program
from program import TINY, check, end, losses, start, train, wait_for_step

holder, here = program.scratch()
STEPS = 12
# A time that set-up does not need and the first step outlasts.
SHORT_S, SLOW = 4, {"LJ_FAULT": "lane:0:0:slow"}
SEED = 20240229  # of the moments at which runs are killed
archive = program.archive(here / "archive.h5")
data = f"data.archive={archive}"
# Four lanes, and steps slow enough to be hit by a signal.
WORDS = [
    data,
    f"train.steps={STEPS}",
    "checkpoint.every=2",
    "sigreg.slices=4096",
    "batch.size=32",
    "views.local=6",
    "model.depth=4",
]


straight = {}


def check_same(directory, what):
    names = [path.name for path in program.checkpoints(directory)]
    if not check(names[-1:] == [f"step-{STEPS:09}.h5"], f"{what}: checkpoints are {names}"):
        return
    found = program.tensors(program.checkpoints(directory)[-1])
    differ = [name for name in straight["tensors"] if found.get(name) != straight["tensors"][name]]
    check(
        not differ and len(found) == len(straight["tensors"]),
        f"{what}: these differ from the straight run: {differ}",
    )
    check(
        losses(directory) == straight["losses"], f"{what}: the losses differ: {losses(directory)}"
    )
    left = [path.name for path in pathlib.Path(directory).rglob("*.tmp")]
    check(not left, f"{what}: temporary files {left}")


def continue_run(directory, ranks, what, code=0):
    ended = train(directory, *WORDS, ranks=ranks)
    check(
        ended.code == code,
        f"{what}, continued on {ranks} ranks: exit code {ended.code}, expected {code}: "
        f"{ended.tail()}",
    )
    return ended


def begin(directory, ranks, *words, **more):
    return start(["train", *TINY, f"run.dir={directory}", *WORDS, *words], ranks, **more)


# ---- the ways to stop ----------------------------------------------------------------------------


def test_straight():
    ended = train(here / "straight", *WORDS)
    check(ended.code == 0, f"the straight run failed: {ended.tail()}")
    straight["tensors"] = program.tensors(program.checkpoints(here / "straight")[-1])
    straight["losses"] = losses(here / "straight")
    check(
        [row["step"] for row in straight["losses"]] == list(range(1, STEPS + 1)),
        "the straight run lacks steps",
    )
    check(any("moment2" in name for name in straight["tensors"]), "the checkpoint has no moments")


def stopped(directory, process, what):
    ended = end(process)
    check(ended.code == 75, f"{what}: exit code {ended.code}, expected 75: {ended.tail()}")
    check(not ended.errors, f"{what}: a stop is no error: {ended.errors}")
    check("stopped at step" in ended.err, f"{what}: does not say where it stopped: {ended.tail()}")
    last = program.checkpoints(directory)[-1].name if program.checkpoints(directory) else "none"
    check(
        f"stopped at step {int(last[5:14]) if last != 'none' else -1} " in ended.err,
        f"{what}: the last checkpoint is {last}: {ended.tail()}",
    )


def test_signal(case):
    number, ranks, then = case
    what = f"{signal.Signals(number).name} on {ranks} ranks"
    directory = here / f"signal-{number}-{ranks}"
    process = begin(directory, ranks)
    wait_for_step(directory, 3, process)
    process.send_signal(number)
    stopped(directory, process, what)
    continue_run(directory, then, what)
    check_same(directory, f"{what}, then {then}")


def test_stop_file(case):
    ranks, then = case
    directory = here / f"stop-{ranks}"
    process = begin(directory, ranks)
    wait_for_step(directory, 2, process)
    (directory / "STOP").touch()
    stopped(directory, process, f"STOP on {ranks} ranks")
    check(not (directory / "STOP").exists(), "STOP is left: it would stop the continuation")
    said = f"stops because of {directory}/STOP" in (directory / "log.txt").read_text()
    check(said, "the log does not say why the run stopped, which job scripts look for")
    continue_run(directory, then, f"STOP on {ranks} ranks")
    check_same(directory, f"STOP on {ranks} ranks, then {then}")


def test_time_limit(case):
    ranks, then = case
    directory = here / f"time-{ranks}"
    stopped(
        directory,
        begin(directory, ranks, f"run.max_seconds={SHORT_S}", env=SLOW),
        f"run.max_seconds on {ranks} ranks",
    )
    continue_run(directory, then, f"run.max_seconds on {ranks} ranks")
    check_same(directory, f"run.max_seconds on {ranks} ranks, then {then}")


def test_job_end():
    """Ends before Slurm would end the job."""
    directory = here / "job-end"
    job_end = int(time.time()) + 20
    more = {"SLURM_JOB_END_TIME": str(job_end)}
    words = [data, "train.steps=1000000", "checkpoint.every=20"]
    ended = train(directory, *words, ranks=2, env=more)
    late = time.time() - job_end
    check(ended.code == 75 and late < 0, f"{late} s late: {ended.code}: {ended.tail()}")
    log = (directory / "log.txt").read_text()
    check("stops in time" in log and "SLURM_JOB_END_TIME" in log, f"the log: {log}")
    past = train(directory, *words, "run.max_seconds=1e-9", env={"SLURM_JOB_END_TIME": "12"})
    check(past.code == 2 and past.warnings, f"a job that has ended: {past.tail()}")
    said = len(past.errors) == 1 and "no time for a step" in past.errors[0]
    check(said and "run.max_seconds" in past.errors[0], f"shorter than set-up: {past.errors}")


def test_saves_before_it_evaluates():
    """An evaluation may take longer than a job is given: where a checkpoint is due it comes first,
    and before an evaluation of unknown length there always is one."""
    for what, words in (
        ("due", ["checkpoint.every=2"]),
        ("the first with a deadline", ["checkpoint.every=0", "run.max_seconds=1000"]),
    ):
        directory = here / f"saves-first-{what[:3]}"
        words = [data, "train.steps=9", "eval.every=2", *words]
        ended = train(directory, *words, ranks=2, env={"LJ_FAULT": "evaluate:1:2"})
        names = [path.name for path in program.checkpoints(directory)]
        check(
            ended.code == 6 and names == ["step-000000002.h5"],
            f"{what}: the evaluation fails: checkpoints {names}: {ended.tail()}",
        )


def test_stops_without_evaluating():
    """A run whose time is over saves, removes STOP and ends."""
    directory = here / "no-time"
    words = [data, "train.steps=9", "eval.every=2", "checkpoint.every=2"]
    ended = train(directory, *words, f"run.max_seconds={SHORT_S}", ranks=2, env=SLOW)
    names = [path.name for path in program.checkpoints(directory)]
    check(ended.code == 75 and names == ["step-000000002.h5"], f"no time: {names}: {ended.tail()}")
    check("evaluation left out" in ended.err, f"no time: it does not say so: {ended.tail()}")
    check("knn" not in (directory / "metrics.jsonl").read_text(), "no time: it has evaluated")
    directory = here / "stop-first"
    directory.mkdir()
    (directory / "STOP").touch()
    words = [data, "train.steps=9", "eval.every=1"]
    ended = train(directory, *words, env={"LJ_FAULT": "evaluate:0:1"})
    gone = not (directory / "STOP").exists()
    check(ended.code == 6 and gone, f"STOP stays if the evaluation fails: {ended.tail()}")


killed = []  # whether each kill came before the run's own end


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    end(process)


def test_kill(case):
    """Killed at any moment, three times, on changing numbers of ranks; then left alone."""
    number, ranks = case
    moment = random.Random(SEED + number)
    directory = here / f"kill-{number}"
    for count in ranks[:-1]:
        process = begin(directory, count)
        target = moment.randint(1, STEPS - 1)
        wait_for_step(directory, target, process)
        time.sleep(moment.random() * 0.02)
        killed.append(process.poll() is None)
        kill_group(process)
    continue_run(directory, ranks[-1], f"killed (seed {SEED}+{number})")
    check_same(directory, f"killed (seed {SEED}+{number}) on {ranks} ranks")


# ---- between steps -------------------------------------------------------------------------------


def test_finished():
    directory = program.copy(here / "straight", here / "finished")
    before = (directory / "metrics.jsonl").read_bytes()
    for ranks in (1, 2):
        ended = continue_run(directory, ranks, "a finished run")
        check("nothing to do" in ended.err, f"a finished run on {ranks} ranks: {ended.tail()}")
    check(
        (directory / "metrics.jsonl").read_bytes() == before, "a finished run changed its metrics"
    )
    check_same(directory, "a finished run")


def test_save_and_go_on():
    directory = here / "save"
    process = begin(directory, 2, "checkpoint.every=0", "checkpoint.keep=9")
    wait_for_step(directory, 3, process)
    process.send_signal(signal.SIGUSR2)
    ended = end(process)
    steps = [int(path.name[5:14]) for path in program.checkpoints(directory)]
    check(ended.code == 0, f"SIGUSR2: exit code {ended.code}: {ended.tail()}")
    # mpirun's signal may reach one rank before a step's reduction and the other after it: then
    # both steps save.
    check(
        len(steps) in (2, 3) and 3 <= steps[0] < STEPS == steps[-1] and steps[-2] <= steps[0] + 1,
        f"SIGUSR2: checkpoints of steps {steps}",
    )
    check_same(directory, "SIGUSR2")


def test_rotation():
    directory = here / "rotation"
    ended = train(directory, data, "train.steps=8", "checkpoint.every=2", "checkpoint.keep=3")
    check(ended.code == 0, f"rotation: {ended.tail()}")
    names = sorted(os.listdir(directory / "checkpoints"))
    check(names == [f"step-{step:09}.h5" for step in (4, 6, 8)], f"rotation: checkpoints {names}")


def test_damaged_is_not_kept():
    """A damaged checkpoint does not take the place of a good one."""
    directory = here / "damaged"
    words = [data, "train.steps=8", "checkpoint.every=2", "checkpoint.keep=2"]
    train(directory, *words)
    newest = program.checkpoints(directory)[-1]
    content = newest.read_bytes()
    with h5py.File(newest) as file:
        at = file["weights/cls_token"].id.get_offset()
    newest.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    (directory / "STOP").touch()
    ended = train(directory, *words)
    names = [path.name for path in program.checkpoints(directory)]
    check(
        names == [f"step-{step:09}.h5" for step in (6, 7, 8)],
        f"a damaged checkpoint: {names} are left: {ended.tail()}",
    )


def test_saved_by_time():
    """checkpoint.minutes over, a step saves though checkpoint.every does not ask for it."""
    directory = here / "minutes"
    words = ["train.steps=4", "checkpoint.minutes=1e-9", "checkpoint.keep=9"]
    ended = train(directory, data, *words, ranks=2)
    names = sorted(os.listdir(directory / "checkpoints"))
    check(
        ended.code == 0 and names == [f"step-{step:09}.h5" for step in (1, 2, 3, 4)],
        f"checkpoint.minutes: checkpoints {names}: {ended.tail()}",
    )
    log = (directory / "log.txt").read_text()
    check(log.count("checkpoint written in") == 4, f"checkpoint.minutes: the log says {log}")


test_straight()
program.at_once(
    test_signal,
    [
        (signal.SIGUSR1, 1, 3),
        (signal.SIGUSR1, 2, 1),
        (signal.SIGUSR1, 3, 2),
        (signal.SIGTERM, 1, 2),
    ],
)
program.at_once(test_stop_file, [(1, 2), (2, 3)])
program.at_once(test_time_limit, [(1, 3), (3, 1)])
program.at_once(test_kill, [(0, [1, 2, 3, 1]), (1, [2, 2, 1, 3]), (2, [3, 1, 2, 2])])
check(
    sum(killed) >= len(killed) // 2,
    f"only {sum(killed)} of {len(killed)} kills met a run: make steps slower",
)
program.at_once(
    lambda test: test(),
    [
        test_finished,
        test_save_and_go_on,
        test_rotation,
        test_damaged_is_not_kept,
        test_saved_by_time,
        test_job_end,
        test_saves_before_it_evaluates,
        test_stops_without_evaluating,
    ],
)
program.finish()
