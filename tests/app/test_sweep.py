#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sweep: the runs of a grid have the weights that train gives them; one that fails leaves the
others alone; a sweep that was stopped or killed goes on where it was; and what is finished is not
done again."""

import json
import os
import shutil
import signal
import time

import program
from program import TINY, check, end, run, start

holder, here = program.scratch()
archive = program.archive(here / "archive.h5")
STEPS = 6
WORDS = [*TINY, f"data.archive={archive}", "data.where=split=0", f"train.steps={STEPS}"]
GRID = here / "grid.yaml"
GRID.write_text("grid:\n  loss.lambda: [0.02, 0.2]\n  optim: {lr: [1e-3, 2e-3]}\n")
NAMES = [f"loss.lambda_{a},optim.lr_{b}" for a in ("0.02", "0.2") for b in ("1e-3", "2e-3")]
straight = {}


def sweep(directory, *words, code=0, ranks=2, **more):
    ended = run(["sweep", *WORDS, *words, f"run.dir={directory}"], ranks, **more)
    check(
        ended.code == code,
        f"{directory.name}: exit code {ended.code}, expected {code}: {ended.tail()}",
    )
    return ended


def begun(ended):
    return sorted(line[1:].split("]")[0] for line in ended.err.splitlines() if "] begins" in line)


def ranked(ended):
    found = [line for line in ended.out.splitlines() if line.startswith("{")]
    return [row["run"].rsplit("/", 1)[-1] for row in json.loads(found[0])["runs"]] if found else []


def check_weights(directory, name):
    paths = program.checkpoints(directory / name)
    check(
        bool(paths) and program.tensors(paths[-1]) == straight[name],
        f"{directory.name}/{name}: not the weights of train",
    )


def make_straight():
    """What train makes of the points, on one rank."""
    for name in NAMES:
        values = [word.replace("_", "=") for word in name.split(",")]
        ended = run(["train", *WORDS, *values, f"run.dir={here / 'straight' / name}"])
        check(ended.code == 0, f"train {name}: {ended.tail()}")
        straight[name] = program.tensors(program.checkpoints(here / "straight" / name)[-1])


# ---- tests ---------------------------------------------------------------------------------------


def test_all(directory, ranks, *words):
    """Several runs at once, and one after the other; again, when there is nothing to do."""
    ended = sweep(directory, GRID, "json=1", *words, ranks=ranks)
    check(begun(ended) == sorted(NAMES), f"{directory.name} began {begun(ended)}")
    check(sorted(ranked(ended)) == sorted(NAMES), f"{directory.name}: ranked {ranked(ended)}")
    for name in NAMES:
        check_weights(directory, name)
    again = sweep(directory, GRID, "json=1", *words, ranks=ranks)
    check(begun(again) == [], f"{directory.name}, again, began {begun(again)}")
    check(ranked(again) == ranked(ended), f"{directory.name}, again: {ranked(again)}")
    return ended


def test_at_once():
    ended = test_all(here / "at_once", 2)
    check("2 at once, on 1 ranks each" in ended.err, f"at once: {ended.tail()}")
    shutil.rmtree(here / "at_once" / NAMES[2])
    ended = sweep(here / "at_once", GRID)
    check(begun(ended) == [NAMES[2]], f"one was removed: began {begun(ended)}")
    check_weights(here / "at_once", NAMES[2])


def test_one_by_one():
    """A rank is left over."""
    ended = test_all(here / "one_by_one", 3, "ranks=2")
    check("1 at once, on 2 ranks each" in ended.err, f"one by one: {ended.tail()}")
    check(any("does not divide 3" in line for line in ended.warnings), f"{ended.warnings}")


def test_one_fails():
    """Lanes that do not divide the batch; the fourth job does not try again. More failures than
    phases may be nested."""
    grid = "grid=batch.lanes=2|3|5|6|7|9|10|11;seed=1|2"
    directory = here / "one_fails"
    good = [f"batch.lanes_2,seed_{seed}" for seed in (1, 2)]
    for job in range(4):
        ended = sweep(directory, grid, "json=1", code=2)
        expected = 16 if job == 0 else 14 if job < 3 else 0
        check(len(begun(ended)) == expected, f"job {job}: began {begun(ended)}")
        check(sorted(ranked(ended)) == good, f"job {job}: ranked {ranked(ended)}")
        check(
            "14 of 16 runs failed, the first is batch.lanes_3,seed_1" in ended.err,
            f"job {job}: {ended.tail()}",
        )
    note = json.loads((directory / "sweep/batch.lanes_3,seed_1.json").read_text())
    check(note["tries"] == 3 and note["code"] == 2 and "lanes" in note["error"], f"note: {note}")
    log = (directory / "batch.lanes_3,seed_1/log.txt").read_text()
    check("failed with code 2" in log, f"log.txt: {log}")


def test_a_rank_fails():
    """One rank of a group fails in the middle of a step; the group ends the run and goes on."""
    directory = here / "rank_fails"
    ended = sweep(directory, GRID, "ranks=2", code=6, env={"LJ_FAULT": "step:1:3"})
    check(begun(ended) == sorted(NAMES), f"a rank fails: began {begun(ended)}")
    check(ended.out == "" and "4 of 4 runs failed" in ended.err, f"a rank fails: {ended.tail()}")
    sweep(directory, GRID, ranks=4)
    for name in NAMES:
        check_weights(directory, name)


def wait_for(condition, process):
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until and not condition():
        time.sleep(0.005)


def test_stopped_and_killed():
    """SIGUSR1 ends it with 75; SIGKILL in the middle; each job after it does what is left."""
    directory = here / "stopped"
    words = ["sweep", *WORDS, GRID, "checkpoint.every=1", "ranks=2", f"run.dir={directory}"]
    slow = {"LJ_FAULT": "lane:1:3:slow"}
    first, second = directory / NAMES[0], directory / NAMES[1]
    process = start(words, 2, env=slow)
    program.wait_for_step(first, 1, process)
    os.kill(program.rank_processes(directory)[1], signal.SIGUSR1)
    ended = end(process)
    check(ended.code == 75 and not ended.errors, f"SIGUSR1: {ended.code}: {ended.tail()}")
    check(begun(ended) == NAMES[:1], f"SIGUSR1: began {begun(ended)}")
    process = start(words, 2, env=slow)
    wait_for(lambda: program.checkpoints(second), process)
    os.killpg(process.pid, signal.SIGKILL)
    check(end(process).code != 0, "SIGKILL")
    time.sleep(0.5)  # ranks end a moment after their launcher
    ended = sweep(directory, GRID, "checkpoint.every=1", "ranks=2")
    check(NAMES[0] not in begun(ended), f"after SIGKILL: began {begun(ended)}")
    for name in NAMES:
        check_weights(directory, name)


def test_requests_to_stop():
    """One reaches all groups: a signal to one rank, be it without work; STOP in run.dir."""
    for ranks, rank in ((2, 0), (2, 1), (3, 2), (2, None)):
        directory = here / f"stop_{ranks}_{rank}"
        words = ["sweep", *WORDS, GRID, "train.steps=1000000", f"run.dir={directory}"]
        groups = ["ranks=1"] if ranks == 2 else ["ranks=2"]
        process = start([*words, *groups], ranks)
        for name in NAMES[: 2 // int(groups[0][-1])]:
            program.wait_for_step(directory / name, 3, process)
        if rank is None:
            (directory / "STOP").touch()
        else:
            os.kill(program.rank_processes(directory)[rank], signal.SIGUSR1)
        ended = end(process, timeout=20)
        what = f"stop of {rank} of {ranks}"
        check(ended.code == 75 and not ended.errors, f"{what}: {ended.code}: {ended.tail()}")
        left = [*directory.glob("STOP"), *directory.glob("*/STOP")]
        check(not left, f"{what}: left {left}")


def test_changed():
    """A finished run is made again when its archive, init= or held-out rows are others; one that
    failed three times, when its archive is."""
    directory, wrong = here / "changed", here / "none.h5"
    grid, weights = "grid=loss.lambda=0.02|0.2", here / "straight" / NAMES[0]
    sweep(directory, grid)
    ended = sweep(directory, grid, f"data.archive={wrong}", code=3)
    check(len(begun(ended)) == 2, f"another archive: began {begun(ended)}")
    ended = sweep(directory, grid, "eval.every=2", code=2)
    check(len(begun(ended)) == 2 and "eval.holdout" in ended.err, f"held out: {ended.tail()}")
    ended = sweep(directory, grid, f"init={weights}", code=2)
    check(len(begun(ended)) == 2 and "init=" in ended.err, f"init: {ended.tail()}")
    ended = sweep(directory, grid, "log.every=2")
    check(len(begun(ended)) == 2, f"after failures: began {begun(ended)}")
    ended = sweep(directory, grid, "log.every=3")
    check(begun(ended) == [], f"another log.every: began {begun(ended)}")
    for job in range(4):
        ended = sweep(here / "typo", grid, f"data.archive={wrong}", code=3)
        check(len(begun(ended)) == (2 if job < 3 else 0), f"typo, job {job}: {begun(ended)}")
    check(len(begun(sweep(here / "typo", grid))) == 2, "typo: left out after it was mended")


def test_removed():
    """However many tries it took, a finished run whose directory was removed is made again."""
    directory = here / "removed"
    sweep(directory, GRID)
    path = directory / "sweep" / f"{NAMES[0]}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tries": 3}))
    shutil.rmtree(directory / NAMES[0])
    ended = sweep(directory, GRID)
    check(begun(ended) == NAMES[:1], f"removed: began {begun(ended)}: {ended.tail()}")
    check_weights(directory, NAMES[0])


def test_init():
    """Stopped in its first run, which has a checkpoint then, and continued by the same command."""
    init = f"init={here / 'straight' / NAMES[3]}"
    sweep(here / "init_straight", GRID, init)
    directory = here / "init"
    words = ["sweep", *WORDS, GRID, "checkpoint.every=1", init, "ranks=2", f"run.dir={directory}"]
    process = start(words, 2, env={"LJ_FAULT": "lane:1:3:slow"})
    program.wait_for_step(directory / NAMES[0], 1, process)
    (directory / NAMES[0] / "STOP").touch()
    ended = end(process)
    check(ended.code == 75, f"init, stopped: {ended.code}: {ended.tail()}")
    for other in ("init=", f"init={here / 'straight' / NAMES[0]}"):
        ended = sweep(directory, "grid=loss.lambda=0.02;optim.lr=1e-3", other, code=2)
        check("began with init=" in ended.err, f"another init: {ended.tail()}")
    sweep(directory, GRID, init, "ranks=2")
    for name in NAMES:
        of = [program.tensors(program.checkpoints(here / at / name)[-1]) for at in
              ("init", "init_straight")]
        check(of[0] == of[1], f"init, {name}: not the weights of an uninterrupted sweep")


def test_budget():
    """run.max_seconds is that of the sweep."""
    ended = sweep(here / "budget", GRID, "train.steps=1000000", "run.max_seconds=1", code=75)
    check(len(begun(ended)) == 2 and ended.seconds < 30, f"budget: {ended.tail()}")


def test_incomparable():
    """Runs of different batches are made, and not ranked unless asked."""
    grid = "grid=batch.size=16|32"
    ended = sweep(here / "batches", grid)
    check("not ranked" in ended.err and "batch.size" in ended.err, f"batches: {ended.tail()}")
    ended = sweep(here / "batches", grid, "force=1")
    check("score" in ended.out and "not ranked" not in ended.err, f"batches: {ended.out}")


def test_not_ranked():
    """What has no score is made all the same, and a run that failed keeps its code."""
    for name, words, code in (
        ("vicreg", ["grid=seed=1|2", "objective=vicreg"], 0),
        ("lambda0", ["grid=seed=1|2", "loss.lambda=0"], 0),
        ("lambda0_lanes", ["grid=batch.lanes=2|3", "loss.lambda=0"], 2),
    ):
        ended = sweep(here / name, *words, code=code)
        check("not ranked" in ended.err, f"{name}: {ended.tail()}")
        check(code == 0 or "1 of 2 runs failed" in ended.err, f"{name}: {ended.tail()}")


def test_long_metrics():
    """Reading what runs logged takes longer than the watchdog waits."""
    directory = here / "long"
    sweep(directory, "grid=seed=1|2")
    for seed in (1, 2):
        with open(directory / f"seed_{seed}/metrics.jsonl", "a", encoding="utf-8") as file:
            file.write('{"event": "evaluation", "step": 6}\n' * 300000)
    for ranks in (1, 2):
        ended = sweep(directory, "grid=seed=1|2", "guard.stall_s=1", ranks=ranks)
        check("2 are finished" in ended.err and "score" in ended.out, f"long: {ended.tail()}")
        check(not ended.errors, f"long: {ended.errors}")


def test_levels():
    """The first rank's processor has no vectors: both runs have the level that all have."""
    lacks = "test ${OMPI_COMM_WORLD_RANK-$PMI_RANK} != 0 || export LJ_ISA=scalar; exec \"$@\""
    sweep(here / "levels", "grid=seed=1|2", wrap=("sh", "-c", lacks, "sh"))
    for seed in (1, 2):
        first = (here / f"levels/seed_{seed}/config.yaml").read_text().splitlines()[0]
        check("kernels scalar" in first, f"levels: seed {seed}: {first}")


