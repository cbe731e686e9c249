#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`train.average`: the running average of the weights is the recurrence it is said to be, the same
on any number of ranks and over restarts, changes no weight, and is what is evaluated, embedded and
exported. And the average that is the target of `objective=byol` and `dino`."""

import json
import shutil

import h5py
import numpy

import program
from program import check, done, run, train

holder, here = program.scratch()
STEPS, DECAY = 6, 0.3
data = f"data.archive={program.archive(here / 'archive.h5')}"
PLAIN = [data, f"train.steps={STEPS}", "checkpoint.every=1", "checkpoint.keep=99", "optim.lr=0.02"]
PLAIN += ["optim.warmup_epochs=0", "eval.every=3", "eval.where=split=1", "data.where=split=0"]
WORDS = [*PLAIN, f"train.average={DECAY}"]
straight, plain = here / "straight", here / "plain"


def arrays(directory, step, group):
    found = {}
    with h5py.File(directory / f"checkpoints/step-{step:09}.h5") as file:
        file[group].visititems(
            lambda name, item: (
                found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def same(what, found, wanted):
    differ = [name for name in wanted if not numpy.array_equal(found.get(name), wanted[name])]
    check(found.keys() == wanted.keys() and not differ, f"{what}: these differ: {differ}")


def last_tensors(directory, *groups):
    return program.tensors(program.checkpoints(directory)[-1], groups)


def updated(average, weights, step):
    """The average after the update of a step, 0 for the first."""
    share = numpy.float32(1 - min(DECAY, (1 + step) / (10 + step)))
    return {name: average[name] + share * (weights[name] - average[name]) for name in weights}


# ---- training ------------------------------------------------------------------------------------


def test_recurrence():
    """From the weights of every step, in float32, to the bit."""
    still = here / "still"
    done("no step", ["train", *program.TINY, *WORDS, f"run.dir={still}", "optim.lr=0"])
    average = arrays(still, 1, "weights")  # initial ones, but for running statistics
    for step in range(STEPS):
        found = arrays(straight, step + 1, "average")
        average = updated(average, arrays(straight, step + 1, "weights"), step)
        if step == 0:
            for name in [name for name in average if "running" in name]:
                average[name] = found[name]
        same(f"average after step {step + 1}", found, average)
        average = found


def test_ranks():
    wanted = last_tensors(straight, "weights", "optim", "average")
    for ranks in (2, 3):
        directory = here / f"ranks-{ranks}"
        ended = train(directory, *WORDS, ranks=ranks)
        check(ended.code == 0, f"{ranks} ranks: {ended.tail()}")
        check(
            last_tensors(directory, "weights", "optim", "average") == wanted,
            f"{ranks} ranks make other bits",
        )
    check(
        last_tensors(plain, "weights", "optim") == last_tensors(straight, "weights", "optim"),
        "the average changes the weights",
    )


def resumed(name, source, step):
    """A directory that a run has left after so many steps."""
    directory = here / name
    (directory / "checkpoints").mkdir(parents=True)
    for path in program.checkpoints(source)[:step]:
        shutil.copy(path, directory / "checkpoints")
    return directory


def test_restart():
    directory = resumed("restarted", straight, 4)
    ended = train(directory, *WORDS, ranks=3)
    check(ended.code == 0, f"restart: {ended.tail()}")
    check(
        last_tensors(directory, "average") == last_tensors(straight, "average"),
        "the average of a restarted run has other bits",
    )


def test_restart_without():
    """From a checkpoint that has no average, such as an older one."""
    directory = resumed("begun", plain, 4)
    ended = train(directory, *WORDS)
    check(
        ended.code == 2 and "resume.change=train.average" in "".join(ended.errors),
        f"another train.average: exit code {ended.code}: {ended.tail()}",
    )
    ended = train(directory, *WORDS, "resume.change=train.average")
    check(ended.code == 0, f"resume.change=train.average: {ended.tail()}")
    check(
        any("has no average" in line and "step 4" in line for line in ended.warnings),
        f"begun: {ended.warnings}",
    )
    wanted = updated(arrays(plain, 4, "weights"), arrays(directory, 5, "weights"), 4)
    same("an average begun at step 4", arrays(directory, 5, "average"), wanted)
    directory = resumed("ended", straight, 4)
    ended = train(directory, *PLAIN, "resume.change=train.average")
    check(ended.code == 0, f"no more average: {ended.tail()}")
    with h5py.File(program.checkpoints(directory)[-1]) as file:
        check("average" not in file, "an average that is not kept any more is in a checkpoint")


# ---- what becomes of it --------------------------------------------------------------------------


def embeddings(directory, name, *words):
    out = here / f"{name}.h5"
    what = ["embed", f"checkpoint={directory}", f"out={out}", data, "data.where=split=1", *words]
    return done(name, what), program.read(out, "embeddings")


def effective_rank(rows):
    values = numpy.linalg.eigvalsh(numpy.cov(rows.astype("f8").T))
    share = values[values > 0] / values[values > 0].sum()
    return numpy.exp(-(share * numpy.log(share)).sum())


def test_evaluation():
    """Evaluations are of the average, and so are embeddings, unless it is said otherwise."""
    ended, averaged = embeddings(straight, "averaged")
    check("running average" in ended.err, f"embed does not say which weights: {ended.tail()}")
    _, last = embeddings(straight, "last", "weights=last")
    _, chosen = embeddings(straight, "chosen", "weights=average")
    _, without = embeddings(plain, "without")
    check(numpy.array_equal(averaged, chosen), "weights=average is not the default")
    check(numpy.array_equal(last, without), "weights=last are not the weights")
    pair = [f"train={here / 'averaged.h5'}", f"test={here / 'last.h5'}", "overlap=allow"]
    ended = program.run(["probe", *pair])
    check(ended.code == 3, f"probe of two weights: exit code {ended.code}: {ended.tail()}")
    check("other weights (last" in ended.err, f"probe of two weights: {ended.tail()}")
    for directory, rows, word in [(straight, averaged, "average"), (plain, last, None)]:
        scores = [line for line in program.metrics(directory) if "event" in line][-1]
        check(scores.get("weights") == word, f"{directory}: {scores}")
        check(
            abs(scores["effective_rank"] / effective_rank(rows) - 1) < 1e-4,
            f"{word}: effective rank {scores['effective_rank']}, {effective_rank(rows)} of embed",
        )
    check(
        abs(effective_rank(averaged) / effective_rank(last) - 1) > 1e-3,
        "the average and the last weights are too close for this test",
    )


def safetensors(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    body = content[8 + length :]
    return {
        name: numpy.frombuffer(body[slice(*entry["data_offsets"])], "f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_export():
    for words, group in [
        ([], "average"),
        (["weights=average"], "average"),
        (["weights=last"], "weights"),
    ]:
        out = here / f"export-{len(words)}-{group}/model.safetensors"
        out.parent.mkdir()
        done("export", ["export", f"checkpoint={straight}", f"out={out}", *words])
        wanted = arrays(straight, STEPS, group)
        wanted = {name: wanted[name] for name in wanted if not name.startswith("projector.")}
        same(f"export {words}", safetensors(out), wanted)


# ---- the target of an objective ------------------------------------------------------------------


def test_byol():
    """Its decay rises to 1 by half a cosine; what leaves is the encoder alone."""
    directory = here / "byol"
    words = [word for word in PLAIN if not word.startswith("eval.every")]
    words += ["objective=byol", "target.momentum=0.4", f"run.dir={directory}", "eval.every=6"]
    ended = done("byol", ["train", *program.TINY, *words], ranks=2)
    check("loss: BYOL" in ended.err and "predictor of hidden width 16" in ended.err, ended.tail())
    for step in range(1, STEPS):
        decay = 1 - (1 - 0.4) * 0.5 * (1 + numpy.cos(numpy.pi * step / STEPS))
        weights = arrays(directory, step + 1, "weights")
        average = arrays(directory, step, "average")
        share = numpy.float32(1 - decay)
        wanted = {name: average[name] + share * (weights[name] - average[name]) for name in weights}
        same(f"target after step {step + 1}", arrays(directory, step + 1, "average"), wanted)
    check("projector.predictor.0.weight" in weights, f"no predictor among {sorted(weights)}")
    lines = program.metrics(directory)
    program.has_keys("metrics.jsonl of byol", lines[0], "loss spread collapse")
    check([line["weights"] for line in lines if "event" in line] == ["average"], f"{lines[-1]}")
    ledger = json.loads((directory / "timing.json").read_text())["ledger"]
    for entry in ledger:
        if entry["name"] in ("byol", "batchnorm"):
            check(entry["bytes_per_call"] == entry["predicted_bytes_per_call"], f"{entry}")
    check("byol" in [entry["name"] for entry in ledger], f"{ledger}")
    out = here / "export-byol/model.safetensors"
    out.parent.mkdir()
    done("export", ["export", f"checkpoint={directory}", f"out={out}"])
    names = [name for name in arrays(directory, STEPS, "weights") if "projector" not in name]
    check(sorted(safetensors(out)) == sorted(names), f"export of byol: {sorted(safetensors(out))}")
    done("embed", ["embed", f"checkpoint={directory}", f"out={here}/byol.h5", data])


def test_dino():
    """Prototypes, an average and a centre are in checkpoints; a restart on other ranks goes on with
    all of them, a damaged centre is found."""
    whole = here / "dino"
    words = [word for word in PLAIN if not word.startswith("eval.every")]
    words += ["objective=dino", "dino.prototypes=20", "dino.freeze_epochs=0.5", "eval.every=6"]
    ended = train(whole, *words, ranks=2)
    check(ended.code == 0, f"dino: {ended.tail()}")
    check("loss: DINO, 20 prototypes" in ended.err, ended.tail())
    lines = program.metrics(whole)
    program.has_keys("metrics.jsonl of dino", lines[0], "loss entropy spread collapse")
    check(abs(lines[0]["collapse"] - (1 - lines[0]["spread"])) < 1e-8, f"dino: {lines[0]}")
    entry = {row["name"]: row for row in json.loads((whole / "timing.json").read_text())["ledger"]}
    check(
        entry["dino"]["bytes_per_call"] == entry["dino"]["predicted_bytes_per_call"] == 8 * 28,
        f"{entry['dino']}",
    )
    groups = ("weights", "optim", "average", "objective")
    centres = [arrays(whole, step, "objective")["centre"] for step in (1, STEPS)]
    check(centres[0].shape == (20,) and (centres[0] != centres[1]).all(), f"centre: {centres}")
    names = arrays(whole, STEPS, "weights")
    check(names["projector.prototypes.weight"].shape == (20, 8), f"prototypes: {sorted(names)}")
    directory = resumed("dino-restarted", whole, 4)
    ended = train(directory, *words, ranks=3)
    check(ended.code == 0, f"dino, restart: {ended.tail()}")
    wanted = last_tensors(whole, *groups)
    check("objective/centre" in wanted, f"{sorted(wanted)}")
    check(last_tensors(directory, *groups) == wanted, "a restarted run of dino has other bits")
    done("embed", ["embed", f"checkpoint={whole}", f"out={here}/dino.h5", data])
    out = here / "export-dino/model.safetensors"
    out.parent.mkdir()
    done("export", ["export", f"checkpoint={whole}", f"out={out}"])
    left = sorted(name for name in names if "projector" not in name)
    check(sorted(safetensors(out)) == left, f"export of dino: {sorted(safetensors(out))}")
    check_centre(resumed("dino-damaged", whole, 1), words)


def check_centre(directory, words):
    path = program.checkpoints(directory)[0]
    done("verify", ["checkpoint", "verify", path])
    with h5py.File(path, "r+") as file:
        file["objective/centre"][3] += 1
    ended = run(["checkpoint", "verify", path])
    check(
        ended.code == 4 and "/objective/centre" in ended.err,
        f"a damaged centre: exit code {ended.code}: {ended.tail()}",
    )
    ended = train(directory, *words, ranks=2)
    check(ended.code == 4, f"from a damaged centre: exit code {ended.code}: {ended.tail()}")


def test_targets_refused():
    for words, said in [
        (["objective=byol", "train.average=0.9"], "leave train.average out"),
        (["predictor.hidden=8"], "has no predictor"),
        (["objective=byol", "views.global=1", "views.local=0"], "at least 2"),
        (["objective=byol", "target.momentum=1.1"], "target.momentum"),
        (["objective=dino", "train.average=0.9"], "leave train.average out"),
        (["dino.prototypes=8"], "has no prototypes"),
        (["objective=dino", "dino.prototypes=1"], "at least 2"),
        (["objective=dino", "predictor.hidden=8"], "has no predictor"),
        (["objective=dino", "views.global=1", "views.local=0"], "at least 2"),
        (["objective=dino", "dino.teacher_temperature=0"], "dino.teacher_temperature"),
        (["objective=dino", "dino.centre_momentum=-0.1"], "dino.centre_momentum"),
        (
            [*"objective=byol projector.layers=1 projector.norm=lane batch.lanes=16".split()],
            "projector.norm=lane needs at least 8",
        ),
    ]:
        ended = train(here / "never", *PLAIN, *words)
        check(
            ended.code == 2 and said in "".join(ended.errors),
            f"{words}: exit code {ended.code}: {ended.errors}",
        )


# ---- what is not right ---------------------------------------------------------------------------


def test_verify():
    """A byte of the average that has changed is found."""
    directory = resumed("damaged", straight, 1)
    path = program.checkpoints(directory)[0]
    done("verify", ["checkpoint", "verify", path])
    with h5py.File(path) as file:
        place = file["average/cls_token"].id.get_offset()
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    ended = run(["checkpoint", "verify", path])
    check(
        ended.code == 4 and "/average/cls_token" in ended.err,
        f"a damaged average: exit code {ended.code}: {ended.tail()}",
    )


def test_refused():
    for what, directory, words, code, said in [
        ("no average", plain, ["weights=average"], 4, "train.average"),
        ("no such weights", straight, ["weights=middle"], 2, "average or last"),
    ]:
        for ranks in (1, 2):
            ended = run(
                ["embed", f"checkpoint={directory}", f"out={here}/no.h5", data, *words], ranks
            )
            check(
                ended.code == code and len(ended.errors) == 1,
                f"{what}: exit code {ended.code}: {ended.errors}",
            )
            check(said in "".join(ended.errors), f"{what}: does not say {said}: {ended.errors}")
    for value in ("1", "-0.1", "nan"):
        ended = train(here / "never", *PLAIN, f"train.average={value}")
        check(ended.code == 2, f"train.average={value}: exit code {ended.code}: {ended.tail()}")


done("straight", ["train", *program.TINY, *WORDS, f"run.dir={straight}"])
done("plain", ["train", *program.TINY, *PLAIN, f"run.dir={plain}"])
test_recurrence()
test_ranks()
test_restart()
test_restart_without()
test_evaluation()
test_export()
test_byol()
test_dino()
test_targets_refused()
test_verify()
test_refused()
program.finish()
