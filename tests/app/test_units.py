#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`embed` of pixels in other units than the encoder was trained in: refused with the setting that
maps them, with which the embeddings are the same."""

import h5py
import numpy

import program
from program import check, read, run

holder, here = program.scratch()
STORED = program.images(32)
ARCHIVES = {  # the same images as they may be stored
    "u8": STORED,
    "i8": (STORED // 2).astype("i1"),
    "u16": STORED.astype("u2") * 257,
    "bytes": STORED.astype("f4"),
    "unit": (STORED / 255).astype("f4"),
    "half": (STORED / 255).astype("f2"),
}
RUNS = {  # archive, settings
    "u8": ("u8", []),
    "unit": ("unit", []),
    "bytes": ("bytes", []),
    "mapped": ("u16", ["data.full_scale=65535"]),
}


def make_run(name):
    archive, settings = RUNS[name]
    words = [*program.TINY, f"data.archive={here / archive}.h5", *settings, "train.steps=2"]
    ended = run(["train", *words, f"run.dir={here / f'run-{name}'}"])
    check(ended.code == 0, f"train on {name}: {ended.tail()}")
    ended, values = embed(name, archive, "own")
    check(ended.code == 0 and not ended.warnings, f"embed of {name}'s own: {ended.tail()}")
    return values


def embed(name, archive, what, *words, ranks=1):
    out = here / f"{name}-{archive}-{what}-{ranks}.h5"
    ended = run(
        [
            "embed",
            f"checkpoint={here / f'run-{name}'}",
            f"data.archive={here / archive}.h5",
            f"out={out}",
            *words,
        ],
        ranks,
    )
    if not check((ended.code == 0) == out.exists(), f"{name}, {archive}: {ended.tail()}"):
        return ended, None
    return ended, read(out, "embeddings") if out.exists() else None


def test_range_in_checkpoint():
    for name, low, high in [("u8", 0, 1), ("bytes", 0, 255), ("mapped", 0, 1)]:
        path = program.checkpoints(here / f"run-{name}")[-1]
        found = read(path, "data/least")[0], read(path, "data/most")[0]
        check(numpy.allclose(found, (low, high), rtol=1e-6), f"{name}: range {found}")


REFUSED = [  # run, archive, words of the message, what maps it
    ("u8", "bytes", ["f32", "u8 divided by 255"], "255"),
    ("u8", "unit", ["f32", "u8 divided by 255"], "1"),
    ("u8", "u16", ["u16", "u8 divided by 255"], "65535"),
    ("u8", "i8", ["i8", "u8 divided by 255"], "127.5"),
    ("unit", "bytes", ["channel 0", "0 .. 255", "0 .. 1"], "255"),
    ("unit", "u16", ["channel 0", "0 .. 65535", "0 .. 1"], "65535"),
    ("bytes", "unit", ["channel 0", "0 .. 1", "0 .. 255"], "0.00392156862745098"),
    ("mapped", "unit", ["channel 0", "0 .. 1.5"], "1"),
    ("mapped", "u8", ["u8", "u16 divided by 65535"], "255"),
]


def test_refused(case):
    name, archive, said, mapping = case
    for ranks in (1, 2):
        ended, _ = embed(name, archive, "refused", ranks=ranks)
        what = f"{archive} for an encoder of {name} on {ranks} ranks"
        check(ended.code == 3, f"{what}: exit code {ended.code}, expected 3: {ended.tail()}")
        check(len(ended.errors) == 1, f"{what}: {ended.errors}")
        for word in [*said, "data.full_scale"]:
            check(word in "".join(ended.errors), f"{what}: does not say '{word}': {ended.errors}")
    ended, values = embed(name, archive, "mapped", f"data.full_scale={mapping}")
    check(ended.code == 0 and not ended.warnings, f"{what}, mapped: {ended.tail()}")
    error = numpy.abs(values - own[name]).max()
    tolerance = 0.1 if archive == "i8" else 1e-4  # half of the levels
    check(error < tolerance < own[name].std(0).max(), f"{what}, mapped: differ by {error}")


def test_taken():
    """Types that are read alike, another range that is meant, raw pixels, an older checkpoint."""
    ended, values = embed("unit", "half", "taken")
    check(ended.code == 0 and not ended.warnings, f"f16 for f32: {ended.tail()}")
    check(numpy.abs(values - own["unit"]).max() < 0.01, "f16 for f32: other embeddings")
    ended, _ = embed("unit", "bytes", "meant", "data.full_scale=1")
    check(ended.code == 0 and len(ended.warnings) == 1, f"a range that is meant: {ended.tail()}")
    ended, _ = embed("u8", "bytes", "pixels", "features=pixels")
    check(ended.code == 0 and not ended.warnings, f"raw pixels: {ended.tail()}")
    older = program.copy(here / "run-u8", here / "run-older")
    with h5py.File(program.checkpoints(older)[-1], "r+") as file:
        del file["data/least"], file["data/most"]
    ended, values = embed("older", "u8", "own", ranks=2)
    check(ended.code == 0 and len(ended.warnings) == 1, f"an older checkpoint: {ended.tail()}")
    check((values == own["u8"]).all(), "an older checkpoint: other embeddings")
    ended = run(
        [
            "train",
            *program.TINY,
            f"data.archive={here / 'u8'}.h5",
            f"run.dir={older}",
            "train.steps=3", "resume.change=train.steps",
        ]
    )
    check(ended.code == 0, f"an older checkpoint continued: {ended.tail()}")


for key, pixels in ARCHIVES.items():
    program.write_h5(here / f"{key}.h5", images=pixels)
own = {name: make_run(name) for name in RUNS}
program.at_once(test_refused, REFUSED)
program.at_once(lambda test: test(), [test_range_in_checkpoint, test_taken])
program.finish()