def test_own_memory():
    """What timing.json says of a run's memory is not that of a larger one before it."""
    directory = here / "memory"
    sweep(directory, "grid=model.width=256|16", ranks=1)
    peak = [
        json.loads((directory / f"model.width_{width}/timing.json").read_text())["memory"][
            "peak_bytes"
        ]
        for width in (256, 16)
    ]
    check(peak[1] < peak[0] / 2, f"peaks of memory: {peak}")


def test_refused():
    for what, words in (
        ("no grid", ["run.dir=" + str(here / "no")]),
        ("no run.dir", [GRID]),
        ("no such key", ["grid=loss.lambdda=1|2", f"run.dir={here / 'no'}"]),
        ("no such value", ["grid=loss.lambda=1|x", f"run.dir={here / 'no'}"]),
        ("too many ranks", [GRID, "ranks=3", f"run.dir={here / 'ranks'}"]),
    ):
        ended = run(["sweep", *WORDS, *words], 2)
        check(ended.code == 2, f"{what}: exit code {ended.code}: {ended.tail()}")
        check(len(ended.errors) == 1, f"{what}: {ended.errors}")
    check(not (here / "no").exists(), "a refused sweep made its directory")


make_straight()
for test in (
    test_at_once,
    test_one_by_one,
    test_one_fails,
    test_a_rank_fails,
    test_changed,
    test_removed,
    test_init,
    test_stopped_and_killed,
    test_budget,
    test_incomparable,
    test_not_ranked,
    test_long_metrics,
    test_levels,
    test_own_memory,
    test_requests_to_stop,
    test_refused,
):
    test()
program.finish()
