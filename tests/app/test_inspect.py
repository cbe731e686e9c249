#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""inspect says what an archive holds, and writes settings with which train takes it as it is."""

import json
import pathlib
import sys

import numpy

import program
from program import check, done, read, run

holder, here = program.scratch()
CRASHES = pathlib.Path(sys.argv[1]).parent / "tests" / "fuzz" / "crashes"
ROWS = 90
TINY = "model=vit model.width=16 model.depth=1 model.heads=1 projector.hidden=16 sigreg.slices=8"


def make(name, pixels, **more):
    return program.write_h5(here / name, images=pixels, **more)


def inspect(path, out):
    words = ["inspect", f"data.archive={path}", "json=1", f"out={out}"]
    return json.loads(done(f"inspect {path.name}", words, ranks=2).out)


def test_numbers():
    rng = numpy.random.default_rng(3)
    pixels = rng.normal(5, 2, (ROWS, 30, 31, 2)).astype("f4")
    pixels[:, :, :, 1] *= -1
    pixels[4, :3, :5, 0] = numpy.nan
    pixels[5, 0, 0, 1] = -numpy.inf
    pixels[6] = 1.5
    labels = numpy.arange(ROWS) % 4 - 1
    path = make("float.h5", pixels, labels=labels)
    found = inspect(path, here / "float.yaml")
    check(found["class_rows"] == [23, 22, 22], f"class_rows {found['class_rows']}")
    check(found["unlabelled"] == 23, f"unlabelled {found['unlabelled']}")
    sample = found["sample"]
    check(sample["rows"] == ROWS, f"sampled {sample['rows']} rows")
    check(abs(sample["nonfinite"] - 16 / pixels.size) < 1e-9, f"not finite: {sample['nonfinite']}")
    check(abs(sample["constant"] - 1 / ROWS) < 1e-9, f"constant: {sample['constant']}")
    check(
        0 < sample["seconds_per_image"]
        and sample["seconds_per_epoch"] > sample["seconds_per_image"],
        f"{sample}",
    )
    for channel in range(2):
        values = pixels[..., channel][numpy.isfinite(pixels[..., channel])]
        wanted = numpy.percentile(values, [0, 1, 50, 99, 100])
        said = [sample["channels"][channel][key] for key in "least q01 median q99 largest".split()]
        check(numpy.allclose(said, wanted, atol=0.15), f"channel {channel}: {said}, not {wanted}")
        check(numpy.allclose([said[0], said[4]], [wanted[0], wanted[4]]), f"range {said}")
    table = done("as a table", ["inspect", f"data.archive={path}"]).out
    for word in ("not finite", "class 2: 22 rows", "23 rows without", "an epoch"):
        check(word in table, f"the table lacks '{word}': {table}")


def trains(name, path, expected, absent=()):
    """The settings train as they stand, with nothing but a model and a place added."""
    out = here / f"{name}.yaml"
    inspect(path, out)
    text = out.read_text()
    for line in expected:
        check(line in text, f"{name}: the settings lack '{line}': {text}")
    for word in absent:
        check(word not in text, f"{name}: the settings have '{word}': {text}")
    words = [*TINY.split(), "train.steps=1", f"run.dir={here / name}"]
    ended = run(["train", out, *words])
    check(ended.code == 0, f"{name}: train with the settings: {ended.code}: {ended.tail()}")


def test_settings():
    rng = numpy.random.default_rng(4)
    stars = rng.normal(100, 3, (ROWS, 69, 71, 3)).astype("f4")
    stars[:, 30, 30, :] = 60000
    stars[3, 0, 0, 0] = numpy.nan
    trains(
        "stars",
        make('a "quoted" \\ name of stars.h5', stars),
        ["data.stretch: percentile", "data.nan: zero", "data.size: 64", "batch.size: 64"],
    )
    plain = make("plain.h5", program.images(ROWS, shape=(28, 28)), labels=numpy.arange(ROWS) % 3)
    trains("plain", plain, ['data.labels: "/labels"'], ["stretch", "data.nan", "data.size"])
    large = numpy.zeros((8, 300, 400, 1), "u2") + rng.integers(0, 9, (8, 300, 400, 1)).astype("u2")
    trains("large", make("large.h5", large), ["data.size: 224", "batch.size: 8"], ["stretch"])
    one = make("rows.h5", program.images(ROWS), split=numpy.arange(ROWS) % 2)
    out = here / "where.yaml"
    done("inspect", ["inspect", f"data.archive={one}", "data.where=split=1", f"out={out}"])
    check('data.where: "split=1"' in out.read_text(), f"data.where is lost: {out.read_text()}")


def test_broken():
    """What cannot be read is an error, on any number of ranks."""
    path = make("broken.h5", program.images(ROWS))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    for ranks in (1, 2):
        ended = run(["inspect", f"data.archive={path}"], ranks)
        check(ended.code == 3 and len(ended.errors) == 1, f"broken: {ended.code} {ended.tail()}")


def test_crash():
    """A crash inside HDF5 is one message with the file's name, on any number of ranks."""
    words = ["inspect", f"data.archive={make('crash.h5', program.images(ROWS))}"]
    for ranks in (1, 2):
        ended = run(words, ranks, env={"LJ_FAULT": "hdf5:0:-1:crash"})
        said = "the HDF5 library crashed (signal 11) while it looked at"
        good = ended.code == 3 and len(ended.errors) == 1
        check(
            good and f"{said} {here / 'crash.h5'}: the file is damaged" in ended.errors[0],
            f"crash on {ranks} ranks: {ended.code} {ended.errors} {ended.tail()}",
        )


def test_files_that_crash():
    """Files on which releases of HDF5 crash; others say that they cannot be read."""
    for path in sorted(CRASHES.glob("*.h5")):
        ended = run(["inspect", f"data.archive={path}", "data.axes=nhw"])
        good = ended.code == 3 and len(ended.errors) == 1 and str(path) in ended.errors[0]
        check(good, f"{path.name}: {ended.code} {ended.errors} {ended.tail()}")


program.at_once(
    lambda test: test(),
    [test_numbers, test_settings, test_broken, test_crash, test_files_that_crash],
)
program.finish()
