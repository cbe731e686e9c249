#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The guards against training on what is worthless: collapsed projections, values that are not
finite. And what is said when memory or cores are short."""

import pathlib
import re

import program
from program import check, done, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
NUMERIC = 5


def ended_by(guard, directory, ranks, *words):
    """The one message of a run that a guard ends, without the rank that speaks."""
    ended = train(directory, data, "checkpoint.every=2", *words, ranks=ranks)
    what = f"{guard} on {ranks} ranks"
    check(
        ended.code == NUMERIC, f"{what}: exit code {ended.code}, expected {NUMERIC}: {ended.tail()}"
    )
    check(len(ended.errors) == 1, f"{what}: messages {ended.errors}")
    return re.sub(r"rank \d+: ", "", " ".join(ended.errors))


def test_collapse():
    """Eight dimensions cannot have rank 9; the check comes with the log's lines, before the
    checkpoint."""
    said = [
        ended_by(
            "guard.collapse",
            here / f"collapse-{ranks}",
            ranks,
            "guard.collapse=9",
            "log.every=2",
            "train.steps=6",
        )
        for ranks in (1, 2, 3)
    ]
    found = re.search(
        r"step 1: collapse: .*effective rank is (\d\.\d\d), below guard.collapse 9; "
        r"raise loss.lambda",
        said[0],
    )
    check(found and 1 <= float(found.group(1)) <= 8, f"guard.collapse: {said[0]}")
    check(len(set(said)) == 1, f"guard.collapse on 1, 2, 3 ranks: {said}")
    check(not program.checkpoints(here / "collapse-2"), "a checkpoint of collapsed weights")


def test_one_point():
    """Prediction alone makes all projections one point: said once; with its regulariser never."""
    words = [data, "optim.lr=1e-2", "optim.warmup_epochs=0", "train.steps=300"]
    weights = {"lejepa": ("loss.lambda=0", "loss.lambda=0.9"),
               "vicreg": ("vicreg.variance=0", "vicreg.variance=100")}
    for objective, (weight, enough) in weights.items():
        start = [*words, f"objective={objective}"]
        ended = train(here / f"point-{objective}", *start, weight, ranks=2)
        said = [line for line in ended.warnings if "collapse" in line]
        check(ended.code == 0 and len(said) == 1, f"{weight}: {ended.code}, {ended.warnings}")
        check("nearly one point" in said[0] and weight.split("=")[0] in said[0], said[0])
        last = program.metrics(here / f"point-{objective}")[-1]
        check(0.9 < last["collapse"] < 1.1, f"{weight}: {last}")
        ended = train(here / f"spread-{objective}", *start, enough)
        check("collapse" not in ended.err, f"{objective}: {ended.warnings}")
        last = program.metrics(here / f"spread-{objective}")[-1]
        check(0 <= last["collapse"] < 0.5, f"{objective}: {last}")
    # SimCLR has no weight that takes its negatives away; a fresh network that learns nothing does.
    still = ["objective=simclr", "projector.norm=layer", "optim.lr=0", "train.steps=105"]
    ended = train(here / "point-simclr", data, *still, "optim.warmup_epochs=0", ranks=2)
    said = [line for line in ended.warnings if "collapse" in line]
    check(ended.code == 0 and len(said) == 1, f"simclr: {ended.code}, {ended.warnings}")
    check("nearly one point" in said[0] and "simclr.temperature" in said[0], said[0])
    last = program.metrics(here / "point-simclr")[-1]
    check(0.9 < last["collapse"] <= 1, f"simclr: {last}")
    # A fresh projector without normalisation over the batch begins near one point; projections that
    # lie far apart have as large a SIGReg.
    fresh = ["projector.norm=layer", "optim.warmup_epochs=1000", "guard.collapse=0.5"]
    ended = train(here / "fresh", data, *fresh, "train.steps=150")
    rows = program.metrics(here / "fresh")
    check(rows[0]["collapse"] > 0.9, f"no fresh network near one point: {rows[0]}")
    check(ended.code == 0, f"fresh: exit code {ended.code}: {ended.tail()}")
    apart = ["projector.norm=none", "loss.lambda=0.5", "optim.lr=1", "guard.collapse=0.5"]
    ended = train(here / "apart", *words, *apart)
    rows = program.metrics(here / "apart")
    check(max(row["sigreg"] for row in rows) > 0.402 * 16, f"projections not apart: {rows[-1]}")
    check("nearly one point" not in ended.err, f"apart: {ended.tail()}")
    ended = train(here / "stopped", *words, "loss.lambda=0", "guard.collapse=0.5", ranks=3)
    check(
        ended.code != 0 and len(ended.errors) == 1 and "guard.collapse" in ended.errors[0],
        f"guard.collapse=0.5: {ended.code}, {ended.errors}",
    )


def test_without_sigreg():
    """Prediction alone collapses: seen while training, not at its start."""
    said = ended_by(
        "guard.collapse",
        here / "alone",
        2,
        "guard.collapse=2",
        "loss.lambda=0",
        "optim.lr=1e-2",
        "optim.warmup_epochs=0",
        "train.steps=400",
    )
    found = re.search(r"step (\d+): collapse", said)
    check(found and int(found.group(1)) > 2, f"collapse without SIGReg: {said}")
    check(program.checkpoints(here / "alone"), "no checkpoint of the steps before the collapse")


def test_above_the_limit():
    ended = train(here / "above", data, "guard.collapse=1", "train.steps=6", ranks=2)
    check(ended.code == 0, f"guard.collapse=1: exit code {ended.code}: {ended.tail()}")


def test_not_finite():
    """A learning rate far too high."""
    words = ["optim.lr=1000", "optim.warmup_epochs=0", "train.steps=5"]
    said = [ended_by("guard.nonfinite", here / f"stop-{ranks}", ranks, *words) for ranks in (1, 3)]
    check("not finite" in said[0] and "optim.lr" in said[0], f"guard.nonfinite: {said[0]}")
    check(len(set(said)) == 1, f"guard.nonfinite on 1 and 3 ranks: {said}")
    ended = train(here / "skip", data, *words, "guard.nonfinite=skip", ranks=2)
    check(ended.code == 0, f"guard.nonfinite=skip: exit code {ended.code}: {ended.tail()}")
    check(
        ended.warnings and all("no update was made" in line for line in ended.warnings),
        f"guard.nonfinite=skip: {ended.warnings}",
    )


def mebibytes_said(text):
    """Of each memory.recompute that a message or the start of a log names: MiB."""
    words = r"(\d+) MiB[\w ]* with (?:memory\.recompute=)?(none|blocks|lanes)\b"
    return {word: int(mib) for mib, word in re.findall(words, text)}


def test_out_of_memory():
    """Only settings that take less are recommended, with what they take; the log says the same of
    a run that has memory enough."""
    if b"__asan_init" in pathlib.Path(program.PROGRAM).read_bytes():
        return  # its own memory exceeds any limit
    words = [data, "batch.size=32", "threads=1", "precision=fp32", "train.steps=1"]
    words += ["model.width=384", "model.heads=6", "model.depth=12", "views.global=24"]
    limit = ["sh", "-c", "ulimit -v 1000000; exec \"$@\"", "sh"]
    short = train(here / "short", *words, wrap=limit)
    said = mebibytes_said(" ".join(short.errors))
    check(
        short.code == 6 and len(short.errors) == 1 and "out of memory" in short.errors[0],
        f"out of memory: {short.code} {short.errors}",
    )
    check(
        len(said) == 3 and said["none"] > max(said["blocks"], said["lanes"]),
        f"out of memory: {said} of {short.errors}",
    )
    enough = train(here / "enough", *words, "memory.recompute=lanes")
    lines = [line for line in enough.err.splitlines() if line.startswith("memory.recompute:")]
    logged = mebibytes_said(" ".join(lines))
    check(
        all(abs(logged.get(word, 0) - said[word]) <= 1 for word in said),
        f"the log says {logged}, the message {said}",
    )


def test_help_memory():
    """The memory that help model tells of an encoder is what a run of one lane plans."""
    words = "model.width=192 model.depth=4 model.heads=3 model.patch=4 views.local=3 batch.size=16 "
    words = [*words.split(), "batch.lanes=1", "data.size=24", "precision=fp32"]
    rgb = program.write_h5(here / "rgb.h5", images=program.images(16, shape=(24, 24, 3)))
    dino = "objective=dino dino.prototypes=65536 projector.out=16".split()
    cases = {"none": [], "blocks": [], "byol": ["objective=byol"], "dino": dino}
    for case, settings in cases.items():
        recompute = "blocks" if case == "blocks" else "none"
        more = [*words, f"memory.recompute={recompute}", *settings]
        listed = done(f"help model, {case}", ["help", "model", *more]).out
        row = re.search(r"^vit .* (\d+) \+ +(\d+) MiB ", listed, re.M)
        where = [f"data.archive={rgb}", f"run.dir={here / ('memory-' + case)}"]
        log = done("train", ["train", "model=vit", *more, *where, "train.steps=1"]).err
        planned = re.search(r"memory of rank 0: (\d+) MiB(.*)", log)
        lines = [line for line in log.splitlines() if line.startswith("memory.recompute:")]
        said = mebibytes_said(" ".join(lines)).get(recompute)
        if not check(row and planned and said, f"{case}: {listed} {log}"):
            continue
        part = dict(re.findall(r", ([a-z ]+) (\d+)", planned[2]))
        state, lane = int(row[1]), int(row[2])
        activations = int(part["activations"])
        check(abs(said - activations) <= 1, f"{case}: {lines}, {planned[0]}")
        wanted = activations + int(part.get("scratch", 0))
        check(abs(lane - wanted) <= 2, f"{case}: lane {lane} MiB, {planned[0]}")
        wanted = int(planned[1]) - wanted
        check(0.95 * wanted - 5 <= state <= wanted + 1, f"{case}: {state}, {planned[0]}")


def test_places_of_openmp():
    """They bind the main thread to one of the cores that a rank may have."""
    for variable, value in (("OMP_PLACES", "cores"), ("OMP_PROC_BIND", "close")):
        ended = train(here / "places", data, "threads=2", env={variable: value})
        said = len(ended.errors) == 1 and "OMP_PLACES" in ended.errors[0]
        check(ended.code == 2 and said, f"{variable}={value}: {ended.code}: {ended.tail()}")


program.at_once(
    lambda test: test(),
    [
        test_collapse,
        test_one_point,
        test_without_sigreg,
        test_above_the_limit,
        test_not_finite,
        test_out_of_memory,
        test_help_memory,
        test_places_of_openmp,
    ],
)
program.finish()
