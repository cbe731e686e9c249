#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows without a label (negative, NaN, data.unlabelled) stay out of banks, fits and scores, and are
counted."""

import json

import numpy

import program
from program import check, done, read, run, train

ROWS = 120
USAGE, DATA = 2, 3
OTHERS = {"bytes": 255, "floats": 9.96921e36}  # datasets of labels, and what means "none" there
holder, here = program.scratch()

rows = numpy.arange(ROWS)
known = rows % 5 != 2
labels = (rows % 3).astype("f4")
labels[~known] = numpy.where(rows[~known] % 2, numpy.nan, -1)
archive = program.write_h5(
    here / "archive.h5",
    images=program.images(ROWS),
    labels=labels,
    hidden=numpy.full(ROWS, -1, "i4"),
    known=known.astype("u1"),
    bytes=numpy.where(known, rows % 3, 255).astype("u1"),
    floats=numpy.where(known, rows % 3, 9.96921e36).astype("f4"),
    split=(rows % 4 == 3).astype("u1"),
)
data = f"data.archive={archive}"


def embed(name, *words):
    words = [f"checkpoint={here / 'run'}", data, f"out={here / name}", *words]
    done(f"embed {name}", ["embed", *words])
    return here / name


def probe(bank, query, *words):
    words = ["probe", f"train={bank}", f"test={query}", "json=1", "overlap=allow", *words]
    return json.loads(done("probe", words).out)


def test_training():
    """The kNN while training: told at its start, and no class of its own."""
    words = [data, "data.where=split=0", "eval.where=split=1", "eval.every=2", "train.steps=2"]
    ended = train(here / "run", *words, ranks=2)
    check(ended.code == 0, f"train: {ended.tail()}")
    left_out = numpy.count_nonzero(~known & (rows % 4 == 3))
    log = (here / "run" / "log.txt").read_text()
    check(f"evaluation: {left_out} of 30 rows to predict" in log, f"log: {log}")
    scores = program.metrics(here / "run")[-1]
    for name, value in OTHERS.items():
        more = [f"data.labels={name}", f"data.unlabelled={value}"]
        ended = train(here / f"run-{name}", *words, *more, ranks=2)
        check(ended.code == 0, f"train {name}: {ended.tail()}")
        found = program.metrics(here / f"run-{name}")[-1]
        check(found == scores, f"{name}: {found}, not {scores}")
    ended = train(here / "none", *words, "data.labels=hidden")
    check(ended.code == DATA and "0 rows to predict" in ended.err, f"no labels: {ended.tail()}")


def test_inspect():
    """Classes and unlabelled rows, whatever says that there is no label."""
    wanted = {"classes": 3, "unlabelled": ROWS - known.sum()}
    for name, value in OTHERS.items():
        more = [f"data.labels={name}", f"data.unlabelled={value}", "json=1"]
        found = json.loads(done(f"inspect {name}", ["inspect", data, *more]).out)
        found = {key: found[key] for key in wanted}
        check(found == wanted, f"inspect {name}: {found}, not {wanted}")
    ended = run(["inspect", data, "data.labels=floats"])
    check(ended.code == DATA and "data.unlabelled" in ended.err, f"inspect: {ended.tail()}")
    ended = run(["inspect", data, "data.unlabelled=none"])
    check(ended.code == USAGE and "data.unlabelled" in ended.err, f"no number: {ended.tail()}")


def test_other_conventions():
    """Embeddings of rows whose missing labels are 255; and files of other programs."""
    everything = here / "all.h5"
    labels_wanted = read(everything, "labels")
    for name, value in OTHERS.items():
        found = read(
            embed(f"{name}.h5", f"data.labels={name}", f"data.unlabelled={value}"), "labels"
        )
        check((found == labels_wanted).all(), f"embed {name}: {found}")
        foreign = program.write_h5(
            here / f"foreign-{name}.h5",
            embeddings=read(everything, "embeddings"),
            labels=read(archive, name),
        )
        scores = probe(foreign, foreign, f"data.unlabelled={value}")
        wanted = {**probe(everything, everything), "overlap": None}
        check(scores == wanted, f"probe {name}: {scores}, not {wanted}")
    ended = run(["probe", f"train={foreign}", f"test={foreign}"])
    check(ended.code == DATA and "label of row 2" in ended.err, f"floats: {ended.tail()}")


def test_probe():
    """The scores of all rows are those of the rows with labels."""
    everything = embed("all.h5")
    check((read(everything, "labels")[~known] == -1).all(), "NaN is not -1")
    labelled = embed("labelled.h5", "data.where=known=1")
    of_all, of_labelled = probe(everything, everything), probe(labelled, labelled)
    unlabelled = 2 * numpy.count_nonzero(~known)
    check(of_all.pop("unlabelled") == unlabelled, f"unlabelled: {of_all}")
    check(of_labelled.pop("unlabelled") == 0 and of_all["train_rows"] == known.sum(), f"{of_all}")
    check(of_all == of_labelled, f"{of_all} with unlabelled rows, {of_labelled} without")
    hidden = embed("hidden.h5", "data.labels=hidden")
    ended = run(["probe", f"train={hidden}", f"test={everything}"])
    check(ended.code == DATA and "hidden.h5" in ended.err, f"probe without labels: {ended.tail()}")


test_training()
test_inspect()
test_probe()
test_other_conventions()
program.finish()
