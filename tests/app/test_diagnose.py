#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`diagnose` on any number of ranks and threads: the same bits, each rank with its rows only."""

import json
import sys

import numpy

import program
from program import check, done, read, run

holder, here = program.scratch()
LAYOUTS = [(1, 1), (2, 1), (3, 2)]  # ranks, threads
OVERSUBSCRIBED = {"LJ_OVERSUBSCRIBE": "1"}
DATA, NUMERIC = 3, 5
# Runs a program and says how much memory it had, in MiB.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""


def normal(*shape):
    return numpy.random.default_rng(4).normal(0.2, 1.3, shape).astype("f4")


def test_same_bits(case):
    """Arrays of several views and of one, whose rows fill no block."""
    name, shape = case
    path = program.write_h5(here / f"{len(shape)}-{shape[0]}.h5", **{name: normal(*shape)})
    found = []
    for ranks, threads in LAYOUTS:
        out = path.with_suffix(f".{ranks}.h5")
        words = [path, f"grad={out}", "json=1", "sigreg.slices=40", f"threads={threads}"]
        ended = done(f"{name} {shape}, {ranks} ranks", ["diagnose", *words], ranks, OVERSUBSCRIBED)
        found.append((ended.out, read(out, "grad").tobytes()))
        check(
            read(out, "grad").shape == (1, *shape)[-3:],
            f"{name} {shape}: gradient of shape {read(out, 'grad').shape}",
        )
    for layout, of_it in zip(LAYOUTS, found):
        check(of_it == found[0], f"{name} {shape} on {layout}: {of_it[0]}, not {found[0][0]}")


