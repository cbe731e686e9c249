#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`objective=supervised`: what it learns, from scratch and from a pretrained encoder; which rows
and classes; the same bits on any number of ranks; and which labels it refuses."""

import json
import pathlib

import h5py
import numpy

import program
from program import check, done, read, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
SUPERVISED = [data, "objective=supervised"]
STILL = ["optim.lr=0", "optim.lr_floor=0", "train.steps=1"]  # a step that moves nothing
EXAMPLE = pathlib.Path(__file__).parents[2] / "data" / "fashion-mini.h5"


def weights(directory):
    """Tensors of the newest checkpoint but running statistics, which every step moves."""
    found = program.tensors(program.checkpoints(directory)[-1], ["weights"])
    return {name: found[name] for name in found if "running" not in name}


def split(tensors):
    """Those of the encoder, those of the classifier."""
    head = {name: tensors[name] for name in tensors if "projector" in name}
    return {name: tensors[name] for name in tensors if name not in head}, head


def evaluations(directory):
    return [row for row in program.metrics(directory) if row.get("event") == "evaluation"]


def provenance(directory):
    with h5py.File(program.checkpoints(directory)[-1]) as file:
        text = file.attrs["provenance"]
    return json.loads(text.decode() if isinstance(text, bytes) else text)


# ---- learning ------------------------------------------------------------------------------------

LEARN = (
    "data.where=split=0 eval.where=split=1 objective=supervised model=vit model.width=48 "
    "model.depth=2 model.heads=3 model.patch=7 views.global=1 views.local=0 batch.size=64 "
    "views.global_scale=0.9,1 views.blur=0 train.steps=400 optim.lr=3e-3 optim.warmup_epochs=0.1 "
    "eval.every=400 eval.bank=500 log.every=20"
).split()


def test_learning():
    """On real images the classifier beats a linear probe of the untrained encoder (0.61), and what
    the evaluation says of it is what its weights say."""
    directory, what = here / "learns", "on Fashion-MNIST"
    ended = program.run(
        ["train", f"data.archive={EXAMPLE}", *LEARN, f"run.dir={directory}"], ranks=2
    )
    if not check(ended.code == 0, f"{what}: {ended.tail()}"):
        return
    steps = [row for row in program.metrics(directory) if "top1" in row]
    check(steps[-1]["loss"] < 1.0 < steps[0]["loss"], f"{what}: losses of {steps}")
    check(steps[-1]["top1"] > 0.65, f"{what}: top1 of {steps[-1]}")
    check(steps[-1]["collapse"] is None, f"{what}: collapse of {steps[-1]}")
    found = evaluations(directory)[-1]
    check(found["supervised_top1"] > 0.7, f"{what}: {found}")
    check("sigreg" not in found and "proj_trace" not in found, f"{what}: terms of {found}")
    embeddings = here / "learns.h5"
    done(
        "embed",
        ["embed", f"checkpoint={directory}", f"data.archive={EXAMPLE}", "data.where=split=1"]
        + [f"out={embeddings}"],
    )
    with h5py.File(program.checkpoints(directory)[-1]) as file:
        head = file["weights"]
        logits = read(embeddings, "embeddings") @ head["projector.0.weight"][()].T
        logits += head["projector.0.bias"][()]
    right = logits.argmax(axis=1) == read(embeddings, "labels")
    check(
        abs(right.mean() - found["supervised_top1"]) < 1e-9,
        f"{what}: {found['supervised_top1']}, but its weights are right in {right.mean()}",
    )


# ---- which rows and classes ----------------------------------------------------------------------


def gaps(path, **more):
    """Sorted by label, of very unequal classes 3, 7 and 40; every fifth row has none."""
    rows = numpy.arange(80)
    labels = numpy.where(rows < 60, 3.0, numpy.where(rows < 76, 7.0, 40.0))
    labels[rows % 5 == 4] = numpy.nan
    return program.write_h5(path, images=program.images(80), labels=labels, **more)


def test_classes():
    """Labels with gaps, as floats, some missing; classes that one rank has alone; in every way of
    computing: the same bits."""
    path = gaps(here / "gaps.h5")
    layouts = [(1, []), (2, []), (3, []), (5, []), (2, ["memory.recompute=lanes"])]
    layouts.append((1, ["memory.recompute=blocks"]))
    found = []
    for number, (ranks, words) in enumerate(layouts):
        directory, what = here / f"gaps-{number}", f"{ranks} ranks {words}"
        ended = train(
            directory,
            f"data.archive={path}",
            "objective=supervised",
            "batch.size=40",
            "train.steps=3",
            "supervised.smoothing=0.1",
            "supervised.balance=true",
            *words,
            ranks=ranks,
        )
        if not check(ended.code == 0, f"{what}: {ended.tail()}"):
            return
        log = (directory / "log.txt").read_text()
        said = "3 classes, 3 to 40, of 3 to 48 rows each, 64 in all; 16 have no label"
        check(said in log, f"{what}: {log}")
        check("linear classifier of 3 classes" in log, f"{what}: {log}")
        check(provenance(directory)["classes"] == [3, 7, 40], f"{what}: {provenance(directory)}")
        rows = [(row["loss"], row["top1"]) for row in program.metrics(directory)]
        found.append((rows, program.tensors(program.checkpoints(directory)[-1])))
    for layout, one in zip(layouts, found):
        check(one == found[0], f"other bits in {layout}")
    shape = read(program.checkpoints(here / "gaps-0")[-1], "weights/projector.0.weight").shape
    check(shape == (3, 16), f"a classifier of {shape}")


def test_unseen():
    """A class that only test rows have is predicted wrongly, and counts as a class."""
    rows = numpy.arange(80)
    path = program.write_h5(
        here / "unseen.h5",
        images=program.images(80),
        labels=numpy.where(rows < 60, 2 + 7 * (rows % 2), 5 + rows % 2),
        split=(rows >= 56).astype("u1"),
    )
    directory = here / "unseen"
    ended = train(
        directory,
        f"data.archive={path}",
        "objective=supervised",
        "data.where=split=0",
        "eval.where=split=1",
        "eval.every=1",
        "train.steps=1",
    )
    if check(ended.code == 0, f"unseen classes: {ended.tail()}"):
        found = evaluations(directory)[-1]
        for word in ("20 of 24 rows", "of the bank", "that trains"):
            check(word in "".join(ended.warnings), f"unseen classes: no '{word}': {ended.tail()}")
        check(0 < found["supervised_top1"] <= 4 / 24, f"unseen classes: {found}")
        check(found["supervised_balanced"] <= 0.5, f"unseen classes: {found}")


# ---- from a pretrained encoder -------------------------------------------------------------------


def test_start(case):
    """The encoder is the file's, the classifier new; and then the encoder can stand still."""
    name, ranks = case
    directory, what = here / f"from-{name}-{ranks}", f"init={name} on {ranks} ranks"
    start = f"init={here / name}"
    ended = train(directory, *SUPERVISED, *STILL, start, ranks=ranks)
    if not check(ended.code == 0, f"{what}: exit code {ended.code}: {ended.tail()}"):
        return
    encoder, head = split(weights(directory))
    check(encoder == split(weights(here / "source"))[0], f"{what}: another encoder")
    check(head == split(weights(here / "drawn"))[1], f"{what}: the classifier is not that drawn")
    log = (directory / "log.txt").read_text()
    check("the classifier starts random" in log, f"{what}: {log}")
    check(provenance(directory)["weights_from"]["projector"] is False, f"{what}: provenance")

    directory = here / f"frozen-{name}-{ranks}"
    ended = train(directory, *SUPERVISED, start, "optim.encoder_lr=0", "train.steps=3", ranks=ranks)
    check(ended.code == 0, f"{what}, frozen: {ended.tail()}")
    still, moved = split(weights(directory))
    check(still == encoder, f"{what}: a frozen encoder moved")
    check(all(moved[name] != head[name] for name in head), f"{what}: the classifier stood still")


