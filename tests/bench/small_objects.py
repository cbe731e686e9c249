#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do crops that see nothing hurt? Images with one small object of four kinds, anywhere on an empty
background, and a tiny encoder trained on them with and without views.redraw.

    small_objects.py PROGRAM [SEEDS]      lines of JSON: redraw, seed, kNN accuracy after 200
                                          and after 400 steps (chance: 0.25)
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy

COUNT, SIDE, OBJECT = 4096, 32, 7
SETTINGS = (
    "data.where=split=0 model=vit model.width=64 model.depth=2 model.heads=2 model.patch=8 "
    "views.global=2 views.local=4 views.local_size=16 views.blur=0 projector.hidden=128 "
    "projector.out=32 sigreg.slices=128 batch.size=32 train.steps=400 optim.lr=2e-3 eval.every=200 "
    "eval.where=split=1 threads=1"
).split()


def objects():
    """A square, a cross, a ring, and three arms."""
    y, x = numpy.mgrid[:OBJECT, :OBJECT] - OBJECT // 2
    return [
        numpy.maximum(abs(x), abs(y)) <= 2,
        numpy.minimum(abs(x), abs(y)) == 0,
        abs(numpy.hypot(x, y) - 2.4) <= 0.8,
        (abs(x - y) <= 1) | (abs(x + y) <= 1) & (y < 0),
    ]


def make(path):
    rng = numpy.random.default_rng(0)
    labels = rng.integers(0, 4, COUNT)
    images = rng.normal(0, 0.03, (COUNT, SIDE, SIDE)).astype("f4")
    for image, label in zip(images, labels):
        top, left = rng.integers(0, SIDE - OBJECT, 2)
        kind = objects()[label]
        image[top : top + OBJECT, left : left + OBJECT] += kind * rng.uniform(0.6, 1)
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = images, labels.astype("i4")
        file["split"] = (numpy.arange(COUNT) % 4 == 3).astype("u1")


def measure(program, path, run, *words):
    words = [*SETTINGS, f"data.archive={path}", f"eval.archive={path}", f"run.dir={run}", *words]
    subprocess.run([program, "train", *words], check=True, capture_output=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["knn_top1"] for line in lines if "knn_top1" in line]


def main(program, seeds="2"):
    with tempfile.TemporaryDirectory() as holder:
        here = pathlib.Path(holder)
        make(here / "objects.h5")
        for seed in range(int(seeds)):
            for redraw in (0, 8):
                words = [f"seed={seed}", f"views.redraw={redraw}"]
                knn = measure(program, here / "objects.h5", here / f"{redraw}-{seed}", *words)
                print(json.dumps({"redraw": redraw, "seed": seed, "knn_top1": knn}), flush=True)


main(*sys.argv[1:])
