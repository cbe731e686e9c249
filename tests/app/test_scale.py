#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scale: a ladder of ranks gives the bits of its smallest rung, times with intervals, traffic,
files and figures; other bits are seen; ranks that wait leave their cores alone; what cannot be is
refused before anything runs, what fails ends all ranks; and time to a target is measured apart."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import time

import numpy

import program
from program import TINY, check, end, run, start

holder, here = program.scratch()
archive = program.archive(here / "archive.h5", count=96)
WORDS = [*TINY, f"data.archive={archive}", "batch.size=48", "steps=2"]
KEYS = (
    "mode ranks nodes batch lanes step_s step_s_low step_s_high repeats_s samples_per_s efficiency "
    "efficiency_low efficiency_high exposed_s bytes messages collectives imbalance setup_s "
    "same_bits predicted_s phases ledger"
)


def scale(what, *words, ranks=3, code=0, **more):
    ended = run(["scale", *WORDS, *words], ranks, **more)
    check(ended.code == code, f"{what}: exit code {ended.code}, expected {code}: {ended.tail()}")
    return ended


def clock_ticks(process):
    """Of the processor, in user and kernel."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


# ---- tests ---------------------------------------------------------------------------------------


def check_times(rung, base):
    what = f"{rung['mode']}, {rung['ranks']} ranks"
    times = sorted(rung["repeats_s"])
    check(len(times) == 5 and times[0] > 0, f"{what}: repeats {times}")
    check(
        (rung["step_s_low"], rung["step_s"], rung["step_s_high"])
        == (times[0], statistics.median(times), times[-1]),
        f"{what}: median and extremes are not those of {times}",
    )
    work = rung["batch"] / rung["ranks"] / (base["batch"] / base["ranks"])
    for key, of_base, of_rung in (
        ("efficiency", "step_s", "step_s"),
        ("efficiency_low", "step_s_low", "step_s_high"),
        ("efficiency_high", "step_s_high", "step_s_low"),
    ):
        wanted = work * base[of_base] / rung[of_rung] if rung is not base else 1
        check(abs(rung[key] / wanted - 1) < 1e-6, f"{what}: {key} {rung[key]}, expected {wanted}")


def check_traffic(rung):
    """Bytes are at least those of rank 0's ledger; what is exposed is a part of the step."""
    what = f"{rung['mode']}, {rung['ranks']} ranks"
    steps = 5 * 2
    mine = sum(entry["calls"] * entry["bytes_per_call"] for entry in rung["ledger"]) / steps
    check(rung["bytes"] >= 0.99 * mine > 0, f"{what}: {rung['bytes']} bytes, rank 0 {mine}")
    check((rung["messages"] > 0) == (rung["ranks"] > 1), f"{what}: {rung['messages']} messages")
    check(rung["collectives"] >= 1, f"{what}: {rung['collectives']} collectives")
    check(0 <= rung["exposed_s"] < 2 * rung["step_s_high"], f"{what}: {rung['exposed_s']} exposed")
    small = [entry for entry in rung["ledger"] if entry["name"] == "sigreg"]
    check(len(small) == 1 and small[0]["calls"] == steps, f"{what}: sigreg {small}")
    check({"forward", "backward"} <= {p["name"] for p in rung["phases"]}, f"{what}: phases")


