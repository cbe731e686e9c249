#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows without a label (negative or NaN) stay out of banks, fits and scores, and are counted."""

import json

import numpy

import program
from program import check, done, read, run, train

ROWS = 120
DATA = 3
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
    split=(rows % 4 == 3).astype("u1"),
)
data = f"data.archive={archive}"


def embed(name, *words):
    words = [f"checkpoint={here / 'run'}", data, f"out={here / name}", *words]
    done(f"embed {name}", ["embed", *words])
    return here / name


def probe(bank, query):
    words = ["probe", f"train={bank}", f"test={query}", "json=1", "overlap=allow"]
    return json.loads(done("probe", words).out)


def test_training():
    """The kNN while training: told at its start, and no class of its own."""
    words = [data, "data.where=split=0", "eval.where=split=1", "eval.every=2", "train.steps=2"]
    ended = train(here / "run", *words, ranks=2)
    check(ended.code == 0, f"train: {ended.tail()}")
    left_out = numpy.count_nonzero(~known & (rows % 4 == 3))
    log = (here / "run" / "log.txt").read_text()
    check(f"evaluation: {left_out} of 30 rows to predict" in log, f"log: {log}")
    ended = train(here / "none", *words, "data.labels=hidden")
    check(ended.code == DATA and "0 rows to predict" in ended.err, f"no labels: {ended.tail()}")


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
test_probe()
program.finish()
