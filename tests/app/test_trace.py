#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run.trace: what the file holds, that it stays within its bound, and when there is none."""

import collections
import itertools
import json
import os
import signal

import program
from program import check, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
PHASES = {
    "setup", "wait for data", "views", "forward", "projector", "loss", "small allreduce",
    "backward", "gradient communication", "optimiser", "weight communication", "checkpoint",
}  # fmt: skip
COLLECTIVES = {"sigreg", "batchnorm", "gradient", "nonfinite", "weights", "norm"}


def load(path):
    """What otherData holds, and the spans."""
    with open(path, encoding="utf-8") as file:
        trace = json.load(file)
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    others = {event["ph"] for event in trace["traceEvents"]} - {"X", "M"}
    check(not others, f"{path.name} has events {others}")
    return trace["otherData"], spans


def by_track(spans):
    tracks = collections.defaultdict(list)
    for span in spans:
        # whole nanoseconds, as the file has them
        begin = round(1000 * span["ts"])
        tracks[span["pid"], span["tid"]].append((begin, begin + round(1000 * span["dur"]), span))
    return tracks


def check_nested(spans):
    """Of each track, spans follow or contain each other."""
    for track, rows in by_track(spans).items():
        open_until = []
        for begin, end, span in sorted(rows, key=lambda row: (row[0], -row[1])):
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            inside = not open_until or end <= open_until[-1]
            if not check(inside, f"track {track}: {span} crosses the end of another"):
                return
            check(begin >= 0 and end >= begin, f"track {track}: {span}")
            open_until.append(end)


def test_content():
    path = here / "whole.json"
    words = ["train.steps=6", "batch.lanes=4", "checkpoint.every=3", f"run.trace={path}"]
    ended = train(here / "whole", data, *words, ranks=3)
    check(ended.code == 0, f"whole: exit code {ended.code}: {ended.tail()}")
    other, spans = load(path)
    check(other["ranks"] == 3 and other["every"] == 1, f"it says of itself {other}")
    check(other["spans_left_out"] == 0, f"it says of itself {other}")
    check([row["rank"] for row in other["clocks"]] == [0, 1, 2], f"clocks: {other['clocks']}")
    check_nested(spans)
    for rank in range(3):
        mine = [span for span in spans if span["pid"] == rank]
        phases = {span["name"] for span in mine if span["tid"] == 0}
        check(PHASES | {"step"} == phases, f"rank {rank}: phases {phases ^ (PHASES | {'step'})}")
        steps = [span["args"]["step"] for span in mine if span["name"] == "step"]
        check(steps == list(range(6)), f"rank {rank}: steps {steps}")
        moved = collections.Counter()
        for span in mine:
            if span["tid"] > 0 and span["args"]["step"] >= 0:
                moved[span["name"]] += span["args"]["bytes"]
        check(set(moved) == COLLECTIVES, f"rank {rank}: collectives {set(moved)}")
        check(all(moved.values()), f"rank {rank}: bytes {moved}")
    # One node, one clock: an allreduce ends on no rank before it has begun on all.
    sums = [[s for s in spans if s["pid"] == r and s["name"] == "sigreg"] for r in range(3)]
    for each in zip(*sums):
        last = max(span["ts"] for span in each)
        check(all(span["ts"] + span["dur"] >= last for span in each), f"clocks differ: {each}")
    ledger = json.loads((here / "whole/timing.json").read_text())["ledger"]
    calls = {row["name"]: row["calls"] for row in ledger}
    check(len(sums[0]) == calls["sigreg"], f"{len(sums[0])} allreduces, the ledger has {calls}")
    leftover = [p.name for p in here.iterdir() if p.name.endswith(".tmp")]
    check(not leftover, f"left behind: {leftover}")


def test_overlap():
    """Each bucket of gradients but the last is on its way while backward goes on."""
    path = here / "overlap.json"
    words = ["train.steps=3", "model.width=64", "model.depth=4", f"run.trace={path}"]
    ended = train(here / "overlap", data, *words, ranks=2)
    check(ended.code == 0, f"overlap: exit code {ended.code}: {ended.tail()}")
    _, spans = load(path)
    for rank, step in itertools.product(range(2), range(3)):
        mine = [s for s in spans if s["pid"] == rank and s["args"]["step"] == step]
        backward = [s for s in mine if s["name"] == "backward"]
        starts = sorted(s["ts"] for s in mine if s["name"] == "gradient")
        check(len(starts) > 3, f"{len(starts)} buckets")
        inside = [any(b["ts"] < at < b["ts"] + b["dur"] for b in backward) for at in starts]
        gaps = [after - before for before, after in zip(starts, starts[1:])]
        total = sum(b["dur"] for b in backward)
        check(
            all(inside) and sum(gaps) > 0.3 * total,
            f"rank {rank}, step {step}: starts {starts}, backward {backward}",
        )


def test_bound():
    """Room for a few steps: the trace has one of so many, the same on every rank."""
    path = here / "bound.json"
    words = ["train.steps=40", "eval.every=7", "eval.where=split=1", f"run.trace={path}"]
    ended = train(here / "bound", data, *words, ranks=2, env={"LJ_TRACE_SPANS": "300"})
    check(ended.code == 0, f"bound: exit code {ended.code}: {ended.tail()}")
    other, spans = load(path)
    every = other["every"]
    check(every in (8, 16, 32), f"one step of {every}")
    check(other["spans_of_a_rank_at_most"] == 300, f"it says of itself {other}")
    check_nested(spans)
    for rank in range(2):
        mine = [span for span in spans if span["pid"] == rank]
        check(len(mine) <= 300, f"rank {rank}: {len(mine)} spans")
        steps = [span["args"]["step"] for span in mine if span["name"] == "step"]
        check(steps == list(range(0, 40, every)), f"rank {rank}: steps {steps}")


