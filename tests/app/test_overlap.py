#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embedding files say which rows of which files they hold, and by what they were made; probe
refuses two files with a row in both, however their archives were put together."""

import json
import shutil

import h5py
import numpy
import program
from program import check, done, has_keys, run, train

DATA = 3

holder, here = program.scratch()
first = program.archive(here / "first.h5", 96)
second = program.archive(here / "second.h5", 60)


def embed(name, archives, *more):
    out = here / name
    words = ["embed", f"checkpoint={here / 'run'}", f"data.archive={archives}", f"out={out}"]
    done(name, [*words, *more])
    return out


def probe(bank, query, *more, ranks=1):
    return run(["probe", f"train={bank}", f"test={query}", "json=1", *more], ranks)


def expect(what, bank, query, overlap):
    """Refused with so many rows in both, and allowed; None: nobody knows, which is said."""
    ended = probe(bank, query)
    if overlap:
        said = f"{overlap} of the " in ended.err and "overlap=allow" in ended.err
        named = ended.err.count(".h5) are training rows in") + ended.err.count(".h5), too") == 2
        check(
            ended.code == DATA and len(ended.errors) == 1 and said and named,
            f"{what}: exit code {ended.code}: {ended.tail()}",
        )
        ended = probe(bank, query, "overlap=allow", ranks=2)
    check(ended.code == 0, f"{what}: exit code {ended.code}: {ended.tail()}")
    check(json.loads(ended.out)["overlap"] == overlap, f"{what}: {ended.out}")
    check(("is not known" in ended.err) == (overlap is None), f"{what}: {ended.tail()}")


def changed(source, name, change):
    target = shutil.copy(source, here / name)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def drop_parts(file):
    del file["parts"]


def make_older(file):
    drop_parts(file)
    file.attrs["provenance"] = "runs/a"


ended = train(here / "run", f"data.archive={first}", "data.where=split=0", "train.steps=2")
check(ended.code == 0, f"train: {ended.tail()}")
bank = embed("bank.h5", first, "data.where=split=0")
query = embed("query.h5", first, "data.where=split=1")
everything = embed("all.h5", first, "data.where=")
both = embed("both.h5", f"{first},{second}", "data.where=")
(here / "moved").mkdir()
moved = embed("moved.h5", shutil.copy(second, here / "moved"), "data.where=split=1")

expect("other rows", bank, query, 0)
expect("the same file", bank, bank, 72)
expect("all rows", everything, query, 24)
expect("all rows, the other way round", query, everything, 24)
expect("a file of two, moved", both, moved, 15)
expect("files that differ", everything, moved, 0)
expect("without parts", changed(everything, "a.h5", drop_parts), query, 24)
expect("without parts, others", changed(everything, "b.h5", drop_parts), moved, None)
expect("an older file", changed(everything, "c.h5", make_older), query, None)

with h5py.File(both) as file:
    noted = json.loads(file.attrs["provenance"])
    has_keys(
        "provenance", noted, "step weights_xxh3 archive archive_fingerprint where normalisation"
    )
    has_keys("normalisation", noted["normalisation"], "mean std stretch full_scale")
    check(noted["step"] == 2 and noted["normalisation"]["full_scale"] == 255, f"noted {noted}")
    parts = file["parts"]
    found = {name: list(parts[name][()]) for name in ("first_row", "rows", "file", "dataset")}
    wanted = {
        "first_row": [0, 96],
        "rows": [96, 60],
        "file": [str(first).encode(), str(second).encode()],
        "dataset": [b"/images", b"/images"],
    }
    check(found == wanted, f"parts {found}")
    check(len(numpy.unique(parts["fingerprint"])) == 2, "parts have one fingerprint")


def damage(file):
    file["parts/first_row"][1] = 97


ended = probe(changed(both, "damaged.h5", damage), query)
check(ended.code == DATA and "begins at row" in ended.err, f"damaged parts: {ended.tail()}")
program.finish()
