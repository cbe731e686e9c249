#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scale.html: one page without scripts that loads nothing from elsewhere; every figure has a table,
whose numbers are those of scale.json, and predictions say that they are."""

import json
import shutil

import program
from pages import read_page, without_gnuplot
from program import TINY, check, run

holder, here = program.scratch()
archive = program.archive(here / "archive.h5", count=96)
WORDS = [*TINY, f"data.archive={archive}", "batch.size=32", "steps=2"]
FIGURES = "step efficiency exposed bytes messages imbalance".split()


def number(text):
    return None if text == "-" else float(text)


def agree(cell, value):
    """Six digits of a number; yes or no."""
    if isinstance(value, bool):
        return cell == ("yes" if value else "no")
    if value is None:
        return cell == "-"
    return abs(number(cell) - value) <= 1e-5 * abs(value)


def value_of(rung, column):
    if column.startswith("predicted_"):
        return (rung["prediction"] or {}).get(column.removeprefix("predicted_"))
    return rung.get(column)


def check_table(what, rows, found):
    """Of a figure: measured rungs, then predictions, in the order of scale.json."""
    rungs = [(rung, rung["mode"]) for rung in found["rungs"]]
    if any(column.startswith("predicted_") for column in rows[0]):
        rungs += [(rung, f"{rung['mode']}, prediction") for rung in found["predictions"]]
    if not check(len(rows) == 1 + len(rungs), f"{what}: {len(rows)} rows"):
        return
    for row, (rung, heading) in zip(rows[1:], rungs):
        check(row[0] == heading, f"{what}: {row[0]}, expected {heading}")
        for column, cell in zip(rows[0][1:], row[1:]):
            wanted = value_of(rung, column)
            check(agree(cell, wanted), f"{what}, {heading}: {column} {cell}, expected {wanted}")


def check_page(what, out):
    """Returns the page and the object beside it."""
    found = json.loads((out / "scale.json").read_text(encoding="utf-8"))
    page = read_page(what, out / "scale.html")
    check(len(page.figures) == len(FIGURES), f"{what}: {len(page.figures)} figures")
    for name, tables in zip(FIGURES, page.figure_tables):
        check(len(tables) == 1, f"{what}, {name}: {len(tables)} tables")
        check_table(f"{what}, {name}", tables[0], found)
    for rung in [*found["rungs"], *found["predictions"]]:
        bound = (rung["prediction"] or {"bound": "-"})["bound"]
        mark = "" if rung.get("measured", True) else ", prediction"
        text = f"{rung['mode']}, ranks: {rung['ranks']}{mark}: {bound}"
        check(text in page.text, f"{what}: the page does not say: {text}")
    for word in (*found["settings"], *found["settings"].values(), found["processor"]):
        check(word in page.text, f"{what}: no {word} in the page")
    if shutil.which("gnuplot"):
        check(len(page.images) == len(FIGURES), f"{what}: {len(page.images)} pictures")
    return page, found


# ---- scale ---------------------------------------------------------------------------------------


def test_page():
    ended = run(["scale", *WORDS, "predict=8,64", f"out={here}/page"], 2)
    check(ended.code == 0, f"the page: exit code {ended.code}: {ended.tail()}")
    page, found = check_page("the page", here / "page")
    check(len(found["predictions"]) == 4, f"the page: {len(found['predictions'])} predictions")
    check("as fast as the memory of a node" in page.text, "the page: says nothing of guesses")


def test_without_gnuplot():
    """The tables are there; so is how to draw."""
    words = ["scale", *WORDS, "mode=strong", f"out={here}/bare"]
    ended = run(words, 1, env=without_gnuplot(here / "programs"))
    check(ended.code == 0, f"without gnuplot: exit code {ended.code}: {ended.tail()}")
    page = read_page("without gnuplot", here / "bare/scale.html")
    check(page.images == [] and "in the directory of this page" in page.text, "without gnuplot")
    check(len(page.figures) == len(FIGURES), f"without gnuplot: {len(page.figures)} figures")


test_page()
test_without_gnuplot()
program.finish()