def test_stopped():
    """A signal ends the run early: the trace is written all the same."""
    directory, path = here / "stopped", here / "stopped.json"
    words = ["train", *program.TINY, f"run.dir={directory}", data]
    process = program.start([*words, "train.steps=1000000", f"run.trace={path}"], 2)
    program.wait_for_step(directory, 3, process)
    os.kill(program.rank_processes(directory)[1], signal.SIGUSR1)
    ended = program.end(process)
    check(ended.code == 75, f"stopped: exit code {ended.code}: {ended.tail()}")
    other, spans = load(path)
    check_nested(spans)
    for rank in range(2):
        steps = [s["args"]["step"] for s in spans if s["pid"] == rank and s["name"] == "step"]
        check(0 in steps and steps[-1] >= 3 - other["every"], f"rank {rank}: steps {steps}")


def test_continued():
    """The same command, given again, goes on and writes a file of its own."""
    path = here / "continued.v1.json"
    words = [data, "train.steps=4", "checkpoint.every=2", f"run.trace={path}"]
    failed = train(here / "continued", *words, ranks=2, env={"LJ_FAULT": "step:1:3"})
    before = path.read_bytes()
    again = train(here / "continued", *words, ranks=2)
    check(failed.code == 6 and again.code == 0, f"continued: {again.code}: {again.tail()}")
    check(path.read_bytes() == before, "the first trace was written over")
    steps = [
        span["args"]["step"]
        for span in load(here / "continued.v1-step-000000002.json")[1]
        if span["name"] == "step" and span["pid"] == 0
    ]
    check(steps == [2, 3], f"continued: steps {steps}")
    idle = train(here / "continued", *words, ranks=2)
    check(idle.code == 0, f"nothing to do: {idle.code}: {idle.tail()}")
    check(not list(here.glob("continued.v1-step-000000004*")), "a trace of no steps was written")


def test_continued_again():
    """From the same checkpoint, as the first attempt saved none."""
    path = here / "again.json"
    words = [data, "train.steps=4", "checkpoint.every=2", f"run.trace={path}"]
    train(here / "again", *words, env={"LJ_FAULT": "step:0:3"})
    for name in ("again-step-000000002.json", "again-step-000000002-2.json"):
        failed = train(here / "again", *words, env={"LJ_FAULT": "step:0:2"})
        check(failed.code == 6, f"{name}: exit code {failed.code}: {failed.tail()}")
        check((here / name).exists(), f"{name} was not written")


def test_no_room():
    """Not even for the first step: what is left out is counted."""
    path = here / "full.json"
    words = [data, "train.steps=12", "batch.lanes=8", f"run.trace={path}"]
    ended = train(here / "full", *words, env={"LJ_TRACE_SPANS": "5"})
    check(ended.code == 0, f"no room: exit code {ended.code}: {ended.tail()}")
    other, spans = load(path)
    check(len(spans) == 5 and other["every"] == 1 and other["spans_left_out"] > 64, f"{other}")


def test_failed():
    """An error on which all ranks agree."""
    path = here / "failed.json"
    words = ["train.steps=9", f"run.trace={path}"]
    ended = train(here / "failed", data, *words, ranks=2, env={"LJ_FAULT": "step:1:4"})
    check(ended.code == 6, f"failed: exit code {ended.code}: {ended.tail()}")
    check(len(ended.errors) == 1 and "LJ_FAULT" in ended.errors[0], f"failed: {ended.errors}")
    steps = [s["args"]["step"] for s in load(path)[1] if s["name"] == "step" and s["pid"] == 1]
    check(steps == list(range(5)), f"failed: steps {steps}")


def refused(what, directory, path, *words, code, text, **more):
    words = [*words, "train.steps=2", f"run.trace={path}"]
    ended = train(here / directory, data, *words, ranks=2, **more)
    found = len(ended.errors) == 1 and text in ended.errors[0]
    check(ended.code == code and found, f"{what}: exit code {ended.code}: {ended.tail()}")


def test_refused():
    (here / "there.json").write_text("mine")
    refused("a file that exists", "r1", here / "there.json", code=2, text="exists")
    check((here / "there.json").read_text() == "mine", "it was written over")
    refused("no directory", "r2", here / "none/trace.json", code=2, text="No such file")
    check(not (here / "r2").exists(), "the run had begun")
    fault = {"LJ_FAULT": "trace:0:-1"}
    refused("not writable", "r3", here / "r3.json", code=6, text="LJ_FAULT", env=fault)
    check(program.checkpoints(here / "r3"), "no checkpoint of a run whose trace failed")
    words = ["sweep", *program.TINY, data, f"run.dir={here / 'sweep'}", "grid=seed=1|2"]
    ended = program.run([*words, f"run.trace={here / 'sweep.json'}"], 2)
    check(ended.code == 2 and "sweep" in ended.errors[0], f"sweep: {ended.code}: {ended.tail()}")


def test_gathers():
    """What an objective gathers is in the trace, as often as in the ledger."""
    path = here / "simclr.json"
    words = ["objective=simclr", "train.steps=2", "batch.lanes=4", f"run.trace={path}"]
    ended = train(here / "simclr", data, *words, ranks=2)
    check(ended.code == 0, f"simclr: exit code {ended.code}: {ended.tail()}")
    names = collections.Counter(span["name"] for span in load(path)[1])
    for name in ("projections", "row sums"):
        check(names[name] == 2 * 2, f"simclr: {names[name]} spans of {name}: {names}")
    check_nested(load(path)[1])


test_content()
test_overlap()
test_gathers()
test_bound()
test_stopped()
test_continued()
test_continued_again()
test_no_room()
test_failed()
test_refused()
program.finish()
