#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Features of the last two layers: the same on any ranks, the last layer's are the embedding, and
what they are not to be mixed with is refused."""

import json
import os
import signal
import time

import h5py
import numpy
import program
from program import check, done, end, has_keys, read, run, start, train

holder, here = program.scratch()
archive = program.archive(here / "images.h5", 640)
DEEP = ["model.depth=3", "train.steps=2", f"data.archive={archive}"]
ENCODERS = {
    "vit": DEEP,
    "resnet": ["model=resnet", "model.width=4", "model.depth=1", *DEEP[1:]],
    "convnextv2": ["model=convnextv2", "model.width=4", "model.depth=1", *DEEP[1:]],
}


def embed(name, *words, ranks=1):
    path = here / f"{name}.h5"
    done(name, ["embed", f"data.archive={archive}", f"out={path}", *words], ranks)
    return path


def provenance(path):
    with h5py.File(path) as file:
        return json.loads(file.attrs["provenance"])


def test_features():
    for name, words in ENCODERS.items():
        plain = [word for word in program.TINY if name == "vit" or not word.startswith("model")]
        done(name, ["train", *plain, f"run.dir={here / name}", *words])
        made_by = f"checkpoint={here / name}"
        one = read(embed(f"{name}-1", made_by), "embeddings")
        path = embed(f"{name}-2", made_by, "layers=2", "threads=2")
        two = read(path, "embeddings")
        width = one.shape[1]
        check(two.shape[1] == (3 * width // 2, 2 * width)[name == "vit"], f"{name}: {two.shape}")
        check((two[:, -width:] == one).all(), f"{name}: not the embedding")
        spread = two[:, :-width].std(0).max()
        check(spread > 0 and (two[:, :-width] != 0).any(), f"{name}: spread {spread}")
        check(provenance(path)["layers"] == 2, f"{name}: {provenance(path)}")
        again = embed(f"{name}-ranks", made_by, "layers=2", ranks=3)
        check(again.read_bytes() == path.read_bytes(), f"{name}: another file on 3 ranks")


def refused(what, words, code, text):
    ended = run(words)
    check(ended.code == code and text in ended.err, f"{what}: {ended.code}: {ended.tail()}")


def test_refused():
    made_by = [f"checkpoint={here / 'vit'}", f"data.archive={archive}", f"out={here / 'no.h5'}"]
    for features in ("pixels", "projection"):
        words = ["embed", *made_by, f"features={features}", "layers=2"]
        refused(features, words, 2, f"features={features}")
    refused("layers=3", ["embed", *made_by, "layers=3"], 2, "layers")
    pair = [f"train={here / 'vit-2.h5'}", f"test={here / 'vit-1.h5'}", "overlap=allow"]
    refused("probe", ["probe", *pair], 3, "is of layers=1, but")
    train(here / "shallow", f"data.archive={archive}", "train.steps=1")
    made_by[0] = f"checkpoint={here / 'shallow'}"
    refused("one block", ["embed", *made_by, "layers=2"], 2, "has one layer")
    check(not (here / "no.h5").exists(), "a refused embed has left a file")
    words = [f"data.archive={archive}", "train.steps=1", "eval.every=1", "eval.layers=2"]
    ended = train(here / "shallow-eval", *words, ranks=2)
    check(ended.code == 2 and "eval.layers=1" in ended.err, f"eval.layers: {ended.tail()}")
    deep = [*DEEP, "data.where=split=0", "eval.where=split=1", "eval.every=2", "eval.layers=2"]
    for number, classes in enumerate(([], ["supervised.classes=3"])):
        words = [*deep, "objective=supervised", *classes]
        ended = train(here / f"classifier-{number}", *words, ranks=2)
        check(ended.code == 2 and "the classifier of" in ended.err, f"{words}: {ended.tail()}")
    ended = train(here / "no-classifier", *deep, "supervised.classes=5")
    check(ended.code == 0, f"supervised.classes without a classifier: {ended.tail()}")


def test_not_continued():
    """An embed of one layer that was killed is not the beginning of one of two."""
    words = ["embed", f"checkpoint={here / 'vit'}", f"data.archive={archive}"]
    words.append(f"out={here / 'killed.h5'}")
    process = start(words, env={"LJ_FAULT": "tile:0:-1:slow", "LJ_EMBED_SYNC_S": "0"})
    time.sleep(4)
    os.killpg(process.pid, signal.SIGKILL)
    end(process)
    ended = run([*words, "layers=2"])
    check("are dropped: it is of another layers" in ended.err, f"not said: {ended.tail()}")
    wanted = (here / "vit-2.h5").read_bytes()
    check((here / "killed.h5").read_bytes() == wanted, "killed: not the file of layers=2")


def test_evaluation():
    """By the numbers of the embeddings of both layers; the same on any ranks."""
    words = [*DEEP, "data.where=split=0", "eval.where=split=1", "eval.every=2"]
    found = []
    for ranks in (1, 3):
        ended = train(here / f"eval-{ranks}", *words, "eval.layers=2", ranks=ranks)
        check(ended.code == 0 and "of 32" in ended.err, f"evaluation: {ended.tail()}")
        found.append([row for row in program.metrics(here / f"eval-{ranks}") if "event" in row])
    check(found[0] == found[1], f"on 3 ranks {found[1]}, on 1 {found[0]}")
    has_keys("evaluation", found[0][-1], "knn_top1 linear_top1 effective_rank")
    path = embed("eval", f"checkpoint={here / 'eval-1'}", "data.where=split=1", "layers=2")
    values = numpy.linalg.eigvalsh(numpy.cov(read(path, "embeddings").astype(float).T, bias=True))
    share = values[values > 0] / values[values > 0].sum()
    wanted = numpy.exp(-(share * numpy.log(share)).sum())
    got = found[0][-1]["effective_rank"]
    check(abs(got / wanted - 1) < 1e-3, f"effective rank {got}, {wanted} by numpy")


def test_report():
    page = here / "page.html"
    done("report", ["report", here / "vit", f"out={page}", "layers=2", "sample=64"])
    width = read(here / "vit-2.h5", "embeddings").shape[1]
    said = f"width {width}, features of the last two layers"
    check(said in page.read_text(encoding="utf-8"), "report: width of two layers")
    rows = (here / "page" / "spectrum-1.tsv").read_text().splitlines()
    check(len(rows) == 1 + width, f"report: a spectrum of {len(rows) - 1}")


test_features()
test_refused()
test_not_continued()
test_evaluation()
test_report()
program.finish()
