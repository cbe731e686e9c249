#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kNN while training: which rows it knows, on any number of ranks."""

import numpy

import program
from program import check, train

holder, here = program.scratch()


def test_evaluation():
    """An archive sorted by class: a bank of its first rows would know one class only."""
    rows = numpy.arange(240)
    stripes = numpy.stack(
        [
            numpy.broadcast_to(values, (28, 28))
            for values in (
                numpy.arange(28) // 3 % 2,
                (numpy.arange(28) // 3 % 2)[:, None],
                numpy.ones(28),
            )
        ]
    )
    pixels = (stripes[rows // 80] * 200).astype("u1") + program.images(240) // 8
    path = program.write_h5(
        here / "sorted.h5", images=pixels, labels=rows // 80, split=(rows % 4 == 3).astype("u1")
    )
    found = []
    for ranks in (1, 3):
        ended = train(
            here / f"sorted-{ranks}",
            f"data.archive={path}",
            "data.where=split=0",
            "eval.where=split=1",
            "eval.every=2",
            "eval.bank=90",
            "train.steps=3",
            ranks=ranks,
        )
        check(ended.code == 0, f"evaluation: {ended.tail()}")
        found.append(
            [row for row in program.metrics(here / f"sorted-{ranks}") if "knn_top1" in row]
        )
    check([row["step"] for row in found[0]] == [2, 3], f"evaluation at {found[0]}")
    check(found[0][0]["knn_top1"] > 0.9, f"evaluation of a sorted archive: {found[0]}")
    check(found[0] == found[1], f"evaluation on 1 and 3 ranks: {found}")


def test_evaluated_rows_leave_the_bank():
    """Noise whose labels say nothing: only a row that finds itself is right more often than one in
    three."""
    path = program.archive(here / "noise.h5", 300)
    ended = train(
        here / "noise",
        f"data.archive={path}",
        "eval.where=split=1",
        "eval.every=2",
        "train.steps=2",
        ranks=2,
    )
    check(ended.code == 0, f"overlap: {ended.tail()}")
    found = program.metrics(here / "noise")[-1]["knn_top1"]
    check(found < 0.6, f"overlap: kNN accuracy {found} of labels that pixels do not tell")
    said = "75 rows of data.where are in eval.where"
    check(said in ended.err, f"overlap: does not say '{said}': {ended.tail()}")
    ended = train(
        here / "nothing-left",
        f"data.archive={path}",
        "data.where=split=1",
        "eval.where=split=1",
        "eval.every=2",
        "train.steps=2",
        ranks=2,
    )
    check(
        ended.code == 3 and "75 rows of data.where" in ended.err,
        f"no bank left: {ended.code}: {ended.tail()}",
    )


program.at_once(lambda test: test(), [test_evaluation, test_evaluated_rows_leave_the_bank])
program.finish()