def test_ladder():
    found = json.loads(scale("1, 2, 3 ranks", "ranks=1,2,3", "json=1", f"out={here}/all").out)
    program.has_keys(
        "the object",
        found,
        "program kernels processor matmuls libraries mpi ranks nodes ranks_per_node threads model "
        "parameters archive archive_fingerprint seed precision reduce settings mode repeats steps "
        "warmup baseline estimate interval open_s rungs",
    )
    rungs = found["rungs"]
    check(
        [(rung["mode"], rung["ranks"], rung["batch"]) for rung in rungs]
        == [("strong", r, 48) for r in (1, 2, 3)] + [("weak", r, 16 * r) for r in (1, 2, 3)],
        "1, 2, 3 ranks: other rungs",
    )
    for rung in rungs:
        program.has_keys("a rung", rung, KEYS)
        check(rung["same_bits"] is True, f"{rung['mode']}, {rung['ranks']}: other bits")
        check(rung["predicted_s"] > 0, f"predicted: {rung['predicted_s']}")
        check_times(rung, rungs[0 if rung["mode"] == "strong" else 3])
        check_traffic(rung)
    check(
        found["baseline"]
        == [
            {"mode": "strong", "ranks": 1, "batch": 48},
            {"mode": "weak", "ranks": 1, "batch": 16},
        ],
        f"baseline {found['baseline']}",
    )
    of_job = [found[key] for key in ("ranks", "nodes", "ranks_per_node", "threads")]
    check(of_job == [3, 1, 3, 1], f"ranks, nodes, ranks of a node, threads: {of_job}")
    check(re.fullmatch(r"(Open MPI|MPICH)\b.* v?\d+\.\d+\S*", found["mpi"]), f"mpi: {found['mpi']}")
    check(found["settings"]["batch.size"] == "48", f"settings {found['settings']}")
    check_files(found)


