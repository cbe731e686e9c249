#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commands one after the other as a user would, and what scripts rely on: names, keys, exit
codes."""

import itertools
import json
import pathlib
import re

import numpy

import program
from program import check, done, has_keys, read, run, train

holder, here = program.scratch()
archive = program.archive(here / "archive.h5", 96)
data = f"data.archive={archive}"
WORDS = [data, "data.where=split=0", "train.steps=6"]


# ---- a run's files -------------------------------------------------------------------------------


def test_train():
    ended = train(here / "run", *WORDS, "checkpoint.every=3")
    check(ended.code == 0, f"train: {ended.tail()}")
    check(ended.out == "", f"train wrote on standard output: {ended.out}")
    rows = program.metrics(here / "run")
    check([row["step"] for row in rows] == [1, 2, 3, 4, 5, 6], "metrics.jsonl lacks steps")
    keys = "step epoch loss pred sigreg collapse lr grad_norm samples_per_s"
    has_keys("metrics.jsonl", rows[0], keys)
    check(
        abs(rows[0]["loss"] - (0.05 * rows[0]["sigreg"] + 0.95 * rows[0]["pred"])) < 1e-12,
        f"loss: {rows[0]}",
    )
    check(abs(rows[5]["epoch"] - 6 * 16 / 72) < 1e-5, f"epoch of step 6: {rows[5]['epoch']}")
    timing = json.loads((here / "run" / "timing.json").read_text())
    has_keys(
        "timing.json",
        timing,
        "phases layers ledger memory samples_per_s views_per_s gflops peak_gflops verdict",
    )
    if "bound by the arithmetic" in timing["verdict"]:  # of one rank for two lanes
        check("lane of the 2" in timing["verdict"], f"verdict: {timing['verdict']}")
    has_keys("a phase", timing["phases"][0], "name min_s mean_s max_s")
    for entry in timing["ledger"]:
        has_keys(
            "a ledger entry",
            entry,
            "name collective calls bytes_per_call predicted_bytes_per_call seconds "
            "exposed_seconds",
        )
    check(
        {path.name for path in (here / "run").iterdir()}
        == {"config.yaml", "log.txt", "metrics.jsonl", "timing.json", "checkpoints"},
        "files of the run",
    )


def test_objectives():
    """The terms of another objective in metrics.jsonl and in the log; an unknown name is answered
    with those there are."""
    ended = train(here / "vicreg", *WORDS, "objective=vicreg", ranks=2)
    check(ended.code == 0, f"objective=vicreg: {ended.tail()}")
    row = program.metrics(here / "vicreg")[0]
    has_keys("metrics.jsonl of vicreg", row, "loss invariance variance covariance")
    total = 25 * row["invariance"] + 25 * row["variance"] + row["covariance"]
    check(abs(row["loss"] - total) < 1e-12 and "sigreg" not in row, f"vicreg: {row}")
    check(
        re.search(r"step .* invariance +\d.* variance +\d.* covariance +\d", ended.err),
        f"vicreg: {ended.tail()}",
    )
    check(
        "vicreg"
        in [
            entry["name"]
            for entry in json.loads((here / "vicreg" / "timing.json").read_text())["ledger"]
        ],
        "timing.json lacks vicreg's message",
    )
    ended = train(here / "simclr", *WORDS, "objective=simclr", "simclr.temperature=0.1", ranks=3)
    check(ended.code == 0, f"objective=simclr: {ended.tail()}")
    row = program.metrics(here / "simclr")[0]
    has_keys("metrics.jsonl of simclr", row, "loss positive negative collapse")
    check(abs(row["collapse"] - max(row["negative"], 0)) < 1e-8, f"simclr: {row}")
    check(re.search(r"SimCLR, temperature 0.1", ended.err), f"simclr: {ended.tail()}")
    ledger = json.loads((here / "simclr" / "timing.json").read_text())["ledger"]
    rows = {entry["name"]: entry for entry in ledger}
    # of rank 0, which has none of 2 lanes of 8 samples in 3 views
    for name, count in {"simclr": 8 * (8 + 6), "projections": 0, "row sums": 0}.items():
        check(rows[name]["bytes_per_call"] == count, f"timing.json: {rows[name]}")
        check(rows[name]["bytes_per_call"] == rows[name]["predicted_bytes_per_call"], name)
    for word in ("views.global=1", "batch.size=1"):
        words = [*WORDS, "objective=simclr", "views.local=0", "views.global=2", word]
        ended = train(here / "refused", *words)
        check(ended.code == 2 and word.split("=")[0] in ended.err, f"{word}: {ended.tail()}")
    ended = train(here / "unknown", *WORDS, "objective=lejep")
    check(
        ended.code == 2 and "expected one of lejepa, byol, dino, simclr" in ended.err,
        f"objective=lejep: {ended.code} {ended.err}",
    )


def test_layers():
    """Kinds of layers explain the phases they run in; shares of the peak, memory against the
    plan."""
    words = [
        "model.width=64",
        "model.depth=3",
        "projector.hidden=128",
        "train.steps=12",
        "run.measure_peak=true",
    ]
    for ranks, recompute in (1, "none"), (1, "blocks"), (2, "lanes"):
        what = f"{ranks} ranks, memory.recompute={recompute}"
        ended = train(
            here / f"layers-{recompute}", data, *words, f"memory.recompute={recompute}", ranks=ranks
        )
        check(ended.code == 0, f"{what}: {ended.tail()}")
        timing = json.loads((here / f"layers-{recompute}" / "timing.json").read_text())
        phases = {phase["name"]: phase["mean_s"] for phase in timing["phases"]}
        explained = sum(layer["forward_s"] + layer["backward_s"] for layer in timing["layers"])
        whole = phases["forward"] + phases["backward"] + phases["projector"]
        # Two ranks on a busy machine wait for a core between layers, too.
        check(
            0.4 * whole < explained < 1.05 * whole,
            f"{what}: layers took {explained} s of {whole} s: {timing}",
        )
        kinds = {layer["kind"]: layer for layer in timing["layers"]}
        check(timing["peak_gflops"] > 0, f"{what}: peak {timing['peak_gflops']}")
        for name in "linear", "attention", "patch_embed":
            share = kinds[name]["gflops"] * ranks / timing["peak_gflops"]
            # The peak is measured once, and may be low where the machine was busy just then.
            check(
                abs(kinds[name]["share_of_peak"] / share - 1) < 1e-6 and 0 < share < 10,
                f"{what}: {kinds[name]}",
            )
        check(
            kinds["gelu"]["gflops"] is None and kinds["gelu"]["share_of_peak"] is None,
            f"{what}: {kinds['gelu']}",
        )
        check(
            "kind of layer" in ended.err and "of peak" in ended.err, f"{what}: no table of layers"
        )
        memory = timing["memory"]
        check(
            0 < memory["planned_bytes"] <= memory["peak_bytes"] < 2 * memory["planned_bytes"]
            and memory["peak_bytes"] < memory["resident_peak_bytes"],
            f"{what}: {memory}",
        )
    plain = json.loads((here / "run" / "timing.json").read_text())
    check(
        plain["peak_gflops"] is None and plain["layers"][0]["share_of_peak"] is None,
        "a peak nobody asked for",
    )


def test_config_reloads():
    again = run(["train", here / "run" / "config.yaml", f"run.dir={here / 'reloaded'}"])
    check(again.code == 0, f"train config.yaml: {again.tail()}")
    last = [program.checkpoints(here / name)[-1] for name in ("run", "reloaded")]
    check(program.tensors(last[0]) == program.tensors(last[1]), "config.yaml gave other weights")


def test_surplus_ranks():
    """More ranks than lanes: the weights of one rank."""
    train(here / "wide", *WORDS, ranks=16)
    last = program.checkpoints(here / "wide") or [None]
    if check(last[-1] is not None, "16 ranks for 2 lanes: no checkpoint"):
        check(
            program.tensors(last[-1]) == program.tensors(program.checkpoints(here / "run")[-1]),
            "16 ranks for 2 lanes gave other weights",
        )


def sigreg_entry(directory):
    timing = json.loads((directory / "timing.json").read_text())
    return [entry for entry in timing["ledger"] if entry["name"] == "sigreg"][0]


def test_small_allreduce():
    """Its bytes are 8 (2 V M K + scalars), whatever the batch, the width and the ranks."""
    sizes = {}
    for number, (ranks, *words) in enumerate(
        [
            (1,),
            (2,),
            (3, "batch.size=24"),
            (1, "batch.size=64"),
            (2, "projector.out=32"),
            (1, "sigreg.slices=16"),
        ]
    ):
        ended = train(here / f"bytes-{number}", data, "train.steps=2", *words, ranks=ranks)
        check(ended.code == 0, f"{ranks} ranks, {words}: {ended.tail()}")
        entry = sigreg_entry(here / f"bytes-{number}")
        check(
            entry["collective"] == "MPI_Allreduce" and entry["calls"] == 2,
            f"small allreduce: {entry}",
        )
        check(
            entry["bytes_per_call"] == entry["predicted_bytes_per_call"],
            f"small allreduce: {entry}",
        )
        sizes[(ranks, *words)] = entry["bytes_per_call"]
    more = sizes.pop((1, "sigreg.slices=16"))
    check(len(set(sizes.values())) == 1, f"small allreduce: bytes {sizes}")
    check(
        more - min(sizes.values()) == 8 * 2 * 3 * 8 * 16,
        f"small allreduce: 8 more slices cost {more}, from {sizes}",
    )


# ---- embeddings and what is made of them ---------------------------------------------------------


def embed(name, *words, ranks=1):
    done(
        f"embed {name}",
        ["embed", f"checkpoint={here / 'run'}", f"out={here / name}", *words],
        ranks,
    )
    return here / name


def test_embed_in_rounds():
    """More rows than are held at a time: the file is the same, bit for bit, on any number of
    ranks."""
    path = program.write_h5(
        here / "many.h5", images=program.images(3000), labels=numpy.arange(3000) % 7
    )
    files = []
    for ranks in (1, 2, 3):
        for features in ("pixels", "model"):
            name = f"many-{features}-{ranks}.h5"
            embed(name, f"data.archive={path}", f"features={features}", ranks=ranks)
            files.append((here / name).read_bytes())
    check(
        files[0] == files[2] == files[4] and files[1] == files[3] == files[5],
        "embed on 1, 2, 3 ranks differs",
    )
    values = read(here / "many-pixels-1.h5", "embeddings")
    wanted = (read(path, "images") / numpy.float32(255)).astype("f4").reshape(3000, -1)
    check(
        numpy.abs(values - wanted).max() < 1e-6,
        f"pixels are off by {numpy.abs(values - wanted).max()}",
    )
    check(
        (read(here / "many-model-2.h5", "labels") == numpy.arange(3000) % 7).all(),
        "labels of many rows",
    )
    check((read(here / "many-model-2.h5", "row") == numpy.arange(3000)).all(), "rows of many rows")


def test_embed_disk_full():
    """A limit on the size of files stands for a full disk: met in the second round, and at the
    end."""
    path = program.write_h5(here / "full.h5", images=program.images(3000))
    for ranks, kib in itertools.product((1, 3), (0, 5000, 9188)):
        target = here / f"full-{ranks}-{kib}" / "out.h5"
        target.parent.mkdir()
        ended = run(
            [
                "embed",
                f"checkpoint={here / 'run'}",
                f"data.archive={path}",
                "data.labels=none",
                "features=pixels",
                f"out={target}",
            ],
            ranks,
            wrap=program.limited(kib),
            env=program.NO_SHARED_MEMORY,
        )
        what = f"embed with {kib} KiB on {ranks} ranks"
        check(ended.code == 6, f"{what}: exit code {ended.code}, expected 6: {ended.tail()}")
        check(len(ended.errors) == 1 and "out.h5" in ended.errors[0], f"{what}: {ended.errors}")
        check(not list(target.parent.iterdir()), f"{what}: left {list(target.parent.iterdir())}")


def test_embed_and_probe():
    bank = embed("bank.h5", "data.where=split=0")
    query = embed("query.h5", data, "data.where=split=1", ranks=2)
    values = read(bank, "embeddings")
    check(
        values.shape == (72, 16) and values.dtype == numpy.float32,
        f"embeddings: {values.shape} {values.dtype}",
    )
    rows = numpy.flatnonzero(read(archive, "split") == 1)
    check((read(query, "row") == rows).all(), "embed: row")
    check((read(query, "labels") == read(archive, "labels")[rows]).all(), "embed: labels")
    check(
        (read(embed("bank2.h5", "data.where=split=0", ranks=2), "embeddings") == values).all(),
        "embeddings of 2 ranks differ from those of one",
    )
    check(
        (read(embed("untrained.h5", "features=untrained"), "embeddings") != values).any(),
        "untrained = trained",
    )
    pixels = read(embed("pixels.h5", "features=pixels"), "embeddings")
    wanted = read(archive, "images")[read(archive, "split") == 0].reshape(72, -1) / numpy.float32(
        255
    )
    check(
        pixels.shape == wanted.shape and numpy.abs(pixels - wanted).max() < 1e-6,
        f"pixels: {pixels.shape}",
    )
    ended = done("probe", ["probe", f"train={bank}", f"test={query}", "json=1"], 2)
    scores = json.loads(ended.out)
    has_keys("probe json=1", scores, "knn_top1 knn_balanced linear_top1 linear_balanced")
    check(
        all(0 <= scores[key] <= 1 for key in scores if key.endswith(("top1", "balanced"))),
        f"probe: {scores}",
    )
    itself = json.loads(
        done(
            "probe",
            [
                "probe",
                f"train={here / 'pixels.h5'}",
                f"test={here / 'pixels.h5'}",
                "json=1",
                "l2=1e-6",
                "overlap=allow",
            ],
        ).out
    )
    check(itself["linear_top1"] == 1.0, f"72 images in 784 dimensions can be told apart: {itself}")
    ended = done("probe as a table", ["probe", f"train={bank}", f"test={query}"])
    check("kNN" in ended.out and "linear" in ended.out, f"probe: {ended.out}")


# The loss in double precision, straight from its definition: grid A, centre of the global views,
# mean over D.
def reference(proj, slices, weight, centre_views):
    views, count, width = proj.shape
    directions = slices / numpy.linalg.norm(slices, axis=0)
    knots = numpy.linspace(0, 3, 17)
    spacing = knots[1]
    window = numpy.exp(-(knots**2) / 2)
    weights = numpy.full(17, 2 * spacing)
    weights[[0, -1]] = spacing
    weights *= window
    sigreg, gradient = 0.0, numpy.zeros_like(proj)
    for v in range(views):
        phase = (proj[v] @ directions)[:, :, None] * knots
        c, s = numpy.cos(phase).mean(0), numpy.sin(phase).mean(0)
        sigreg += (count * weights * ((c - window) ** 2 + s**2)).sum(1).mean() / views
        dx = 2 * (weights * knots * (s * numpy.cos(phase) - (c - window) * numpy.sin(phase))).sum(2)
        gradient[v] = weight * dx @ directions.T / (views * directions.shape[1])
    centre = proj[:centre_views].mean(0)
    away = proj - centre
    prediction = (away**2).mean()
    dprediction = 2 * away / proj.size
    dprediction[:centre_views] -= 2 * away.sum(0) / proj.size / centre_views
    return prediction, sigreg, gradient + (1 - weight) * dprediction


def test_diagnose_gradient(case):
    shape, slices, weight, views = case
    random = numpy.random.default_rng(7)
    proj = random.normal(0.3, 1.4, shape).astype("f4")
    directions = random.normal(0, 2, (shape[2], slices)).astype("f4")
    what = f"diagnose of {shape}, lambda {weight}, global {views}"
    name = f"proj-{shape[1]}-{weight}-{views}.h5"
    program.write_h5(here / name, proj=proj, slices=directions)
    words = [] if weight == 0.05 else [f"loss.lambda={weight}"]
    words += [] if views == shape[0] else [f"views.global={views}"]
    ended = done(
        what,
        ["diagnose", here / name, f"grad={here / ('grad-' + name)}", "json=1", *words],
        1 + shape[1] % 2,
    )
    found = json.loads(ended.out)
    has_keys(what, found, "sigreg sigreg_floor pred loss effective_rank condition mean_norm")
    prediction, sigreg, gradient = reference(
        proj.astype("f8"), directions.astype("f8"), weight, views
    )
    check(
        abs(found["pred"] - prediction) <= 1e-6 * prediction,
        f"{what}: pred {found['pred']}, expected {prediction}",
    )
    check(
        abs(found["sigreg"] / sigreg - 1) < 1e-5,
        f"{what}: sigreg {found['sigreg']}, expected {sigreg}",
    )
    check(
        abs(found["sigreg_floor"] - 1.0524641548) < 1e-9, f"{what}: floor {found['sigreg_floor']}"
    )
    check(
        abs(found["loss"] / (weight * sigreg + (1 - weight) * prediction) - 1) < 1e-5,
        f"{what}: {found['loss']}",
    )
    error = (
        numpy.abs(read(here / ("grad-" + name), "grad") - gradient).max()
        / numpy.abs(gradient).max()
    )
    check(error < 1e-5, f"{what}: the gradient is off by {error:.3g} of its largest element")
    mean = proj.astype("f8").reshape(-1, shape[2])
    check(abs(found["mean_norm"] - numpy.linalg.norm(mean.mean(0))) < 1e-5, f"{what}: mean_norm")
    eigenvalues = numpy.linalg.eigvalsh(numpy.cov(mean.T, bias=True))
    share = eigenvalues / eigenvalues.sum()
    rank = numpy.exp(-(share * numpy.log(share)).sum())
    check(
        abs(found["condition"] / (eigenvalues[-1] / eigenvalues[0]) - 1) < 1e-3,
        f"{what}: condition",
    )
    check(
        abs(found["effective_rank"] / rank - 1) < 1e-3,
        f"{what}: effective rank {found['effective_rank']}, {rank}",
    )


def test_diagnose_embeddings():
    ended = done("diagnose of embeddings", ["diagnose", here / "bank.h5", "json=1"])
    found = json.loads(ended.out)
    check((found["views"], found["rows"], found["width"]) == (1, 72, 16), f"diagnose: {found}")
    check(
        "SIGReg" in done("diagnose as a table", ["diagnose", here / "bank.h5"]).out,
        "diagnose prints no table",
    )


# ---- small commands ------------------------------------------------------------------------------


def test_inspect():
    ended = done("inspect", ["inspect", data, "json=1", f"out={here / 'inspected.yaml'}"], 2)
    found = json.loads(ended.out)
    check(
        (found["rows"], found["channels"], found["height"], found["width"]) == (96, 1, 28, 28),
        f"inspect: {found}",
    )
    check("images" in found["images"] and "labels" in found["labels"], f"inspect: {found}")
    ended = run(
        [
            "train",
            here / "inspected.yaml",
            *program.TINY,
            "train.steps=1",
            f"run.dir={here / 'inspected'}",
        ]
    )
    check(ended.code == 0, f"the config of inspect: {ended.tail()}")
    check("axes" in done("inspect as a table", ["inspect", data]).out, "inspect prints no table")


def test_checkpoint():
    for words in (
        ["checkpoint", here / "run"],
        ["checkpoint", program.checkpoints(here / "run")[0]],
        ["checkpoint", "ls", here / "run"],
        ["checkpoint", "verify", here / "run"],
    ):
        ended = done(" ".join(map(str, words)), words)
        check(("step 3" if "ls" in words else "good, step 3") in ended.out, f"{words}: {ended.out}")
    listed = re.findall(r"step (\d+)", run(["checkpoint", "ls", here / "run"]).out)
    check(listed == ["3", "6"], f"checkpoint ls: steps {listed}")


def test_help():
    version = done("version", ["version"]).out
    check(re.fullmatch(r"lejepa_mpi \d+\.\d+\.\d+\n", version), f"version: {version}")
    text = done("help", ["help"]).out
    commands = "train embed probe diagnose inspect views pack export import selftest checkpoint"
    for word in [*commands.split(), "loss.lambda"]:
        check(re.search(rf"^ *{word}\b.*\w", text, re.M), f"help does not name {word}")
    check("(null)" not in text, "help has a hole")
    check(
        "loss.lambda=0.05" in done("help loss.lambda", ["help", "loss.lambda"]).out,
        "help loss.lambda",
    )
    text = done("help embed", ["help", "embed"]).out
    for word in ("checkpoint=", "data.stretch=none", "threads=0"):
        check(f"\n{word}" in text, f"help embed does not name {word}")
    check("optim.lr" not in text and "parts=" not in text, f"help embed names too much: {text}")
    text = done("help train", ["help", "train"]).out
    check("\noptim.lr=" in text and "\ninit=" in text, "help train is not that of the command")
    objectives = ("lejepa", "byol", "dino")
    texts = [done("help", ["help", "model", f"objective={o}"]).out for o in objectives]
    states = [float(re.search(r"vit_small .* (\d+) \+ +\d+ MiB", text)[1]) for text in texts]
    check(min(states[1:]) > 1.2 * states[0], f"a head and an average take memory: {states}")
    encoders = done("help model", ["help", "model", "data.size=128", "model.head=512"]).out
    check(
        re.search(r"^vit_small +21\.66 M .*width 384, depth 12, heads 6", encoders, re.M),
        "help model: " + encoders,
    )
    refused = done("help model of 28 px", ["help", "model", "data.size=28", "model.patch=7"]).out
    check(
        re.search(r"^convnextv2_atto +not with .*model.patch", refused, re.M)
        and re.search(r"^resnet18 +11.17 M ", refused, re.M),
        "help model of 28 px: " + refused,
    )
    ended = run(["help", "model", "batch.size=16", "batch.lanes=3"])
    check(ended.code == 2 and "batch.lanes" in ended.err, f"help model, lanes: {ended.tail()}")
    ended = run(["help", "loss.lamda"])
    check(
        ended.code == 2 and "'loss.lambda'" in ended.err,
        f"help of an unknown key: {ended.code} {ended.err}",
    )


def test_output_full():
    for words in (["help", "table"], ["version"], ["inspect", data]):
        ended = run(words, wrap=program.OUTPUT_FULL)
        check(ended.code == 6, f"{words}, output full: {ended.code}: {ended.tail()}")
        check("standard output" in "".join(ended.errors), f"{words}: {ended.errors}")


def test_bare():
    """No command and no archive: trains on the example."""
    ended = run([*program.TINY, "train.steps=1"], 2, cwd=here)
    check(ended.code == 0, f"a bare run: {ended.tail()}")
    made = list(pathlib.Path(here, "runs").glob("*/timing.json"))
    check(
        len(made) == 1 and re.fullmatch(r"\d{8}-\d{6}", made[0].parent.name),
        f"a bare run made {made}",
    )
    evaluated = [row for row in program.metrics(made[0].parent) if "event" in row]
    check(len(evaluated) == 1 and evaluated[0]["knn_top1"] > 0.1, f"a bare run: {evaluated}")
    check("evaluation: 500 of 2000" in ended.err, f"a bare run evaluates: {ended.tail()}")
    for ranks, words in ((1, ["eval.every=0"]), (3, [])):  # the third rank has no lane
        directory = here / f"bare-{ranks}"
        words += ["train.steps=1", f"run.dir={directory}"]
        ended = run([*program.TINY, *words], ranks)
        check(ended.code == 0, f"a bare run, {words}: {ended.tail()}")
        check(not any("event" in row for row in program.metrics(directory)), f"bare, {words}")


def test_selftest():
    ended = done("selftest", ["selftest"], 3)
    check("selftest passed" in ended.err, f"selftest: {ended.tail()}")
    hashes = {ended.err.split("weights ")[1].split()[0]}
    for objective in ("simclr", "vicreg", "supervised", "dino"):
        words = [f"objective={objective}"] + ["train.average=0.9"] * (objective != "dino")
        ended = done(objective, ["selftest", *words], 2)
        for word in (*words, "selftest passed"):
            check(word in ended.err, f"selftest of {objective}: no {word}: {ended.tail()}")
        hashes.add(ended.err.split("weights ")[1].split()[0])
    check(len(hashes) == 5, f"selftest: objectives of the same weights {hashes}")
    archive = program.write_h5(here / "bare.h5", images=program.images(96))
    ended = run(["selftest", "objective=supervised", f"data.archive={archive}"])
    check(ended.code == 3 and "needs labels" in ended.err, f"selftest: {ended.tail()}")


test_train()
test_embed_and_probe()
test_layers()
program.at_once(
    lambda test: test(),
    [
        test_config_reloads,
        test_objectives,
        test_surplus_ranks,
        test_small_allreduce,
        test_embed_in_rounds,
        test_embed_disk_full,
        test_selftest,
        test_diagnose_embeddings,
        test_inspect,
        test_checkpoint,
        test_help,
        test_output_full,
        test_bare,
    ],
)
program.at_once(
    test_diagnose_gradient,
    [
        ((3, 50, 8), 20, 0.05, 3),
        ((3, 33, 8), 20, 0.05, 2),
        ((2, 64, 12), 7, 0.4, 1),
        ((1, 65, 5), 3, 0.05, 1),
    ],
)
program.finish()
