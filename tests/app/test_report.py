#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""report: the page, its figures and tables, and what it says of runs that are not as they should
be. Pictures are drawn where gnuplot is installed, which the tests do without, too."""

import json
import math
import re
import shutil

import numpy

import program
import vit_in_numpy
from pages import read_page, without_gnuplot
from program import check, run

holder, here = program.scratch()
NASTY = "it's a \"run\" $(touch ran) `touch ran` & <i>x</i> %41#"


def report(what, *words, code=0, ranks=1, **more):
    ended = run(["report", *words], ranks, **more)
    check(ended.code == code, f"{what}: exit code {ended.code}, expected {code}: {ended.tail()}")
    return ended


def table(path):
    """Columns of a table beside the page."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return {name: [float(row[i]) for row in rows[1:]] for i, name in enumerate(rows[0])}


def check_table(what, path, rows):
    found = table(path)
    for name in {key for row in rows for key in row if key not in ("event", "weights")}:
        wanted = [math.nan if row.get(name) is None else row[name] for row in rows]
        same = len(found.get(name, [])) == len(wanted) and all(
            a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found[name], wanted)
        )
        check(same, f"{what}: {name}: {found.get(name)}, expected {wanted}")


def embeddings_of(checkpoint, rows):
    """By the command embed, of all rows; the sample has rows spaced evenly over them."""
    out = here / "embeddings.h5"
    program.done("embed", ["embed", f"checkpoint={checkpoint}", f"out={out}"])
    values = program.read(out, "embeddings").astype(float)
    which = [i * len(values) // rows for i in range(rows)]
    return values[which], program.read(out, "labels")[which], program.read(out, "row")[which]


DATA = program.archive(here / "data.h5", 96)
WORDS = (f"data.archive={DATA}", "train.steps=6", "eval.every=3")
RUN = here / NASTY
trained = program.train(RUN, *WORDS)
check(trained.code == 0, f"train: {trained.tail()}")


def test_run():
    """One run, on two ranks, whose directory has every sign of HTML, gnuplot and the shell."""
    before = {path: path.stat().st_mtime_ns for path in RUN.rglob("*") if path.is_file()}
    report("a run", RUN, ranks=2)
    page = read_page("a run", RUN / "report.html")
    check(NASTY in page.text and "i" not in page.tags, "a run: its name is not escaped")
    for words in ("optim.lr", "prediction loss", "kNN accuracy", "seconds by message"):
        check(words in page.text, f"a run: no {words} in the page")
    lines = program.metrics(RUN)
    steps = [row for row in lines if "event" not in row]
    check_table("steps", RUN / "report/steps-1.tsv", steps)
    check_table("evaluations", RUN / "report/evaluations-1.tsv", [r for r in lines if "event" in r])
    timing = json.loads((RUN / "timing.json").read_text())
    check(timing["verdict"] in page.text, "a run: no verdict")
    rows = [line.split("\t") for line in (RUN / "report/phases.tsv").read_text().splitlines()[1:]]
    found = {name: float(value) for name, value in rows}
    wanted = {phase["name"]: phase["mean_s"] for phase in timing["phases"]}
    check(found == wanted, f"phases: {found}, expected {wanted}")
    check(not (RUN / "report/ran").exists(), "a run: gnuplot ran a command in a name")
    after = {path: path.stat().st_mtime_ns for path in before}
    check(before == after, "a run: report has changed its files")
    if shutil.which("gnuplot"):
        check(len(page.images) == len(page.figures) > 8, f"a run: {len(page.images)} pictures")
        said = (RUN / "report/gnuplot.log").read_text()
        check('.gp" line' not in said, f"a run: gnuplot says {said[:500]}")


def numbers(path, skip=0):
    return numpy.loadtxt(path, delimiter="\t", skiprows=skip, ndmin=2)


def test_embeddings():
    """Spectrum, covariance, map, neighbours and confusion are those of numpy."""
    page_path = here / "embedded.html"
    report("embeddings", RUN, "sample=50", f"out={page_path}", ranks=2)
    page, files = read_page("embeddings", page_path), here / "embedded"
    check("Checkpoint of step 6, 50 rows" in page.text, "embeddings: no word of the checkpoint")
    x, labels, rows = embeddings_of(RUN, 50)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    values = numpy.linalg.eigvalsh(covariance)[::-1].clip(0)
    found = numbers(files / "spectrum-1.tsv", 1)[:, 1]
    check(numpy.allclose(found, values, rtol=1e-6, atol=1e-12), f"spectrum: {found}, {values}")
    deviation = numpy.sqrt(numpy.diag(covariance))
    wanted = covariance / numpy.outer(deviation, deviation)
    found = numbers(files / "covariance-1.tsv")
    check(numpy.allclose(found, wanted, atol=1e-6), "covariance: not numpy's")
    found = numbers(files / "map-1.tsv", 1)
    check((found[:, 2] == labels).all() and (found[:, 3] == rows).all(), "map: labels or rows")
    check(numpy.allclose(found[:, :2].var(0), values[:2], rtol=1e-5), "map: variances")
    unit = x / numpy.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    numpy.fill_diagonal(cosine, -numpy.inf)
    confusion = numpy.zeros((3, 3))
    for row, label in zip(cosine, labels):
        near = numpy.argsort(-row)[:20]
        votes = numpy.bincount(labels[near], numpy.exp(row[near] / 0.07), 3)
        confusion[label, votes.argmax()] += 1
    found = numbers(files / "confusion-1.tsv")
    check(found.sum() == 50 and abs(found - confusion).sum() <= 2, f"{found} {confusion}")
    out = here / "projections.h5"
    words = ["features=projection", "views.global=1", "views.local=0", f"out={out}"]
    program.done("projections", ["embed", f"checkpoint={RUN}", *words])
    values = program.read(out, "projections")
    values = values.reshape(-1, 8)
    which = [i * len(values) // 50 for i in range(50)]
    length = numpy.linalg.norm(values[which], axis=1).max()
    found = numbers(files / "slices-1.tsv", 1)
    check(found.shape == (14, 8), f"slices: {found.shape}")
    check(numpy.allclose(found[:, 1:].sum(0), 1, atol=1e-7), f"slices: {found}")
    check(abs(found[:, 2:] * 50 - (found[:, 2:] * 50).round()).max() < 1e-6, f"slices: {found}")
    check(abs(found[7, 1] - 0.19146246) < 1e-8, f"slices: normal of 0 .. 1/2: {found[7]}")
    inner = abs(found[:, 0]) < length + 0.25  # bins that rows can be in, but for those at the ends
    inner[[0, -1]] = True
    check((found[~inner, 2:] == 0).all(), f"slices: beyond {length}: {found}")
    near = cosine[0].argmax()  # the cells of the first row, one after the other
    first = f"{rows[0]}{labels[0]}1{rows[near]}{labels[near]}"
    found = re.search(r"cosine\s*(\d+)", page.text)
    check(found and found[1].startswith(first), f"neighbours: {found}, expected {first}")
    found = numbers(files / "tokens-1.tsv", 1)
    check(found.shape == (8 * 16, 6), f"tokens: {found.shape}")
    shown = rows[[i * 50 // 8 for i in range(8)]]
    check((found[::16, 0] == shown).all(), f"tokens: rows {found[::16, 0]}, expected {shown}")
    check((found[:, 1] * 4 + found[:, 2] == numpy.arange(128) % 16).all(), "tokens: places")
    colours = found[:, 3:]
    check((colours >= 0).all() and (colours <= 1).all() and colours.std(0).min() > 0.1, "colours")
    check((files / "tokens-1.png").stat().st_size > 1000, "tokens: no picture")
    check((files / "neighbours-1.png").stat().st_size > 1000, "neighbours: no picture")


def parts_of(directory, rows, patch, heads):
    """Tokens of patches and attention of the rows shown, by numpy."""
    w, mean, std = vit_in_numpy.load(program.checkpoints(directory)[-1])
    images = program.read(DATA, "images")[rows, ..., None] / 255
    tokens, attention = vit_in_numpy.run((images - mean) / std, w, patch, heads)
    return w, tokens, attention


def test_parts():
    """Colours of tokens and attention are those of the encoder in numpy: of the class token; and,
    where the embedding is a mean over patches, of these."""
    small = ["model.width=24", "model.depth=2", "model.heads=3", "model.patch=4", "train.steps=4"]
    for name, more in (
        ("by-class", ["model.registers=2"]),
        ("by-mean", ["model.pool=mean", "model.head=5"]),
    ):
        ended = program.train(here / name, f"data.archive={DATA}", *small, *more, "optim.lr=0.01")
        check(ended.code == 0, f"{name}: {ended.tail()}")
        report(name, here / name, "sample=24", ranks=2)
        page, files = read_page(name, here / name / "report.html"), here / name / "report"
        shown = [i * 24 // 8 * 96 // 24 for i in range(8)]
        w, tokens, attention = parts_of(here / name, shown, 4, 3)
        prefix = tokens.shape[1] - 49
        check(prefix == (3 if name == "by-class" else 1), f"{name}: {tokens.shape}")
        found = numbers(files / "attention-1.tsv", 1)
        check((found[::49, 0] == shown).all(), f"{name}: rows {found[::49, 0]}")
        check((found[:49, 1] * 7 + found[:49, 2] == range(49)).all(), f"{name}: places")
        if name == "by-class":
            tokens = vit_in_numpy.norm(tokens, w, "norm")
            wanted = attention[:, :, 0, prefix:]
            check("Attention of the class token" in page.text, f"{name}: {page.text[-3000:]}")
        else:
            wanted = attention[:, :, prefix:, prefix:].mean(2)
            check("Attention that patches receive" in page.text, f"{name}: {page.text[-3000:]}")
        found = found[:, 3:].reshape(8, 49, 3).transpose(0, 2, 1)
        check(abs(found - wanted).max() < 1e-5, f"{name}: {abs(found - wanted).max()}")
        check(wanted.std() > 1e-5, f"{name}: all weights are alike: {wanted.std()}")
        wanted = vit_in_numpy.colours(tokens[:, prefix:].reshape(-1, tokens.shape[2]))
        found = numbers(files / "tokens-1.tsv", 1)[:, 3:]
        check(abs(found - wanted).max() < 1e-4, f"{name}: colours {abs(found - wanted).max()}")
        check((files / "attention-1.png").stat().st_size > 1000, f"{name}: no picture")
    words = [word for word in program.TINY if not word.startswith("model")]
    words += ["model=resnet", "model.width=4", "model.depth=1", "train.steps=1"]
    program.done("resnet", ["train", *words, f"run.dir={here / 'resnet'}", f"data.archive={DATA}"])
    report("resnet", here / "resnet", "sample=24")
    left = {path.name for path in (here / "resnet" / "report").iterdir()}
    check("tokens-1.png" in left and "attention-1.tsv" not in left, f"resnet: {left}")


def test_without_embeddings():
    """No labels, no archive, sample=0, another archive."""
    plain = program.write_h5(here / "plain.h5", images=program.images(40, 3))
    run_dir = here / "plain"
    program.train(run_dir, f"data.archive={plain}", "train.steps=1")
    report("no labels", run_dir)
    page = read_page("no labels", run_dir / "report.html")
    check("No evaluations" in page.text and "40 rows" in page.text, "no labels: the page")
    check(not list((run_dir / "report").glob("confusion*")), "no labels: a confusion matrix")
    plain.unlink()
    ended = report("no archive", run_dir)
    page = read_page("no archive", run_dir / "report.html")
    check("No embeddings: " in page.text and len(ended.warnings) == 1, f"no archive: {ended.err}")
    report("another archive", run_dir, f"data.archive={DATA}", "data.where=split=0")
    page = read_page("another archive", run_dir / "report.html")
    check("72 rows" in page.text, "another archive: rows")
    for word in ("data.stretch=asinh", "data.full_scale=65535"):
        ended = report(word, run_dir, f"data.archive={DATA}", word, f"out={here / 'scaled.html'}")
        refused = "No embeddings" in read_page(word, here / "scaled.html").text
        check(refused == ("stretch" in word), f"{word}: {ended.err}")
    report("sample=0", run_dir, "sample=0")
    check("Embeddings" not in read_page("sample=0", run_dir / "report.html").text, "sample=0")


def test_far_labels():
    """Classes are those that occur, whatever their numbers."""
    labels = numpy.where(numpy.arange(40) % 2 == 0, 5, 1000000).astype("i4")
    path = program.write_h5(here / "far.h5", images=program.images(40, 3), labels=labels)
    program.train(here / "far", f"data.archive={path}", "train.steps=1")
    report("far labels", here / "far")
    page = read_page("far labels", here / "far" / "report.html")
    check("No confusion matrix" not in page.text, "far labels: no matrix")
    found = numbers(here / "far" / "report" / "confusion-1.tsv")
    check(found.shape == (2, 2) and (found.sum(1) == 20).all(), f"far labels: {found}")
    check(page.text.count("1000000") >= 2, "far labels: not in the tables")


def test_places():
    """Figures are never put among what runs have written."""
    for out in (f"{RUN}.html", f"{RUN.parent}.html"):
        before = sorted(RUN.iterdir()), sorted(RUN.parent.iterdir())
        ended = report(f"out={out}", RUN, f"out={out}", "sample=0", code=2)
        check("another name" in ended.err, f"out={out}: {ended.err}")
        check((sorted(RUN.iterdir()), sorted(RUN.parent.iterdir())) == before, f"{out}: files")


def make(name, lines, text="loss.lambda: 0.1\n"):
    """A run written by hand."""
    directory = here / name
    directory.mkdir()
    (directory / "config.yaml").write_text(text)
    if lines is not None:
        (directory / "metrics.jsonl").write_text(lines)
    return directory


def test_several():
    """Another objective's terms, one run without a step, one without gnuplot's help."""
    other = make("other", '{"step": 1, "epoch": 0.5, "loss": 2.5, "var": 7}\n')
    empty = make("empty", None)
    words = [RUN, other, empty]
    ended = report("several", *words, code=2)
    check("out=" in ended.err, f"several without out=: {ended.err}")
    ended = report("several", *words, here / "nothing", f"out={here}/all.html")
    check("nothing" in ended.warnings[0], f"several: {ended.err}")
    check(sum("no embeddings" in line for line in ended.warnings) == 2, f"several: {ended.err}")
    page = read_page("several", here / "all.html")
    check("In which the runs differ" in page.text, "several: no table of differences")
    check(table(here / "all/steps-2.tsv")["var"] == [7], "several: var")
    scripts = (here / "all/steps-loss.gp").read_text()
    check("steps-1.tsv" in scripts and "steps-2.tsv" in scripts, f"several: {scripts}")
    check("steps-3.tsv" not in scripts, f"several: {scripts}")


def test_lengths():
    """Nothing is compared with a Gaussian where the objective sees no lengths of projections."""
    simclr = here / "simclr"
    ended = program.train(simclr, *WORDS, "objective=simclr", "views.global=2")
    check(ended.code == 0, f"simclr: {ended.tail()}")
    report("simclr", simclr, "sample=50")
    page = read_page("simclr", simclr / "report.html")
    check("Checkpoint of step 6, 50 rows" in page.text, "simclr: no embeddings")
    for words in ("isotropic Gaussian", "random slices"):
        check(words not in page.text, f"simclr: {words} in the page")
    check(not (simclr / "report/slices-1.tsv").exists(), "simclr: slices")
    for name in ("proj_effective_rank", "alignment"):
        check((simclr / f"report/evaluations-{name}.gp").exists(), f"simclr: no {name}")


def test_damaged():
    """Lines that are no JSON, no object, cut off, overlong, or with hostile names."""
    lines = [
        '{"step": 1, "loss": 3, "a\'b": 1, "../x": 2, "lr": null}',
        "no json",
        "[1, 2]",
        '{"loss": 1}',
        '{"step": 2, "loss": ' + " " * 40000 + "1}",
        '{"step": 2, "loss": 2, "lr": 1e-3}',
        '{"step": 3, "lo',
    ]
    damaged = make("damaged", "\n".join(lines))
    (damaged / "timing.json").write_text('{"phases": [1, {"name": 5}, {"name": "x\\ty"}], "ledger"')
    ended = report("damaged", damaged)
    check(any("5 lines" in text for text in ended.warnings), f"damaged: {ended.err}")
    read_page("damaged", damaged / "report.html")
    found = table(damaged / "report/steps-1.tsv")
    check(list(found) == ["step", "loss", "lr"], f"damaged: {found}")
    check(found["loss"] == [3, 2] and found["lr"][1] == 1e-3, f"damaged: {found}")
    strange = make("strange", None)
    phases = '{"phases": [1, {"name": 5}, {"name": "x\\t\\"y", "mean_s": 2}], "ledger": 7}'
    (strange / "timing.json").write_text(phases)
    report("strange timing", strange)
    read_page("strange timing", strange / "report.html")
    rows = (strange / "report/phases.tsv").read_text().splitlines()
    check(rows[1:] == ["x  y\t2"], f"strange timing: {rows}")


def test_without_gnuplot():
    """The page has the tables, and the command; an old picture goes."""
    bare = make("bare", '{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    (bare / "report").mkdir()
    (bare / "report/steps-loss.svg").write_text("old")
    environment = without_gnuplot(here / "programs")
    ended = report("without gnuplot", bare, "sample=0", env=environment)
    check(len(ended.warnings) == 1 and "gnuplot" in ended.warnings[0], f"no gnuplot: {ended.err}")
    page = read_page("without gnuplot", bare / "report.html")
    check(not page.images and len(page.figures) == 1, f"no gnuplot: {page.images}")
    check("gnuplot steps-loss.gp" in page.text, "no gnuplot: no command")
    check(not (bare / "report/steps-loss.svg").exists(), "no gnuplot: an old picture is left")


def test_refusals():
    for what, words, code, text in (
        ("no directory", [], 2, "directory of a run"),
        ("no run", [here / "nothing"], 3, "no config.yaml"),
        ("no runs", [here / "nothing", here / "none", f"out={here}/x.html"], 3, "none of 2"),
        ("no name", [RUN, f"out={here}/.html"], 2, ".html"),
        ("no page", [RUN, f"out={here}/page.txt"], 2, ".html"),
        ("nowhere", [RUN, f"out={here}/nowhere/page.html"], 6, "nowhere"),
        ("an argument", [RUN, "alpha=1"], 2, "does not take"),
    ):
        ended = report(what, *words, code=code, ranks=2 if what == "no run" else 1)
        check(len(ended.errors) == 1 and text in ended.err, f"{what}: {ended.err}")
    bad = make("bad", None, "model: [\n")
    report("bad settings", bad, code=3)


for test in (
    test_run,
    test_embeddings,
    test_parts,
    test_without_embeddings,
    test_far_labels,
    test_places,
    test_several,
    test_lengths,
    test_damaged,
    test_without_gnuplot,
    test_refusals,
):
    test()
program.finish()