def expected_slice(values, direction):
    """What a slice of (V, N, D) shows, by numpy: counts, and rows from both ends inwards."""
    x = values.astype("f8") @ direction
    edges = [-numpy.inf, *numpy.arange(-3, 3.5, 0.5), numpy.inf]
    order = numpy.argsort(x.T.ravel(), kind="stable")
    rows = [(int(i) // len(x), int(i) % len(x)) for i in order]
    return list(numpy.histogram(x, edges)[0]), rows[:5], rows[:-6:-1]


def test_worst_slices():
    """Directions, histograms and tails of given slices: the worst is along feature 2, where one
    sample is far out."""
    values = numpy.random.default_rng(6).normal(size=(2, 203, 5)).astype("f4")
    values[..., 2] *= 3
    values[1, 77, 2] = -40
    slices = numpy.linalg.qr(numpy.random.default_rng(7).normal(size=(5, 5)))[0].astype("f4")
    slices = numpy.concatenate([slices, numpy.eye(5, dtype="f4")[:, 2:3]], axis=1)
    path = program.write_h5(here / "slices.h5", proj=values, slices=slices)
    for ranks in (1, 3):
        ended = done("worst slices", ["diagnose", path, "slices=4", "json=1"], ranks)
        found = json.loads(ended.out)
        worst = found["worst_slices"]
        check([len(worst), worst[0]["slice"]] == [4, 5], f"worst slices {worst}")
        check(worst[0]["low"][0]["row"] == 77 and worst[0]["low"][0]["view"] == 1, f"{worst[0]}")
        check(worst[0]["value"] > worst[1]["value"] > worst[3]["value"], f"worst slices {worst}")
        for of_it in worst:
            wanted = slices[:, of_it["slice"]]
            check(abs(wanted - of_it["direction"]).max() < 1e-6, f"direction {of_it}")
            counts, low, high = expected_slice(values, of_it["direction"])
            check(of_it["counts"] == counts, f"counts {of_it['counts']}, by numpy {counts}")
            check(abs(sum(of_it["gaussian"]) - 406) < 1e-6, f"Gaussian {of_it['gaussian']}")
            for name, rows in (("low", low), ("high", high)):
                have = [(row["row"], row["view"]) for row in of_it[name]]
                check(have == rows, f"{name} {have}, by numpy {rows}")
        axis = found["dimensions"][2]["statistic"]
        check(abs(axis / worst[0]["value"] - 1) < 1e-5, f"{axis}, as slice {worst[0]['value']}")
    ended = done("worst slices", ["diagnose", path, "slices=1"])
    check("slice 5:" in ended.out and "row 77 view 1" in ended.out, ended.out)


def test_lesson():
    """The covariance of a first course, as README.md shows it."""
    points = numpy.array([[2, 60], [4, 70], [6, 80]], "f4")
    path = program.write_h5(here / "points.h5", embeddings=points)
    found = json.loads(done("lesson", ["diagnose", path, "json=1"], 2).out)
    variances = [of_it["variance"] for of_it in found["dimensions"]]
    for have, value in zip(
        [*variances, found["offdiagonal"], found["trace"], found["effective_rank"]],
        [8 / 3, 200 / 3, 40 / 3, 208 / 3, 1],
    ):
        check(abs(have / value - 1) < 1e-9, f"lesson: {have}, not {value}: {found}")
    check(found["condition"] is None, f"lesson: one direction only: {found['condition']}")
    table = done("lesson", ["diagnose", path, "slices=0"]).out
    check(" 66.6667 " in table and "13.3333, of dimensions 0 and 1" in table, table)


def test_singular():
    """A covariance with eigenvalues that are 0 to rounding has no condition."""
    for seed in range(6):
        values = numpy.random.default_rng(seed).normal(0.2, 1.3, (500, 6)).astype("f4")
        values[:, 5] = values[:, 0]
        path = program.write_h5(here / f"copied-{seed}.h5", embeddings=values)
        found = json.loads(done("copied columns", ["diagnose", path, "json=1"]).out)
        check(found["condition"] is None, f"copied columns: condition {found['condition']}")
    path = program.write_h5(here / "few.h5", embeddings=normal(9, 12))
    found = json.loads(done("few rows", ["diagnose", path, "json=1"], 2).out)
    check(found["condition"] is None, f"condition of 9 rows of width 12: {found['condition']}")
    check(1 < found["effective_rank"] < 8.01, f"effective rank {found['effective_rank']}")


def test_failures():
    """One rank cannot use its rows, or the disk takes no more: all of them end."""
    values = normal(300, 8)
    values[290, 3] = numpy.nan
    path = program.write_h5(here / "nan.h5", embeddings=values)
    ended = run(["diagnose", path], 3)
    check(ended.code == NUMERIC and "not finite" in ended.err, f"NaN: {ended.code}: {ended.tail()}")
    whole = program.write_h5(here / "whole.h5", embeddings=normal(9000, 40))
    out = here / "full.h5"
    ended = run(
        ["diagnose", whole, f"grad={out}"],
        3,
        wrap=program.limited(400),
        env=program.NO_SHARED_MEMORY,
    )
    check(ended.code == 6 and "full.h5" in ended.err, f"full disk: {ended.code}: {ended.tail()}")
    check(not out.exists() and not list(here.glob(".full*")), "a file is left on a full disk")


def peaks(rows):
    path = program.write_h5(here / "large.h5", embeddings=normal(rows, 64))
    ended = run(
        ["diagnose", path, "sigreg.slices=8"],
        3,
        wrap=[sys.executable, "-c", MEASURED],
        timeout=300,
    )
    check(ended.code == 0, f"memory: {ended.tail()}")
    return max(int(line.split()[1]) for line in ended.lines("peak"))


def test_memory():
    """120 MiB on three ranks: none of them has more than its third, and what it always has."""
    rows = 120 * 4096
    more = peaks(rows) - peaks(rows // 400)
    check(more < 60, f"{more} MiB for an array of 120 MiB on 3 ranks")


program.at_once(
    test_same_bits,
    [
        ("proj", (3, 333, 24)),
        ("proj", (8, 100, 24)),
        ("proj", (70, 70, 5)),
        ("embeddings", (1003, 70)),
        ("embeddings", (2, 3)),
    ],
)
test_worst_slices()
test_lesson()
test_singular()
test_failures()
test_memory()
program.finish()
