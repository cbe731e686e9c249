#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run continues with other settings only where the weights do not depend on them, or where
resume.change names them; then log and checkpoint say from which step it differs."""

import json
import shutil

import h5py

import program
from program import check, done, train

STEPS = 4
holder, here = program.scratch()
archive = program.archive(here / "archive.h5")
DATA = [f"data.archive={archive}", "data.where=split=0"]
WORDS = [*DATA, f"train.steps={STEPS}", "memory.tile=64"]


def provenance(directory):
    with h5py.File(program.checkpoints(directory)[-1]) as file:
        return json.loads(file.attrs["provenance"])


def refused(case):
    """The run is finished: even then another setting is an error, not \"nothing to do\"."""
    changed, ranks = case
    ended = train(here / "run", *WORDS, changed, ranks=ranks)
    key = changed.split("=")[0]
    check(ended.code == 2, f"{changed}: exit code {ended.code}, expected 2: {ended.tail()}")
    said = " ".join(ended.errors)
    check(
        len(ended.errors) == 1 and changed in said and f"resume.change={key}" in said,
        f"{changed}: the message does not name it: {ended.errors}",
    )
    check(f"step-{STEPS:09}.h5" in said, f"{changed}: which checkpoint? {ended.errors}")


def test_refused():
    changes = (
        "memory.tile=128",
        "train.steps=6",
        "train.epochs=7",
        "data.stretch=asinh",
        "data.where=split=1",
        "sigreg.slices=16",
        "model.width=32",
        "optim.lr=0.1",
        "seed=9",
        "comm.gradients=bf16",
    )
    program.at_once(refused, [(change, 1 + i % 2) for i, change in enumerate(changes)])


def test_free():
    ended = train(
        here / "run",
        *WORDS,
        *("checkpoint.keep=5", "log.every=2", "threads=2", "data.cache=64", "data.labels=none"),
        *("memory.recompute=blocks", "guard.stall_s=0", "resume.change=seed"),
    )
    check(ended.code == 0 and not ended.warnings, f"free settings: {ended.code}: {ended.tail()}")


def test_allowed():
    directory = program.copy(here / "run", here / "longer")
    words = [*DATA, "train.steps=8", "memory.tile=128", "checkpoint.every=2", "checkpoint.keep=9"]
    ended = train(directory, *words, "resume.change=memory.tile", ranks=2)
    check(
        ended.code == 2 and "resume.change=train.steps" in ended.err,
        f"one of two allowed: {ended.code}: {ended.tail()}",
    )
    ended = train(directory, *words, "resume.change=memory.tile, train.steps", ranks=2)
    check(ended.code == 0, f"allowed: exit code {ended.code}: {ended.tail()}")
    said = " ".join(ended.warnings)
    check(
        all(text in said for text in ("step 4", "train.steps=8 (was 4)", "memory.tile=128")),
        f"does not say what differs from when on: {ended.warnings}",
    )
    check("at step 8 (was 4)" in ended.err, f"the schedule is not said: {ended.tail()}")
    changes = provenance(directory)["changes"]
    check(
        [change["after_step"] for change in changes] == [4]
        and "memory.tile=128" in changes[0]["settings"],
        f"provenance says {changes}",
    )
    rates = [row["lr"] for row in program.metrics(directory)]
    floor = 5e-7  # of the four steps' schedule, reached there at step 4
    check(10 * floor < rates[7] < rates[4], f"learning rates {rates}")

    again = train(directory, *words)
    check(again.code == 0 and not again.warnings, f"the same settings again: {again.tail()}")
    last = train(
        directory, *words[:2], "train.steps=9", "memory.tile=128", "resume.change=train.steps"
    )
    check(last.code == 0, f"changed twice: {last.tail()}")
    steps = [change["after_step"] for change in provenance(directory)["changes"]]
    check(steps == [4, 8], f"changed twice: provenance has changes after {steps}")


def test_unknown():
    for word in ("memory.tiles", "out"):
        ended = train(here / "none", *WORDS, f"resume.change=seed,{word}")
        check(
            ended.code == 2 and f"'{word}'" in ended.err,
            f"resume.change={word}: {ended.code}: {ended.tail()}",
        )


def test_other_archive():
    program.archive(here / "larger.h5", 128)
    moved = here / "moved"
    moved.mkdir()
    shutil.copy(archive, moved)
    ended = train(here / "run", f"data.archive={here / 'larger.h5'}", *WORDS[1:])
    check(
        ended.code == 2 and "resume.change=data.archive" in ended.err,
        f"another archive: {ended.code}: {ended.tail()}",
    )
    ended = train(here / "run", f"data.archive={moved / archive.name}", *WORDS[1:])
    check(ended.code == 0 and not ended.warnings, f"a moved archive: {ended.tail()}")


def test_lower_level():
    level = provenance(here / "run")["kernels"]
    ended = train(here / "run", *WORDS, env={"LJ_ISA": "scalar"})
    check(ended.code == 0, f"LJ_ISA=scalar: {ended.tail()}")
    expected = level != "scalar"
    check(
        any(f"kernels {level}" in text and "scalar" in text for text in ended.warnings) == expected,
        f"from level {level} to scalar: warnings {ended.warnings}",
    )
    check("oneDNN" in provenance(here / "run")["libraries"], "the libraries are not recorded")


done("train", ["train", *program.TINY, f"run.dir={here / 'run'}", *WORDS])
test_refused()
program.at_once(
    lambda test: test(),
    [test_allowed, test_unknown, test_other_archive],
)
test_free()
test_lower_level()
program.finish()
