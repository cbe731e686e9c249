#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`embed features=projection`: projections of views drawn as in training; `diagnose` of them."""

import json

import h5py
import numpy

import program
from program import check, done, read, run, train

ROWS = 150
holder, here = program.scratch()
archive = program.archive(here / "archive.h5", ROWS)
data = f"data.archive={archive}"
OVERSUBSCRIBED = {"LJ_OVERSUBSCRIBE": "1"}
USAGE = 2
# Views that are the evaluation view.
PLAIN = (
    "views.global_scale=1,1 views.ratio=1,1 views.flip=0 views.blur=0 views.noise=0 "
    "views.intensity=0 views.local=0"
).split()


def embed(name, *words, ranks=1, checkpoint="run"):
    words = [f"checkpoint={here / checkpoint}", f"out={here / name}", *words]
    done(f"embed {name}", ["embed", *words], ranks, OVERSUBSCRIBED)
    return here / name


def projector(values, tensors):
    """The projector of a checkpoint after training: hidden layers normalised by running
    statistics."""

    def tensor(layer, name):
        return tensors[f"weights/projector.{layer}.{name}"].astype("f8")

    layer = 0
    while f"weights/projector.{layer + 1}.running_mean" in tensors:
        values = values @ tensor(layer, "weight").T + tensor(layer, "bias")
        values = (values - tensor(layer + 1, "running_mean")) / numpy.sqrt(
            tensor(layer + 1, "running_var") + 1e-5
        )
        values = values * tensor(layer + 1, "weight") + tensor(layer + 1, "bias")
        values = numpy.maximum(values, 0)
        layer += 4
    return values @ tensor(layer, "weight").T + tensor(layer, "bias")


def test_layout():
    """(V, N, D), the run's views unless the words say otherwise, on any number of ranks."""
    files = [
        embed(f"p{ranks}.h5", "features=projection", f"threads={threads}", ranks=ranks)
        for ranks, threads in ((1, 1), (2, 1), (3, 2))
    ]
    check(
        files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes(),
        "projections on 1, 2, 3 ranks differ",
    )
    with h5py.File(files[0]) as file:
        found = file["projections"]
        check(found.shape == (3, ROWS, 8) and found.dtype == "f4", f"{found.shape} {found.dtype}")
        check(found.attrs["global_views"] == 2, f"attributes {dict(found.attrs)}")
        check("embeddings" not in file and "parts" in file, f"the file has {list(file)}")
        provenance = json.loads(file.attrs["provenance"])
        wanted = {"features": "projection", "views_global": 2, "views_local": 1, "seed": 0}
        check(wanted.items() <= provenance.items(), f"provenance {provenance}")
        check((file["labels"][()] == read(archive, "labels")).all(), "labels")
        check((file["row"][()] == numpy.arange(ROWS)).all(), "row")
        values = found[()]
    check(all((values[0] != values[v]).any() for v in (1, 2)), "views are equal")
    words = ["features=projection", "views.global=4", "views.local=2"]
    more = read(embed("more.h5", *words), "projections")
    check(more.shape == (6, ROWS, 8), f"other views: {more.shape}")
    check((more[:2] == values[:2]).all(), "the first views depend on how many there are")
    other = read(embed("other.h5", "features=projection", "seed=9"), "projections")
    check((other != values).any(1).all(), "another seed draws the same views")


def test_values():
    """Of views that are the evaluation view: the projector of the embeddings, by numpy."""
    wanted = read(embed("e.h5"), "embeddings").astype("f8")
    found = read(embed("plain.h5", "features=projection", *PLAIN), "projections")
    with h5py.File(program.checkpoints(here / "run")[-1]) as file:
        tensors = {}
        file["weights"].visititems(
            lambda name, item: (
                tensors.__setitem__("weights/" + name, item[()])
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    wanted = projector(wanted, tensors)
    for view in found:
        error = numpy.abs(view - wanted).max() / numpy.abs(wanted).max()
        check(error < 1e-4, f"projections are off by {error} of the largest")


def test_diagnose():
    """All views, by what the file says of them; the statistic of `proj` with the same values."""
    path = here / "p1.h5"
    same = program.write_h5(here / "proj.h5", proj=read(path, "projections"))
    found = []
    for name, *words in ((path,), (same, "views.global=2"), (path, "views.global=3"), (same,)):
        ended = done(f"diagnose {name}", ["diagnose", name, "json=1", *words], len(found) + 1)
        found.append(json.loads(ended.out))
    check((found[0]["views"], found[0]["rows"], found[0]["width"]) == (3, ROWS, 8), f"{found[0]}")
    check(found[0] == found[1] and found[2] == found[3], f"{found}")
    check(found[0]["pred"] != found[2]["pred"], f"global views: {found[0]}")


def test_refused():
    ended = run(
        ["embed", f"checkpoint={here / 'global'}", f"out={here / 'no.h5'}"]
        + ["features=projection", "views.local=70"]
    )
    check(ended.code == USAGE and "views.local" in ended.err, f"{ended.code}: {ended.tail()}")


ended = train(here / "run", data, "train.steps=30", "batch.size=32", "projector.layers=3", ranks=2)
check(ended.code == 0, f"train: {ended.tail()}")
test_layout()
test_values()
test_diagnose()
test_refused()
program.finish()
