#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Evaluation while training: with labels, which rows the kNN knows; without, what is left; on any
number of ranks; and `probe` on them."""

import json

import h5py
import numpy

import program
from program import check, done, read, run, train

holder, here = program.scratch()
LAYOUTS = [(1, 1), (2, 1), (3, 1), (1, 2), (3, 2)]  # ranks, threads
OVERSUBSCRIBED = {"LJ_OVERSUBSCRIBE": "1"}


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
    for ranks, threads in LAYOUTS:
        directory = here / f"sorted-{ranks}-{threads}"
        ended = train(
            directory,
            f"data.archive={path}",
            "data.where=split=0",
            "eval.where=split=1",
            "eval.every=2",
            "eval.bank=90",
            "train.steps=3",
            f"threads={threads}",
            ranks=ranks,
            env=OVERSUBSCRIBED,
        )
        check(ended.code == 0, f"evaluation: {ended.tail()}")
        found.append([row for row in program.metrics(directory) if "knn_top1" in row])
    check([row["step"] for row in found[0]] == [2, 3], f"evaluation at {found[0]}")
    for name in ("knn_top1", "linear_top1"):
        check(found[0][0][name] > 0.9, f"{name} of a sorted archive: {found[0]}")
    for layout, rows_of_it in zip(LAYOUTS, found):
        check(rows_of_it == found[0], f"evaluation on {layout}: {rows_of_it}, not {found[0]}")


def entropy_rank(values):
    share = values / values.sum()
    return numpy.exp(-(share * numpy.log(share)).sum())


def figures(values, prefix=""):
    """Mean and covariance of rows in a few figures, by numpy."""
    values = values.astype("f8")
    covariance = numpy.cov(values.T, bias=True)
    eigenvalues = numpy.linalg.eigvalsh(covariance)
    off = covariance - numpy.diag(numpy.diag(covariance))
    found = {
        "effective_rank": entropy_rank(eigenvalues),
        "rankme": entropy_rank(numpy.sqrt(eigenvalues)),
        "participation": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
        "condition": eigenvalues[-1] / eigenvalues[0],
        "mean_norm": numpy.linalg.norm(values.mean(0)),
        "trace": eigenvalues.sum(),
        "eigenvalue_min": eigenvalues[0],
        "eigenvalue_max": eigenvalues[-1],
        "offdiagonal": off.ravel()[abs(off).argmax()],
    }
    return {prefix + name: value for name, value in found.items()}


def alignment(projections):
    """Share of the variance of (V, N, D) that lies between views of a sample."""
    z = projections.astype("f8")
    within, all_of_it = z - z.mean(0), z - z.mean((0, 1))
    return {"alignment": (within**2).sum() / (all_of_it**2).sum()}


def test_without_labels():
    """Spectrum and SIGReg need no labels: figures of `embed` and `diagnose` on the same rows."""
    path = program.write_h5(
        here / "bare.h5", images=program.images(160), split=numpy.arange(160) % 4 // 3
    )
    words = [f"data.archive={path}", "eval.every=2", "train.steps=3"]
    found = []
    for ranks, threads in LAYOUTS:
        directory = here / f"bare-{ranks}-{threads}"
        more = ["data.where=split=0", "eval.where=split=1", f"threads={threads}"]
        ended = train(directory, *words, *more, ranks=ranks, env=OVERSUBSCRIBED)
        check(ended.code == 0, f"without labels: {ended.tail()}")
        check("no kNN" in ended.err and "SIGReg" in ended.err, f"without labels: {ended.tail()}")
        found.append([row for row in program.metrics(directory) if "event" in row])
    for layout, rows in zip(LAYOUTS, found):
        check(rows == found[0], f"without labels on {layout}: {rows}, not {found[0]}")
    check([row["step"] for row in found[0]] == [2, 3], f"without labels: {found[0]}")
    check("knn_top1" not in found[0][0], f"without labels: {found[0]}")
    expect_figures(found[0][-1], here / "bare-1-1", ["data.where=split=1"], 40)
    words += ["eval.holdout=0", "eval.queries=50"]
    ended = train(here / "bare-all", *words, "batch.size=64", "sigreg.grid=b")
    check("no kNN; of 50 rows, spaced evenly" in ended.err, f"eval.where empty: {ended.tail()}")
    last = program.metrics(here / "bare-all")[-1]
    check(last["sigreg_samples"] == 50, f"more than there are: {last}")
    check(abs(last["sigreg_floor"] - 1.0594231238) < 1e-8, f"floor of grid b: {last}")


def expect_figures(found, directory, words, rows):
    """Those of the last weights on so many rows, of which 16, the batch, are projected."""
    files = {}
    for features in ("model", "projection"):
        files[features] = directory / f"{features}.h5"
        more = [f"checkpoint={directory}", f"features={features}", f"out={files[features]}"]
        done("embed", ["embed", *more, *words])
    some = read(files["projection"], "projections")[:, numpy.arange(16) * rows // 16]
    wanted = figures(read(files["model"], "embeddings"))
    wanted |= figures(some.reshape(-1, some.shape[2]), "proj_") | alignment(some)
    for name, value in wanted.items():
        allowed = 1e-3
        if name.endswith(("condition", "eigenvalue_min")):  # known to rounding of the largest
            allowed += 1e-15 * wanted[name.replace("eigenvalue_min", "condition")]
        check(abs(found[name] / value - 1) < allowed, f"{name} {found[name]}, {value} by numpy")
    path = program.write_h5(directory / "some.h5", proj=some)
    wanted = json.loads(done("diagnose", ["diagnose", path, "sigreg.slices=8", "json=1"]).out)
    check(found["sigreg_samples"] == 16, f"{found}")
    for name in ("sigreg", "sigreg_floor"):
        check(
            abs(found[name] / wanted[name] - 1) < 1e-6, f"{name} {found[name]}, not {wanted[name]}"
        )


def test_beside_labels():
    """The same figures beside those of the kNN; without them when labels are left out."""
    path = program.archive(here / "beside.h5", 200)
    words = [f"data.archive={path}", "data.where=split=0", "eval.where=split=1"]
    more = ["eval.every=1", "train.steps=1"]
    train(here / "beside", *words, *more)
    train(here / "left-out", *words, *more, "data.labels=none")
    found, alone = (program.metrics(here / name)[-1] for name in ("beside", "left-out"))
    check(0 <= found.pop("knn_top1", -1) <= 1 and "knn_balanced" in found, f"beside: {found}")
    check(0 <= found.pop("linear_top1", -1) <= 1 and "linear_balanced" in found, f"{found}")
    for name in ("knn_balanced", "linear_balanced"):
        found.pop(name, None)
    check(found == alone, f"beside labels {found}, without {alone}")
    ended = train(here / "no-where", *words[:2], *more, "eval.holdout=0")
    check(ended.code == 2 and "eval.where" in ended.err, f"no eval.where: {ended.tail()}")


def held_out(rows, every=10):
    """Which of so many rows are held out, by numpy's Philox, which counts before it draws."""
    found = []
    for group in range(rows // every):
        counter = (group + (every << 64) - 1) % (1 << 256)
        bits = numpy.random.Philox(key=7 << 64, counter=counter).random_raw()
        found.append(group * every + (int(bits) * every >> 64))
    return numpy.array(found)


def newest_weights(directory):
    return program.tensors(program.checkpoints(directory)[-1], ["weights"])


def test_held_out():
    """Nothing says what to evaluate: one row of ten, which never trains, whatever its pixels."""
    pixels, rows = program.images(160), held_out(160)
    path = program.write_h5(here / "whole.h5", images=pixels, kept=~numpy.isin(range(160), rows))
    changed = pixels.copy()
    changed[rows] = 255 - changed[rows] // 2
    other = program.write_h5(here / "changed.h5", images=changed)
    words = ["eval.every=2", "train.steps=3"]
    found = []
    for ranks, threads in LAYOUTS:
        directory = here / f"held-{ranks}-{threads}"
        more = [f"data.archive={path}", f"threads={threads}"]
        ended = train(directory, *more, *words, ranks=ranks, env=OVERSUBSCRIBED)
        check("16 of 160 rows are held out" in ended.err, f"held out: {ended.tail()}")
        events = [row for row in program.metrics(directory) if "event" in row]
        found.append((events, newest_weights(directory)))
        check(found[-1] == found[0], f"held out on {ranks} ranks of {threads}: {events}")
    ended = train(here / "held-changed", f"data.archive={other}", *words)
    check(newest_weights(here / "held-changed") == found[0][1], "rows that are held out train")
    event = program.metrics(here / "held-changed")[-1]
    check(event["effective_rank"] != found[0][0][-1]["effective_rank"], "they are not evaluated")
    train(here / "held-none", f"data.archive={path}", *words, "eval.holdout=0")
    check(newest_weights(here / "held-none") != found[0][1], "eval.holdout=0 holds rows out")
    ended = train(here / "held-empty", f"data.archive={path}", "data.where=kept=1", *words)
    check(ended.code == 3 and "eval.holdout=10: holds out 0" in ended.err, f"{ended.tail()}")
    ended = train(here / "held-twice", *words, "eval.holdout=5", "eval.where=kept=0")
    check(ended.code == 2 and "eval.where names" in ended.err, f"named twice: {ended.tail()}")


def test_held_out_continues():
    """A run that is continued holds out the same rows, or says that it would not."""
    path = program.archive(here / "continued.h5", 400)
    words = [f"data.archive={path}", "train.steps=2"]
    train(here / "continued", *words, "eval.every=1")
    check("eval.holdout: 10" in (here / "continued" / "config.yaml").read_text(), "config.yaml")
    check("knn_top1" in program.metrics(here / "continued")[-1], "no kNN of rows held out")
    words[1:] = ["train.steps=4", "resume.change=train.steps"]
    ended = train(here / "continued", *words)
    check(ended.code == 2 and "eval.holdout=0 (was 10)" in ended.err, f"{ended.tail()}")
    ended = train(here / "continued", *words, "eval.every=1")
    check(ended.code == 0, f"continued with rows held out: {ended.tail()}")
    check(program.metrics(here / "continued")[-1]["step"] == 4, "continued with rows held out")
    ended = train(here / "continued", *words, "train.steps=5", "eval.holdout=10")
    check(ended.code == 0, f"continued without evaluation: {ended.tail()}")


def test_evaluation_begins_later():
    """A run that began without evaluations takes one of named rows; the message says which word."""
    path = program.archive(here / "later.h5", 400)
    words = [f"data.archive={path}", "resume.change=train.steps", "train.steps=2"]
    train(here / "later", *words)
    words[2] = "train.steps=4"
    ended = train(here / "later", *words, "eval.every=1")
    check(ended.code == 2 and "eval.where names rows" in ended.err, f"later: {ended.tail()}")
    ended = train(here / "later", *words, "eval.every=1", "eval.where=labels=0")
    check(ended.code == 0, f"named rows, later: {ended.tail()}")
    check(program.metrics(here / "later")[-1]["step"] == 4, "named rows, later")


def test_collapsed():
    """Equal images: no condition, and SIGReg far above its floor."""
    same = numpy.broadcast_to(program.images(1), (60, 28, 28))
    path = program.write_h5(here / "same.h5", images=same)
    off = "views.flip=0 views.blur=0 views.ratio=1,1 views.global_scale=1,1 views.local=0".split()
    off.append("eval.holdout=0")
    ended = train(here / "same", f"data.archive={path}", "eval.every=1", "train.steps=1", *off)
    check(ended.code == 0 and "condition none" in ended.err, f"equal images: {ended.tail()}")
    found = program.metrics(here / "same")[-1]
    check(found["condition"] is None, f"equal images: {found}")
    check(found["sigreg"] > 3 * found["sigreg_floor"], f"equal images: {found}")


def test_lengths():
    """Of objectives that see no lengths of projections, only figures of their shape: not SIGReg,
    nor the covariance beside the identity."""
    path = program.write_h5(here / "lengths.h5", images=program.images(160))
    words = [f"data.archive={path}", "eval.every=2", "train.steps=2", "views.global=2"]
    ratios = "effective_rank rankme participation condition".split()
    lengths = "eigenvalue_min eigenvalue_max offdiagonal mean_norm trace".split()
    sigreg = "sigreg sigreg_floor sigreg_samples".split()
    for objective in "lejepa vicreg byol dino simclr".split():
        ended = train(here / objective, *words, f"objective={objective}", ranks=2)
        check(ended.code == 0, f"{objective}: {ended.tail()}")
        found, sees = program.metrics(here / objective)[-1], objective in ("lejepa", "vicreg")
        program.has_keys(objective, found, " ".join(["alignment", *ratios, *lengths]))
        program.has_keys(objective, found, " ".join(f"proj_{name}" for name in ratios))
        for name in sigreg + [f"proj_{name}" for name in lengths]:
            check((name in found) == sees, f"{objective}: {name} of {sorted(found)}")
        (line,) = [line for line in ended.err.splitlines() if "  projections " in line]
        said = line.split("  projections ")
        check(("SIGReg" in said[0]) == sees == ("eigenvalues" in said[1]), f"{objective}: {line}")
        check("alignment" in said[0] and "condition" in said[1], f"{objective}: {line}")


def test_queries():
    """A part of the rows to predict, from all over them: the last of the sorted classes, too."""
    rows = numpy.arange(240)
    pixels = numpy.zeros((240, 28, 28), "u1")
    pixels[rows >= 160, ::2] = 200
    labels = numpy.where(rows % 2 == 1, rows // 160, -1)
    path = program.write_h5(here / "queries.h5", images=pixels, labels=labels, split=rows % 4 // 2)
    directory = here / "queries"
    words = ["data.where=split=0", "eval.where=split=1", "eval.every=2", "train.steps=2"]
    ended = train(directory, f"data.archive={path}", *words, "eval.queries=7", ranks=2)
    check(ended.code == 0, f"eval.queries: {ended.tail()}")
    log = (directory / "log.txt").read_text()
    check("evaluation: 7 of 60 labelled rows are predicted" in log, f"eval.queries: {log}")
    check("evaluation: 60 of 120 rows to predict" in log, f"eval.queries, unlabelled: {log}")
    rank = program.metrics(directory)[-1]["effective_rank"]
    check(abs(rank - 1) < 1e-3, f"two kinds of images, effective rank {rank}")
    ended = train(here / "all", f"data.archive={path}", *words)
    check("labelled rows are predicted" not in ended.err, f"all rows: {ended.tail()}")


def test_probe():
    """Embeddings of overlapping classes, some rows without a label, one file shorter than the other
    and shorter than a rank's share of the other."""
    random = numpy.random.default_rng(2)
    for name, count in (("bank", 700), ("query", 130)):
        labels = random.integers(-1, 4, count)
        values = random.normal(size=(count, 24)) + (labels[:, None] == numpy.arange(24))
        program.write_h5(here / f"{name}.h5", embeddings=values.astype("f4"), labels=labels)
    words = ["probe", f"train={here}/bank.h5", f"test={here}/query.h5", "json=1"]
    found = []
    for ranks, threads in LAYOUTS:
        ended = done("probe", [*words, f"threads={threads}"], ranks, OVERSUBSCRIBED)
        found.append(json.loads(ended.out))
    check(0.3 < found[0]["linear_top1"] < 1, f"probe: {found[0]}")
    check(found[0]["iterations"] > 5, f"probe: {found[0]}")
    for name in ("knn_top1", "knn_balanced", "linear_top1", "linear_balanced"):
        low, high = found[0][f"{name}_interval"]
        check(low < found[0][name] < high < low + 0.25, f"probe, {name}: {found[0]}")
    for layout, scores in zip(LAYOUTS, found):
        check(scores == found[0], f"probe on {layout}: {scores}, not {found[0]}")


def test_probe_chooses_l2():
    """300 features of noise, 4 that tell: the default strength learns noise by heart. The choice
    gives the result of the same number by hand."""
    random = numpy.random.default_rng(3)
    for name, count in (("noisy", 400), ("noisy-query", 300)):
        labels = random.integers(0, 4, count)
        values = random.normal(size=(count, 304)) + 2 * (labels[:, None] == numpy.arange(304))
        program.write_h5(here / f"{name}.h5", embeddings=values.astype("f4"), labels=labels)
    words = ["probe", f"train={here}/noisy.h5", f"test={here}/noisy-query.h5"]
    found = []
    for ranks, threads in ((1, 1), (3, 1), (2, 2)):
        more = ["l2=auto", "json=1", f"threads={threads}"]
        found.append(done("l2=auto", [*words, *more], ranks, OVERSUBSCRIBED).out)
    check(len(set(found)) == 1, f"l2=auto on three layouts: {found}")
    chosen = json.loads(found[0])
    fixed = json.loads(done("probe", [*words, "json=1"]).out)
    check(chosen["l2"] > fixed["l2"] == 0.001, f"l2=auto: {chosen}")
    check(chosen["linear_top1"] > fixed["linear_top1"] + 0.02, f"{chosen}, and {fixed} without")
    check(40 <= chosen.pop("held_out")["rows"] <= 44, f"held out: {found[0]}")
    again = json.loads(done("probe", [*words, "json=1", f"l2={chosen['l2']}"]).out)
    check(again == chosen, f"l2={chosen['l2']}: {again}, not {chosen}")
    table = done("l2=auto", [*words, "l2=auto"]).out
    check("held-out training rows" in table, f"l2=auto as a table: {table}")


def test_no_probe():
    """Labels that name rows are no classes; projections may be too wide for a spectrum."""
    path = program.write_h5(
        here / "ids.h5", images=program.images(120), labels=numpy.arange(120, dtype="i4")
    )
    words = [f"data.archive={path}", "eval.every=1", "train.steps=2", "projector.out=4100"]
    ended = train(here / "ids", *words, ranks=2)
    check(ended.code == 0, f"labels that name rows: {ended.tail()}")
    check(ended.err.count("no linear probe") == 1, f"labels that name rows: {ended.err}")
    last = program.metrics(here / "ids")[-1]
    check(last["linear_top1"] is None and last["knn_top1"] is not None, f"ids: {last}")
    check(last["proj_trace"] is None and last["trace"] is not None, f"wide: {last}")


def test_not_finite():
    """No score from embeddings that are not finite, whichever file has one."""
    good, bad = write_clusters("finite", 60, 0.5), write_clusters("nan", 60, 0.5)
    with h5py.File(bad, "r+") as file:
        file["embeddings"][59, 3] = numpy.nan
    for train_file, test_file in ((good, bad), (bad, good)):
        for ranks in (1, 3):
            ended = run(["probe", f"train={train_file}", f"test={test_file}"], ranks)
            check(ended.code == 5 and "nan.h5" in ended.err, f"NaN: {ended.code} {ended.tail()}")


def write_clusters(name, count, noise):
    """Embeddings around a point for each of four classes, the last of which has three rows."""
    random = numpy.random.default_rng(count)
    labels = numpy.append(random.integers(0, 3, count - 3), [3, 3, 3])
    values = noise * random.normal(size=(count, 12)) + numpy.eye(4, 12)[labels]
    return program.write_h5(here / f"{name}.h5", embeddings=values.astype("f4"), labels=labels)


def test_confusion():
    """The matrices sum up to the accuracies, on any number of ranks; only where asked for."""
    known, asked = write_clusters("known", 150, 0.5), write_clusters("asked", 120, 0.5)
    words = ["probe", f"train={known}", f"test={asked}", "json=1"]
    check("confusion" not in done("probe", words).out, "a confusion matrix unasked")
    texts = [done("confusion", [*words, "confusion=1"], ranks).out for ranks in (1, 3)]
    check(texts[0] == texts[1], f"confusion on 3 ranks: {texts}")
    found = json.loads(texts[0])
    truth = read(asked, "labels")
    for name in ("knn", "linear"):
        matrix = found[f"{name}_confusion"]
        rows, labels = numpy.array(matrix["rows"]), matrix["labels"]
        top1 = numpy.trace(rows) / rows.sum()
        check(abs(top1 - found[f"{name}_top1"]) < 1e-8, f"{name}: {rows}, {found}")
        counts = [int((truth == label).sum()) for label in labels]
        check(rows.sum(axis=1).tolist() == counts, f"{name}: {rows}, not {counts}")
    table = done("confusion", [*words[:3], "confusion=1"]).out
    check(table.count("predicted (columns)") == 2, f"confusion: {table}")


def test_fewshot():
    """One class of three rows, three of about a hundred. Without the noise, one label tells all."""
    for name, count, noise in (("few", 300, 0.5), ("few-query", 200, 0.5), ("clear", 80, 0)):
        write_clusters(name, count, noise)
    words = ["probe", f"train={here}/few.h5", f"test={here}/few-query.h5"]
    more = ["fewshot=1,3,20", "json=1"]
    found = [done("few-shot", [*words, *more], ranks).out for ranks in (1, 2, 3)]
    check(len(set(found)) == 1, f"few-shot on 1, 2, 3 ranks: {found}")
    shots = json.loads(found[0])["fewshot"]
    check([shot["labels"] for shot in shots] == [1, 3, 20], f"few-shot: {shots}")
    check([shot["classes_with_fewer"] for shot in shots] == [0, 0, 1], f"few-shot: {shots}")
    for kind in ("knn", "linear"):
        means = [shot[f"{kind}_top1"] for shot in shots]
        check(0.3 < means[0] < means[1] < means[2] < 1, f"few-shot, {kind}: {means}")
        check(0 < shots[0][f"{kind}_top1_std"] < 0.3, f"few-shot, {kind}: {shots[0]}")
    other = json.loads(done("few-shot, other seed", [*words, *more, "seed=1"]).out)["fewshot"]
    check(other != shots, "few-shot: the same with another seed")
    check("have a label that no row" not in done("known classes", words).err, "known classes")
    pair = numpy.eye(2, 12, dtype="f4")[numpy.arange(40) % 2]
    path = program.write_h5(here / "pair.h5", embeddings=pair, labels=numpy.arange(40) % 2)
    ended = done("unknown classes", ["probe", f"train={path}", words[2]])
    unknown = (read(here / "few-query.h5", "labels") >= 2).sum()
    check(f"{unknown} test rows" in ended.err, f"unknown classes: {ended.err}")
    words = ["probe", f"train={here}/few.h5", f"test={here}/clear.h5", "fewshot=100"]
    table = done("few-shot as a table", words).out
    check("100" in table and "classes with fewer: " in table, f"few-shot: {table}")


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


def test_other_units():
    """Bytes for training, the same numbers as floats for evaluation: refused, not scored."""
    bytes_ = program.archive(here / "bytes.h5", 120)
    with h5py.File(bytes_) as file:
        floats = program.write_h5(
            here / "floats.h5",
            images=file["images"][()].astype("f4"),
            labels=file["labels"][()],
            split=file["split"][()],
        )
    words = [f"data.archive={bytes_}", f"eval.archive={floats}", "data.where=split=0"]
    more = ["eval.where=split=1", "eval.every=1", "train.steps=1"]
    for ranks in (1, 2):
        ended = train(here / f"units-{ranks}", *words, *more, ranks=ranks)
        check(
            ended.code == 3 and "data.full_scale" in ended.err,
            f"other units on {ranks} ranks: {ended.code}: {ended.tail()}",
        )
    ended = train(here / "units-mapped", *words, *more, "data.full_scale=255")
    check(ended.code == 0, f"units mapped by data.full_scale: {ended.code}: {ended.tail()}")


program.at_once(
    lambda test: test(),
    [
        test_other_units,
        test_evaluation,
        test_without_labels,
        test_beside_labels,
        test_held_out,
        test_held_out_continues,
        test_evaluation_begins_later,
        test_collapsed,
        test_lengths,
        test_queries,
        test_evaluated_rows_leave_the_bank,
        test_probe,
        test_probe_chooses_l2,
        test_no_probe,
        test_not_finite,
        test_confusion,
        test_fewshot,
    ],
)
program.finish()