def statistics(directory):
    found = program.tensors(program.checkpoints(directory)[-1], ["weights"])
    return {name: found[name] for name in found if "running" in name and "proj" not in name}


def test_frozen():
    """A frozen encoder is the one that evaluation and export see: its running statistics stay, and
    training normalises by them; the norm that is clipped is that of the classifier."""
    tiny = [word for word in program.TINY if not word.startswith("model")]
    shape = [*tiny, "model=resnet", "model.width=4", "model.depth=1", data, "log.every=1"]
    start = here / "resnet"
    done("resnet", ["train", *shape, "train.steps=3", f"run.dir={start}"])
    frozen = [*shape, "objective=supervised", f"init={start}", "optim.encoder_lr=0"]
    found = {}
    for name, words, ranks in (
        ("still-1", [], 1),
        ("still-2", ["memory.recompute=blocks"], 2),
        ("still-batch", ["model.norm=batch"], 2),
        ("still-norm", ["optim.clip=1e-9"], 1),
        ("moving", ["optim.encoder_lr=1e-9"], 1),
    ):
        directory = here / name
        done(name, ["train", *frozen, *words, "train.steps=3", f"run.dir={directory}"], ranks)
        found[name] = [(row["loss"], row["grad_norm"]) for row in program.metrics(directory)]
        same = statistics(directory) == statistics(start)
        check(same == (name != "moving"), f"{name}: statistics stay: {same}")
        same = split(weights(directory))[0] == split(weights(start))[0]
        check(same or name == "moving", f"{name}: another encoder")
    check(found["still-1"] == found["still-2"], f"other bits: {found}")
    check(found["still-1"][0] == found["still-batch"][0], f"normalised by the batch: {found}")
    check(found["still-1"][0][0] != found["moving"][0][0], f"normalised by the lane: {found}")
    check(found["still-1"][0][1] < found["moving"][0][1], f"norm of the encoder: {found}")


