#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rank: the order of runs by loss / lambda^alpha, the epoch that the loss is averaged over, what is
refused, what is left out, and the correlation with accuracies. Most runs are written by hand."""

import json
import math

import program
from program import check, run

holder, here = program.scratch()
SAMPLES, BATCH = 48, 16  # an epoch has three steps


def make(name, losses, knn=None, probe=None, linear=None, batch=BATCH, **settings):
    """A run that logged these losses, one a step."""
    directory = here / name
    directory.mkdir()
    values = {"batch.size": batch, "train.epochs": 2, "loss.lambda": 0.05}
    values.update({key.replace("__", "."): value for key, value in settings.items()})
    text = "".join(f"{key}: {value}\n" for key, value in values.items())
    (directory / "config.yaml").write_text(text)
    rows = [
        {"step": step, "epoch": round(step * batch / SAMPLES, 9), "loss": loss}
        for step, loss in enumerate(losses, 1)
    ]
    if knn is not None:
        rows.insert(2, {"step": 2, "epoch": 0.667, "event": "evaluation", "knn_top1": 0.01})
        last = {"step": len(losses), "epoch": rows[-1]["epoch"], "event": "evaluation"}
        rows.append({**last, "knn_top1": knn, "linear_top1": linear})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "metrics.jsonl").write_text(lines)
    if probe is not None:
        (directory / "probe.json").write_text(json.dumps({"linear_top1": probe}))
    return directory


def rank(what, directories, *words, code=0, ranks=1):
    ended = run(["rank", *directories, *words], ranks)
    check(ended.code == code, f"{what}: exit code {ended.code}, expected {code}: {ended.tail()}")
    return ended


def ranked(what, directories, *words, **more):
    ended = rank(what, directories, "json=1", *words, **more)
    return json.loads(ended.out) if ended.out else {}, ended


def correlations(found):
    return [found[f"spearman_{name}_top1"] for name in ("knn", "linear")]


def names(found):
    return [row["run"].rsplit("/", 1)[-1] for row in found.get("runs", [])]


# ---- order ---------------------------------------------------------------------------------------

LOW = make("low", [9, 9, 9, 0.3, 0.2, 0.1], knn=0.7, probe=0.81, loss__lambda=0.01)
MIDDLE = make("middle", [9, 9, 9, 0.4, 0.3, 0.2], knn=0.8, probe=0.85, loss__lambda=0.05)
HIGH = make("high", [9, 9, 9, 0.5, 0.4, 0.3], knn=0.9, probe=0.83, loss__lambda=0.1)


def test_order():
    """low has the lowest loss, middle the lowest loss / lambda^0.4. Correlations are those of
    scipy.stats.spearmanr([-score], [accuracy])."""
    found, ended = ranked("order", [LOW, MIDDLE, HIGH])
    scores = {"low": 0.2 / 0.01**0.4, "middle": 0.3 / 0.05**0.4, "high": 0.4 / 0.1**0.4}
    check(not ended.warnings, f"warnings: {ended.warnings}")
    check(names(found) == sorted(scores, key=scores.get), f"order: {found}")
    for row in found["runs"]:
        score = scores[row["run"].rsplit("/", 1)[-1]]
        check(math.isclose(row["score"], score, rel_tol=1e-14), f"score {score}: {row}")
        check(row["averaged"] == 3 and row["finished"] and row["steps"] == 6, f"steps: {row}")
    check(math.isclose(found["spearman_knn_top1"], 0.5), f"kNN: {found}")
    check(math.isclose(found["spearman_linear_top1"], 1), f"linear: {found}")
    found, _ = ranked("alpha=0", [LOW, MIDDLE, HIGH], "alpha=0")
    check(names(found) == ["low", "middle", "high"], f"alpha=0: {found}")
    check(found["alpha"] == 0 and found["spearman_knn_top1"] == -1, f"alpha=0: {found}")


def test_table():
    ended = rank("table", [LOW, MIDDLE, HIGH], ranks=2)
    rows = ended.out.splitlines()
    check([row.split()[0] for row in rows[2:5]] == ["1", "2", "3"], f"table: {ended.out}")
    check("middle" in rows[2] and "6/6 " in rows[2] and "0.8000" in rows[2], f"table: {rows[2]}")
    check("kNN accuracy over 3 runs: 0.5000" in ended.out, f"table: {ended.out}")
    check("not finished" not in ended.out, f"table: {ended.out}")


def test_collapsed():
    """The least loss of all, since nothing is learnt."""
    point = make("point", [0.001] * 6, loss__lambda=0.01)
    path = point / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss"', '"collapse": 0.98, "loss"'))
    found, _ = ranked("collapsed", [point, LOW, HIGH])
    check(names(found)[-1] == "point", f"collapsed: {found}")
    marks = [row["collapsed"] for row in found["runs"]]
    check(marks == [False, False, True], f"collapsed: {found}")
    out = rank("collapsed", [point, LOW, HIGH]).out
    check("! 1 run has collapsed" in out and "6/6 !" in out, f"collapsed: {out}")
    point = make("worst", [0.001] * 6, knn=0.1, loss__lambda=0.01)
    path = point / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss"', '"collapse": 0.98, "loss"'))
    found, _ = ranked("collapsed", [point, LOW, MIDDLE, HIGH])
    check(math.isclose(found["spearman_knn_top1"], 0.5), f"a collapsed run correlates: {found}")


def test_ties():
    """Equal accuracies share ranks: scipy.stats.spearmanr([-4, -3, -2, -1], [1, 2, 2, 3])."""
    runs = [make(f"tie{i}", [4 - i], knn=[0.1, 0.2, 0.2, 0.3][i]) for i in range(4)]
    found, _ = ranked("ties", runs)
    check(
        math.isclose(found["spearman_knn_top1"], 0.9486832980505138, rel_tol=1e-14),
        f"ties: {found}",
    )
    check(found["spearman_linear_top1"] is None, f"no probe: {found}")


def test_linear():
    """By the last evaluations; where a run has been probed, by what `probe` printed alone."""
    runs = [
        make(f"linear{i}", [4 - i], knn=0.5, linear=[0.3, 0.1, 0.2][i], loss__lambda=0.05)
        for i in range(3)
    ]
    found, _ = ranked("linear", runs)
    accuracies = {row["run"]: row["linear_top1"] for row in found["runs"]}
    check(list(accuracies.values()) == [0.2, 0.1, 0.3], f"linear: {found}")
    check(found["linear_top1_from"] == "metrics.jsonl", f"linear: {found}")
    check(math.isclose(found["spearman_linear_top1"], -0.5), f"linear: {found}")
    found, _ = ranked("probed, too", [*runs, LOW, HIGH], "alpha=0")
    known = [row["linear_top1"] for row in found["runs"] if row["linear_top1"] is not None]
    check(known == [0.81, 0.83], f"probed, too: {found}")
    check(found["linear_top1_from"] == "probe.json", f"probed, too: {found}")
    check(found["spearman_linear_top1"] == -1, f"probed, too: {found}")


def test_epoch():
    """An unfinished run; its last epoch of samples begins in the middle. One with less than an
    epoch; one with batches that no epoch is a multiple of; one whose last update was skipped."""
    found, ended = ranked("unfinished", [make("unfinished", [9, 9, 0.6, 0.3, 0.3])])
    row = found["runs"][0]
    check(
        math.isclose(row["loss"], 0.4) and not row["finished"] and row["step"] == 5,
        f"unfinished: {row}",
    )
    table = rank("unfinished", [here / "unfinished"]).out
    check("5/6*" in table and "1 run is not finished" in table, f"unfinished: {table}")
    found, _ = ranked("short", [make("short", [0.5, 0.25])])
    check(found["runs"][0]["loss"] == 0.375, f"short: {found}")
    found, _ = ranked("ragged", [make("ragged", [9, 1, 2, 3], batch=20)])
    check(found["runs"][0]["loss"] == 2 and found["runs"][0]["steps"] == 5, f"ragged: {found}")
    skipped = make("skipped", [9, 9, 9, 1, 2])
    with open(skipped / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 6, "epoch": 2, "loss": null, "skipped": true}\n{"step": 7, "epo')
    found, _ = ranked("skipped", [skipped])
    check(found["runs"][0]["loss"] == 4, f"skipped: {found}")


# ---- what is refused and left out ----------------------------------------------------------------


def test_refused():
    for key, value in (
        ("batch.size", 24),
        ("views.local", 2),
        ("views.blur", 0.25),
        ("sigreg.grid", "b"),
        ("loss.combine", "additive"),
        ("data.where", "split=0"),
        ("data.nan", "zero"),
        ("eval.holdout", 10),
    ):
        other = make(key, [1, 1, 1, 1, 1, 1], **{key: value})
        ended = rank(key, [LOW, other], code=2)
        check(
            not ended.out and f"has {key}={value}" in "".join(ended.errors),
            f"{key}: {ended.errors} {ended.out}",
        )
        ended = rank(key, [LOW, other], "force=1")
        check(len(ended.warnings) == 1 and key in ended.warnings[0], f"force: {ended.warnings}")


def test_other_encoders():
    other = make("resnet", [1, 1, 1, 1, 1, 1], model="resnet18", optim__lr=0.001)
    found, ended = ranked("encoders", [LOW, other])
    check(sorted(names(found)) == ["low", "resnet"], f"encoders: {found}")
    check(
        len(ended.warnings) == 1 and "differ in model:" in ended.warnings[0],
        f"encoders: {ended.warnings}",
    )
    ended = rank("precision", [LOW, make("bf16", [1], precision="bf16")])
    check(any("differ in precision:" in line for line in ended.warnings), f"{ended.warnings}")


def test_left_out():
    (here / "empty").mkdir()
    silent = make("silent", [])
    flat = make("flat", [1, 1, 1], loss__lambda=0)
    vicreg = make("vicreg", [1, 1, 1], objective="vicreg")
    future = make("future", [1, 1, 1], some__key=1)
    out = [here / "empty", silent, flat, vicreg, future, here / "absent"]
    found, ended = ranked("left out", [*out, LOW])
    check(names(found) == ["low"], f"left out: {found}")
    check(found["left_out"] == [str(path) for path in out], f"left out: {found}")
    for path, warning in zip(out, ended.warnings):
        check(str(path) in warning, f"{path}: {warning}")
    ended = rank("none left", out, code=3, ranks=2)
    check("none of 6 directories" in "".join(ended.errors), f"none left: {ended.errors}")
    found, _ = ranked("vicreg by its loss", [vicreg], "alpha=0")
    check(names(found) == ["vicreg"], f"vicreg by its loss: {found}")
    rank("no words", [], code=2)


def test_output():
    """What cannot be printed is an error, not a gap."""
    bad = make("bad\udcff", [1])
    ended = rank("no UTF-8", [LOW, bad], "json=1", code=3)
    check(not ended.out and "no UTF-8" in "".join(ended.errors), f"no UTF-8: {ended.errors}")
    ended = rank("no UTF-8, left out", [LOW, "absent\udcff"], "json=1", code=3)
    rank("no UTF-8, table", [LOW, bad])
    for words in ([LOW, MIDDLE], [LOW, MIDDLE, "json=1"]):
        ended = run(["rank", *words], wrap=program.OUTPUT_FULL)
        check(ended.code == 6, f"output full: {ended.code}: {ended.tail()}")
        check("standard output" in "".join(ended.errors), f"output full: {ended.errors}")


def test_real_runs():
    """What train writes; a directory whose name looks like a setting is one behind a slash."""
    archive = program.archive(here / "archive.h5")
    words = [f"data.archive={archive}", "data.where=split=0", "train.epochs=2", "log.every=1"]
    for weight in ("0.02", "0.2"):
        ended = program.train(
            here / f"lambda={weight}",
            *words,
            f"loss.lambda={weight}",
            "eval.every=6",
            "eval.where=split=1",
        )
        check(ended.code == 0, f"train: {ended.tail()}")
    found, ended = ranked("real", [here / "lambda=0.02", here / "lambda=0.2"])
    check(not ended.warnings and len(names(found)) == 2, f"real: {found} {ended.warnings}")
    for row in found["runs"]:
        losses = [line["loss"] for line in program.metrics(row["run"]) if "loss" in line][-3:]
        check(math.isclose(row["loss"], sum(losses) / 3, rel_tol=1e-14), f"real: {row} {losses}")
        check(row["finished"] and row["steps"] == 6 and row["knn_top1"] is not None, f"real: {row}")


def test_protocols():
    """Accuracies of other layers or weights have no common order; a probe's are not concerned."""
    one = [make(f"one-{k}", [k] * 6, knn=k / 9, linear=k / 8) for k in (1, 2, 3)]
    layers = make("layers", [4] * 6, knn=0.1, linear=0.2, eval__layers=2)
    average = make("average", [5] * 6, knn=0.1, linear=0.2, train__average=0.9)
    found, ended = ranked("one protocol", one)
    check(None not in correlations(found) and not ended.warnings, f"one protocol: {found}")
    for other in (layers, average):
        found, ended = ranked("protocols", [*one, other])
        check(correlations(found) == [None, None], f"{other}: {found}")
        check("do not compare" in "".join(ended.warnings), f"{other}: {ended.warnings}")
        check("Spearman" not in rank("protocols", [*one, other]).out, f"{other}: in the table")
    probed = [make(f"probed-{k}", [k] * 6, probe=k / 8, eval__layers=k) for k in (1, 2)]
    found, ended = ranked("probed", probed)
    check(not ended.warnings and found["spearman_linear_top1"], f"probed: {found}")


test_order()
test_protocols()
test_table()
test_collapsed()
test_ties()
test_linear()
test_epoch()
test_refused()
test_other_encoders()
test_left_out()
test_output()
test_real_runs()
program.finish()