def check_files(found):
    written = json.loads((here / "all/scale.json").read_text())
    check(written == found, "scale.json is not what was printed")
    with open(here / "all/scale.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    check(len(rows) == len(found["rungs"]), f"scale.csv has {len(rows)} rows")
    for row, rung in zip(rows, found["rungs"]):
        for key in ("ranks", "batch", "step_s", "efficiency_low", "exposed_s", "bytes"):
            check(float(row[key]) == rung[key], f"scale.csv: {key} {row[key]}, not {rung[key]}")
        check((row["mode"], row["same_bits"]) == (rung["mode"], "true"), f"scale.csv: {row}")
    scripts = sorted(path.stem for path in (here / "all").glob("*.gp"))
    figures = "bytes efficiency exposed imbalance messages step".split()
    check(scripts == [f"scale-{name}" for name in figures], f"scripts {scripts}")
    if shutil.which("gnuplot"):
        for name in scripts:
            picture = here / f"all/{name}.svg"
            drawn = picture.read_text() if picture.exists() else ""
            check("strong" in drawn and "weak" in drawn, f"{name}.svg lacks a line")
        log = here / "all/gnuplot.log"
        check(not log.exists(), f"gnuplot says {log.read_text() if log.exists() else ''}")


def test_table():
    """One mode, the default ladder, and lanes that strong rungs do not share evenly."""
    ended = scale("table", "mode=strong", "batch.size=32")
    rows = [line for line in ended.out.splitlines() if line.startswith("strong ") and ".." in line]
    check([row.split()[1] for row in rows] == ["1", "2", "3"], f"table: {ended.out}")
    check(all(row.split()[-1] == "same" for row in rows), f"table: {ended.out}")
    named = "baseline of strong scaling: 1 rank with batch.size=32" in ended.out
    check(named, f"table: no baseline: {ended.out}")


def test_other_bits():
    """MPI's own sums on three ranks are others than on one, which the comparison sees."""
    words = ["ranks=1,3", "mode=strong", "reduce=fast", "json=1"]
    ended = scale("reduce=fast", *words)
    bits = [rung["same_bits"] for rung in json.loads(ended.out)["rungs"]]
    check(bits == [True, False], f"reduce=fast: same bits {bits}")
    check(any("1 of 2 rungs" in line for line in ended.warnings), f"reduce=fast: {ended.tail()}")


def test_refused():
    for what, words, ranks, word in (
        ("lanes that ranks cannot share", ["batch.size=32"], 3, "batch.size"),
        ("fewer lanes than ranks", ["batch.size=16", "mode=strong"], 3, "batch.size"),
        ("more ranks than the job", ["ranks=1,4"], 1, "ranks=1,4"),
        ("a descending ladder", ["ranks=2,1"], 1, "ranks=2,1"),
        ("too few repeats", ["repeats=4"], 1, "repeats"),
        ("a batch without lanes", ["batch.size=25"], 1, "batch.size"),
        ("another command's argument", ["grid=seed=1|2"], 1, "grid"),
        ("a target without a number", ["target=knn:x"], 1, "target=knn:x"),
        ("a target of something else", ["target=linear:0.5"], 1, "target=linear:0.5"),
        ("a target without evaluations", ["target=knn:0.5", f"out={here}/no"], 1, "eval.every"),
        ("a trace", [f"run.trace={here}/trace.json"], 1, "run.trace"),
        ("a time that rungs do not obey", ["run.max_seconds=9"], 1, "run.max_seconds"),
        ("a target without a place", ["target=knn:0.5", "eval.every=1"], 1, "out="),
    ):
        ended = scale(what, *words, ranks=ranks, code=2)
        check(len(ended.errors) == 1 and word in ended.errors[0], f"{what}: {ended.tail()}")
        check("steps of batch" not in ended.err, f"{what}: refused after work: {ended.tail()}")
    ended = scale("more samples than there are", "batch.size=120", ranks=1, code=3)
    check("fewer than batch.size 120" in ended.errors[0], f"too few samples: {ended.tail()}")
    ended = scale("no directory", "out=/dev/null/scale", ranks=1, code=6)
    check("steps of batch" not in ended.err, f"out=: refused after work: {ended.tail()}")


def test_faults():
    """A rank that fails in a rung of two, while a third one waits."""
    for fault in ("setup:1:-1", "step:1:3"):
        ended = scale(fault, "ranks=2", "mode=strong", code=6, env={"LJ_FAULT": fault})
        check(len(ended.errors) == 1 and "rank 1" in ended.errors[0], f"{fault}: {ended.tail()}")
        check(ended.out == "", f"{fault}: nothing is measured, but reported: {ended.out}")


def test_what_is_measured_stays():
    """A rung that fails, or ends the job, leaves what the one before it has measured."""
    words = ["ranks=1,2", "mode=strong", "json=1", "guard.stall_s=2"]
    for fault, code in (("setup:1:-1", 6), ("step:1:3:stall", 7)):
        out = here / f"stays-{code}"
        ended = scale(fault, *words, f"out={out}", ranks=2, code=code, env={"LJ_FAULT": fault})
        kept = json.loads((out / "scale.json").read_text())["rungs"]
        check([rung["ranks"] for rung in kept] == [1], f"{fault}: kept {kept}")
        rows = (out / "scale.csv").read_text().splitlines()
        check(len(rows) == 2 and rows[1].startswith("strong,1,"), f"{fault}: kept {rows}")
        if code == 6:
            check(json.loads(ended.out)["rungs"] == kept, f"{fault}: {ended.out}")


def test_waiting():
    """The second rank of the job has no part in the only rung, and no use for a core."""
    mark = here / "mark"
    words = ["ranks=1", "mode=strong", "steps=20000", f"run.dir={mark}"]
    process = start(["scale", *WORDS, *words], 2, env={"OMPI_MCA_mpi_yield_when_idle": "0"})
    while process.poll() is None and len(program.rank_processes(mark)) < 2:
        time.sleep(0.02)
    works, waits = 0, 1
    for _ in range(10):  # first the links are measured, on both
        if waits < 0.1 * works or not check(process.poll() is None, "waiting: the job has ended"):
            break
        ranks = program.rank_processes(mark)
        before = [clock_ticks(ranks[rank]) for rank in (0, 1)]
        time.sleep(3)
        works, waits = (clock_ticks(ranks[rank]) - before[rank] for rank in (0, 1))
    check(waits < 0.1 * works, f"waiting: {waits} ticks of a core, the other uses {works}")
    os.killpg(process.pid, signal.SIGKILL)
    end(process)


def test_target():
    """Runs of one accuracy and number of steps on any ranks, kept apart from the rungs."""
    words = ["ranks=1,2", "mode=strong", "eval.every=2", "eval.where=split=1", "train.steps=6"]
    words += ["data.where=split=0", "batch.size=32", f"out={here}/goal"]
    found = json.loads(scale("target", *words, "target=knn:0.01", "json=1", ranks=2).out)
    runs = found["targets"]
    check([run["ranks"] for run in runs] == [1, 2], f"target: {runs}")
    for run_ in runs:
        lines = [row for row in program.metrics(run_["run"]) if "knn_top1" in row]
        check(len(lines) == 1 and run_["steps"] == lines[0]["step"] == 2, f"target: {run_}")
        check(abs(run_["knn_top1"] - lines[0]["knn_top1"]) < 1e-6, f"target: {run_}, {lines}")
        check(run_["reached"] and run_["target_knn_top1"] == 0.01, f"target: {run_}")
        check(run_["seconds"] > 0 and "seconds" not in found["rungs"][0], f"target: {run_}")
        check(len(program.checkpoints(run_["run"])) == 1, f"target: {run_['run']}: no checkpoint")
    ended = scale("the same directory", *words, "target=knn:0.01", ranks=2, code=2)
    check("earlier study" in ended.errors[0], f"the same directory: {ended.tail()}")


def test_target_stopped():
    """A study cannot be continued, and no exit code says that it could."""
    words = ["mode=strong", "eval.every=2", "eval.where=split=1", "train.steps=1000000"]
    words += ["data.where=split=0", f"out={here}/short", "target=knn:1", "run.max_seconds=1e-9"]
    ended = scale("stopped", *words, "json=1", ranks=2, code=2)
    said = len(ended.errors) == 1 and "was stopped" in ended.errors[0]
    check(said and "out=" in ended.errors[0], f"stopped: {ended.tail()}")
    rungs = json.loads(ended.out)["rungs"]
    check(len(rungs) == 2, f"stopped: what was measured is not reported: {ended.out}")


def test_target_not_reached():
    words = ["mode=strong", "eval.every=2", "eval.where=split=1", "train.steps=4", "repeats=5"]
    words += ["data.where=split=0", f"out={here}/far", "target=knn:1"]
    ended = scale("far target", *words, ranks=1)
    check("not reached" in ended.out.splitlines()[-1], f"far target: {ended.out}")
    check(ended.out.splitlines()[-1].split()[:2] == ["1", "4"], f"far target: {ended.out}")
    bare = program.write_h5(here / "bare.h5", images=program.images(96))
    words = [f"data.archive={bare}", "eval.every=2", f"out={here}/bare", "target=knn:0.5"]
    ended = scale("no labels", *words, "json=1", ranks=1, code=2)
    check("labels" in ended.errors[0], f"no labels: {ended.tail()}")
    rungs = json.loads(ended.out)["rungs"]
    check(len(rungs) == 2, f"no labels: what was measured is not reported: {ended.out}")


def test_labels():
    """A classifier is measured like any objective, on the rows that have a label."""
    rows = numpy.arange(96)
    labels = numpy.where(rows % 8 == 7, -1, rows % 3)
    path = program.write_h5(here / "labels.h5", images=program.images(96), labels=labels)
    words = ["objective=supervised", f"data.archive={path}", "ranks=1,2,3", "mode=strong"]
    lanes = ["batch.lanes=12", "projector.norm=lane"]  # a classifier has no such norm
    found = scale("supervised", *words, *lanes, "json=1", f"out={here}/supervised", "steps=1")
    rungs = json.loads(found.out)["rungs"] if found.code == 0 else []
    check([rung["same_bits"] for rung in rungs] == [True] * 3, f"supervised: {found.tail()}")
    check("3 classes, 0 to 2, of 28 to 28 rows" in found.err, f"supervised: {found.err}")


TESTS = (
    test_ladder,
    test_labels,
    test_table,
    test_other_bits,
    test_refused,
    test_faults,
    test_what_is_measured_stays,
    test_waiting,
    test_target,
    test_target_stopped,
    test_target_not_reached,
)
for test in TESTS:
    test()
program.finish()