def make_sources():
    source = here / "source"
    done("the source", ["train", *program.TINY, data, f"run.dir={source}", "train.steps=3"])
    done("export", ["export", f"checkpoint={source}", f"out={here / 'encoder.safetensors'}"])
    ended = train(here / "drawn", *SUPERVISED, *STILL)
    check(ended.code == 0, f"drawn: {ended.tail()}")
    ended = train(
        here / "tuned",
        *SUPERVISED,
        "data.where=split=0",
        "eval.where=split=1",
        "eval.every=2",
        "train.steps=2",
    )
    check(ended.code == 0, f"tuned: {ended.tail()}")


def test_other_commands():
    """A supervised run is a run like others: continued, exported, embedded, shown; and the encoder
    of one starts another with other classes."""
    tuned = here / "tuned"
    ended = train(here / "few", *SUPERVISED, "data.where=labels!=1", *STILL, f"init={tuned}")
    if check(ended.code == 0, f"init= of a supervised run: {ended.tail()}"):
        encoder = split(weights(here / "few"))[0]
        check(encoder == split(weights(tuned))[0], "init= of a supervised run: another encoder")
    ended = train(here / "again", data, *STILL, f"init={tuned}")
    if check(ended.code == 0, f"pretraining from a supervised run: {ended.tail()}"):
        encoder = split(weights(here / "again"))[0]
        check(encoder == split(weights(tuned))[0], "pretraining: another encoder")
        log = (here / "again" / "log.txt").read_text()
        check("it has no projector, which starts random" in log, f"pretraining: {log}")
    done("export", ["export", f"checkpoint={tuned}", f"out={here / 'tuned.safetensors'}"])
    logits = here / "logits.h5"
    done(
        "embed", ["embed", f"checkpoint={tuned}", data, "features=projection", f"out={logits}"]
    )
    check(read(logits, "projections").shape == (3, 64, 3), "logits as projections")
    done("verify", ["checkpoint", "verify", tuned])
    done("report", ["report", tuned, f"out={here / 'page.html'}"])
    page = (here / "page.html").read_text()
    check("accuracy of the trained classifier" in page, "the report has no classifier")
    done("rank", ["rank", tuned, "alpha=0"])

    where = ["data.where=split=0", "eval.where=split=1", "eval.every=2"]
    again = train(tuned, *SUPERVISED, *where, "train.steps=4", "resume.change=train.steps")
    check(again.code == 0 and "continuing" in again.err, f"continued: {again.tail()}")


# ---- what is refused -----------------------------------------------------------------------------

