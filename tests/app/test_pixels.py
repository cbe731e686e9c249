#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How pixels become numbers belongs to a run: what is embedded later is mapped as its training rows
were."""

import h5py
import numpy

import program
from program import check, done, read, run, train

ROWS = 64
holder, here = program.scratch()
rows = numpy.arange(ROWS)
split = (rows % 2).astype("u1")
pixels = numpy.random.default_rng(5).uniform(0, 10, (ROWS, 28, 28, 1)).astype("f4")
pixels[split == 1] *= 10  # the test split has another range
archive = program.write_h5(here / "archive.h5", images=pixels, labels=rows % 3, split=split)
data = [f"data.archive={archive}", "data.where=split=0", "data.stretch=percentile"]


def embed(name, *words):
    words = [f"checkpoint={here / 'run'}", f"data.archive={archive}", *words]
    done(name, ["embed", *words, f"out={here / name}", "features=pixels"], ranks=2)
    return read(here / name, "embeddings").reshape(-1, 28, 28, 1)


def limits(directory):
    path = program.checkpoints(directory)[-1]
    return read(path, "data/low"), read(path, "data/high")


def test_limits_of_the_run():
    ended = train(
        here / "run", *data, "train.steps=2", "eval.every=1", "eval.where=split=1", ranks=2
    )
    check(ended.code == 0, f"train: {ended.tail()}")
    low, high = limits(here / "run")
    wanted = numpy.percentile(pixels[split == 0], [1, 99])
    check(numpy.allclose([low[0], high[0]], wanted, atol=0.1), f"limits {low} {high}, not {wanted}")
    for which in (0, 1):
        found = embed(f"split-{which}.h5", f"data.where=split={which}")
        expected = numpy.clip((pixels[split == which] - low) / (high - low), 0, 1)
        error = numpy.abs(found - expected).max()
        check(error < 1e-6, f"split {which} is mapped by other limits: off by {error}")


def test_continued():
    """Limits stay those of the first rows, even where a continuation takes others."""
    before = limits(here / "run")
    words = [data[0], "data.where=split=1", data[2], "train.steps=4"]
    ended = train(here / "run", *words, "resume.change=data.where,train.steps")
    check(ended.code == 0, f"continued: {ended.tail()}")
    check(
        numpy.array_equal(limits(here / "run"), before), "a continuation changed the run's limits"
    )


def test_refused():
    out = f"out={here / 'refused.h5'}"
    words = ["embed", f"checkpoint={here / 'run'}", f"data.archive={archive}", out]
    ended = run([*words, "data.stretch=asinh"])
    check(
        ended.code == 2 and "percentile" in ended.err,
        f"another stretch: {ended.code} {ended.tail()}",
    )
    old = program.copy(here / "run", here / "old")
    for path in program.checkpoints(old):
        with h5py.File(path, "r+") as file:
            del file["data/low"], file["data/high"]
    ended = run([words[0], f"checkpoint={old}", *words[2:]])
    check(
        ended.code == 4 and "continue the run" in ended.err,
        f"a checkpoint without limits: {ended.code} {ended.tail()}",
    )


def test_views_without_effect():
    """Said once, whatever the number of ranks; not where they have an effect or are off."""
    off = [f"views.{key}=0" for key in ("jitter", "grey", "solarize")]
    colours = program.write_h5(here / "colours.h5", images=numpy.zeros((16, 28, 28, 3), "u1"))
    for name, words, count in [
        ("grey", data[:2], 1),
        ("off", [*data[:2], *off], 0),
        ("colours", [f"data.archive={colours}"], 0),
    ]:
        ended = train(here / f"views-{name}", *words, "train.steps=1", ranks=2)
        said = [line for line in ended.err.splitlines() if "no effect" in line]
        check(ended.code == 0 and len(said) == count, f"{name}: {said} {ended.tail()}")
        for word in ("views.jitter=0.8 (default)", "1 channel;", "views.noise") if count else ():
            check(word in "".join(said), f"{name}: '{word}' is not in {said}")


def test_scale():
    """asinh is scaled by the noise of the training rows, wherever its checkpoint is used."""
    words = [*data[:2], "data.stretch=asinh"]
    ended = train(here / "asinh", *words, "train.steps=2", "eval.every=1", "eval.where=split=1")
    check(ended.code == 0 and "scale of the channels" in ended.err, f"train: {ended.tail()}")
    low, high = limits(here / "asinh")
    trained = pixels[split == 0]
    noise = 1.4826 * numpy.median(abs(trained - numpy.median(trained)))
    check(low[0] == 0 and abs(high[0] - noise) < 0.05, f"scale {high}, not {noise}")
    own = here / "asinh.h5"
    embed = ["embed", f"checkpoint={here / 'asinh'}", f"data.archive={archive}", f"out={own}"]
    done("embed", [*embed, "features=pixels"])
    flat = pixels.reshape(ROWS, -1)
    error = numpy.abs(read(own, "embeddings") - numpy.arcsinh(flat / high)).max()
    check(error < 1e-5, f"embedded with another scale: off by {error}")
    ended = run([*embed, "data.stretch_scale=3"])
    check(ended.code == 2 and "data.stretch_scale" in ended.err, f"another scale: {ended.tail()}")
    older = program.copy(here / "asinh", here / "older")  # of a time that took asinh as it is
    for path in program.checkpoints(older):
        with h5py.File(path, "r+") as file:
            del file["data/low"], file["data/high"]
    done("older", ["embed", f"checkpoint={older}", *embed[2:], "features=pixels"])
    error = numpy.abs(read(own, "embeddings") - numpy.arcsinh(flat)).max()
    check(error < 1e-5, f"an older checkpoint is embedded with a scale: off by {error}")
    ended = train(older, *words, "train.steps=4", "resume.change=train.steps")
    check(ended.code == 0 and limits(older)[1][0] == 1, f"{limits(older)}: {ended.tail()}")
    words += ["data.stretch_scale=3", "train.steps=6"]
    ended = train(older, *words, "resume.change=data.stretch_scale,train.steps")
    check(ended.code == 0 and limits(older)[1][0] == 3, f"{limits(older)}: {ended.tail()}")


def test_blank():
    """A run's own blank value is that of what it embeds; attributes are those of each archive."""
    with_holes = pixels.copy()
    with_holes[::2, :3, :4] = -99
    cases = {"named": {}, "marked": {"_FillValue": numpy.float32(-99)}}
    for name, attributes in cases.items():
        path = program.write_h5(here / f"{name}.h5", images=with_holes)
        with h5py.File(path, "r+") as file:
            file["images"].attrs.update(attributes)
        setting = [] if attributes else ["data.blank=-99"]
        words = [f"data.archive={path}", *setting, "train.steps=1"]
        ended = train(here / f"run-{name}", *words, ranks=2)
        check(ended.code == 3, f"{name}: blank pixels: {ended.code} {ended.tail()}")
        for word in ("images row 0", "-99", "blank value", "data.nan=zero"):
            check(word in "".join(ended.errors), f"{name}: '{word}' is not in {ended.errors}")
        ended = train(here / f"run-{name}", *words, "data.nan=zero", ranks=2)
        check(ended.code == 0, f"{name}: as zero: {ended.tail()}")
        mean = read(program.checkpoints(here / f"run-{name}")[-1], "data/mean")
        wanted = numpy.where(with_holes == -99, 0, with_holes).mean()
        check(abs(mean[0] - wanted) < 1e-3, f"{name}: mean {mean}, not {wanted}")
        out = here / f"{name}-pixels.h5"
        words = [f"checkpoint={here / f'run-{name}'}", f"data.archive={path}", f"out={out}"]
        done(f"{name}: embed", ["embed", *words, "features=pixels"])
        check(read(out, "embeddings").min() == 0, f"{name}: embedded as a measurement")
        ended = run(["inspect", f"data.archive={path}", *setting])
        check("-99" in ended.out and "or blank" in ended.out, f"{name}: inspect: {ended.out}")
    ended = run(["train", f"data.archive={here / 'named.h5'}", "data.blank=grey"])
    check(ended.code == 2 and "data.blank=grey" in ended.err, f"no number: {ended.tail()}")


test_limits_of_the_run()
test_continued()
test_refused()
test_views_without_effect()
test_scale()
test_blank()
program.finish()