ROWS = numpy.arange(64)
REFUSED = [  # datasets beside images, settings, exit code, words of the message
    ({}, [], 3, ["needs labels", "data.labels"]),
    ({"labels": ROWS % 3}, ["data.labels=none"], 3, ["needs labels", "none"]),
    ({"labels": numpy.full(64, 4)}, [], 3, ["64 of 64 rows", "1 class;"]),
    ({"labels": numpy.full(64, -1)}, [], 3, ["0 of 64 rows", "0 classes"]),
    ({"labels": ROWS % 4}, ["data.where=labels=2"], 3, ["1 class;", "data.where"]),
    ({"labels": numpy.where(ROWS < 9, 1, -1)}, [], 3, ["1 class;"]),
    ({"labels": numpy.where(ROWS < 9, ROWS % 2, -1)}, [], 3, ["batch.size"]),
    ({"labels": ROWS % 3}, ["supervised.classes=4"], 2, ["supervised.classes=4", "3"]),
    ({"labels": ROWS % 3}, ["guard.collapse=2"], 2, ["guard.collapse"]),
    ({"labels": ROWS % 3}, ["supervised.smoothing=2"], 2, ["supervised.smoothing"]),
    ({"labels": ROWS / 4}, ["data.labels=labels"], 3, ["labels"]),
]


def test_refused(case):
    number, (datasets, words, code, said), ranks = case
    what, path = f"{words} on {ranks} ranks", here / f"refused-{number}-{ranks}.h5"
    program.write_h5(path, images=program.images(64), **datasets)
    ended = train(
        here / f"refused-{number}-{ranks}",
        f"data.archive={path}",
        "objective=supervised",
        "train.steps=1",
        *words,
        ranks=ranks,
    )
    check(ended.code == code, f"{number} {what}: exit code {ended.code}: {ended.tail()}")
    check(len(ended.errors) == 1, f"{number} {what}: {ended.tail()}")
    for word in said:
        check(word in "".join(ended.errors), f"{number} {what}: no '{word}': {ended.errors}")


def test_other_labels():
    """A run does not go on with what its numbers did not stand for."""
    path = program.write_h5(
        here / "two.h5",
        images=program.images(64),
        one=ROWS % 3,
        two=ROWS % 3 + 5,
        three=ROWS % 3,
        part=(ROWS >= 4).astype("u1"),
    )
    words = [f"data.archive={path}", "objective=supervised"]
    ended = train(here / "two", *words, "data.labels=one", "train.steps=1")
    check(ended.code == 0, f"labels one: {ended.tail()}")
    for name in ("two", "three"):
        ended = train(here / "two", *words, f"data.labels={name}", "train.steps=2")
        check(ended.code == 2, f"labels {name}: exit code {ended.code}: {ended.tail()}")
        check("data.labels" in "".join(ended.errors), f"labels {name}: {ended.errors}")
    with h5py.File(path, "a") as file:
        file["one"][:4] = (ROWS[:4] + 1) % 3
    words += ["data.labels=one", "train.steps=2"]
    ended = train(here / "two", *words, "resume.change=train.steps")
    check(ended.code == 2, f"labels in place: exit code {ended.code}: {ended.tail()}")
    check("data.labels=other labels of the same" in ended.err, f"labels in place: {ended.tail()}")
    rows = ["data.where=part=1", "resume.change=train.steps,data.where"]
    ended = train(here / "two", *words, *rows)
    check(ended.code == 0, f"other rows: exit code {ended.code}: {ended.tail()}")
    ended = train(here / "two", *words, "train.steps=3", "resume.change=train.steps,data.where")
    check(ended.code == 0, f"all rows: exit code {ended.code}: {ended.tail()}")
    with h5py.File(path, "a") as file:
        file["one"][:4] = (ROWS[:4] + 2) % 3
    ended = train(
        here / "two", *words, "train.steps=4", "resume.change=train.steps,data.labels"
    )
    check(ended.code == 0, f"allowed labels: exit code {ended.code}: {ended.tail()}")
    check("other labels" in "".join(ended.warnings), f"allowed labels: {ended.tail()}")


make_sources()
program.at_once(
    test_start, [(name, ranks) for name in ("source", "encoder.safetensors") for ranks in (1, 2)]
)
program.at_once(
    test_refused, [(n, case, ranks) for n, case in enumerate(REFUSED) for ranks in (1, 2)]
)
test_frozen()
test_classes()
test_unseen()
test_other_labels()
test_other_commands()
test_learning()
program.finish()
