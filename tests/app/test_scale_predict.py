#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scale probe=net measures the links between ranks; scale predicts each rung and other numbers of
ranks, marked as predictions wherever they stand; what cannot be is refused, and a failing rank ends
all."""

import csv
import json

import program
from program import TINY, check, run

holder, here = program.scratch()
archive = program.archive(here / "archive.h5", count=96)
WORDS = [*TINY, f"data.archive={archive}", "batch.size=32", "steps=2"]
PATTERNS = {"pairs", "post", "exchange", "allreduce"}


def scale(what, *words, ranks=2, code=0, **more):
    ended = run(["scale", *words], ranks, **more)
    check(ended.code == code, f"{what}: exit code {ended.code}, expected {code}: {ended.tail()}")
    return ended


def check_network(network, ranks):
    program.has_keys("the network", network, "ranks nodes ranks_per_node levels samples")
    check(network["ranks"] == ranks and network["nodes"] == 1, f"{ranks} ranks: {network['nodes']}")
    node, between = network["levels"]
    check(node["measured"] and not between["measured"], f"levels {network['levels']}")
    program.has_keys("a level", node, "L_s o_s g_s G_s_per_byte G_exchange_s_per_byte sum_round_s")
    check(all(value >= 0 for key, value in node.items() if key not in ("level", "measured")),
          f"a parameter is below 0: {node}")
    check({sample["pattern"] for sample in network["samples"]} == PATTERNS, "patterns are missing")
    for sample in network["samples"]:
        check(0 < sample["low_s"] <= sample["seconds"] <= sample["high_s"]
              and sample["repeats"] >= 3 and sample["model_s"] > 0, f"sample {sample}")


def test_probe():
    found = json.loads(scale("probe=net", "probe=net", "json=1", f"out={here}/net", ranks=3).out)
    check_network(found, 3)
    with open(here / "net/network.json", encoding="utf-8") as file:
        check(json.load(file) == found, "network.json is not what was printed")
    table = scale("the table", "probe=net").out
    check(all(word in table for word in (*PATTERNS, "L us", "model")), f"table: {table[:400]}")


def check_prediction(what, found):
    """The parts of a step are the step, the lines of its ledger are what is exposed."""
    program.has_keys(what, found, "step_s efficiency exposed_s ledger bound")
    parts = sum(found[key] for key in ("arithmetic_s", "update_s", "data_s", "rest_s", "exposed_s"))
    exposed = sum(entry["exposed_s"] for entry in found["ledger"])
    check(abs(parts / found["step_s"] - 1) < 1e-6, f"{what}: parts {parts} of {found['step_s']}")
    check(abs(exposed - found["exposed_s"]) <= 1e-6 * exposed, f"{what}: exposed {exposed}")
    check(found["bound"].startswith("bound by "), f"{what}: {found['bound']}")


def check_rung(rung):
    """Bytes and messages of the model are those that moved."""
    what = f"{rung['mode']}, {rung['ranks']} ranks"
    check(rung["predicted_s"] == rung["prediction"]["step_s"], f"{what}: predicted_s")
    check_prediction(what, rung["prediction"])
    moved = rung["bytes"] if rung["ranks"] > 1 else 0
    counted = rung["prediction"]["bytes"]
    check(moved == counted, f"{what}: {moved} bytes moved, the model counts {counted}")
    counted = rung["prediction"]["messages"]
    check(rung["messages"] == counted, f"{what}: {rung['messages']} messages, not {counted}")


def test_predictions():
    found = json.loads(scale("predict=", *WORDS, "predict=8,64", "json=1", f"out={here}/all").out)
    check_network(found["network"], 2)
    for rung in found["rungs"]:
        check_rung(rung)
    rows = found["predictions"]
    check([(row["mode"], row["ranks"]) for row in rows]
          == [("strong", 8), ("strong", 64), ("weak", 8), ("weak", 64)], f"rows {rows}")
    for row in rows:
        what = f"{row['mode']}, {row['ranks']} ranks, predicted"
        check(row["measured"] is False and row["guesses_network"] is True, f"{what}: unmarked")
        check_prediction(what, row["prediction"])
        batch = 32 if row["mode"] == "strong" else 16 * row["ranks"]
        check(row["batch"] == batch and row["nodes"] == row["ranks"] // 2, f"{what}: {row}")
    check_files(found)


def check_files(found):
    with open(here / "all/scale.csv", newline="", encoding="ascii") as file:
        lines = list(csv.DictReader(file))
    marks = [line["row"] for line in lines]
    check(marks == ["measured"] * 4 + ["prediction"] * 4, f"the CSV has {marks}")
    for line, row in zip(lines[4:], found["predictions"]):
        check(line["step_s"] == "" and line["mode"] == row["mode"]
              and abs(float(line["predicted_s"]) / row["predicted_s"] - 1) < 1e-6, f"line {line}")
    for name in ("scale-step", "scale-efficiency"):
        script = (here / f"all/{name}.gp").read_text(encoding="utf-8")
        check("title 'weak, prediction'" in script and "64" in script, f"{name}: no prediction")


def test_one_rank():
    """Nothing is known of a network: only itself is predicted."""
    found = json.loads(scale("one rank", *WORDS, "mode=strong", "json=1", ranks=1).out)
    rung = found["rungs"][0]
    check(abs(rung["predicted_s"] / rung["step_s"] - 1) < 0.05, f"one rank: {rung['predicted_s']}")
    silent = found["predictions"] == [] and rung["prediction"]["ledger"] == []
    check(silent, "one rank communicates")


def test_gathering():
    """What SimCLR gathers and compares grows with the batch as no sum does: no number is given."""
    out = here / "gathering"
    words = ["objective=simclr", "mode=strong", "predict=8", f"out={out}"]
    ended = scale("simclr", *WORDS, *words)
    with open(out / "scale.json", encoding="utf-8") as file:
        found = json.load(file)
    for row in found["rungs"] + found["predictions"]:
        nothing = row["predicted_s"] is None and row["prediction"] is None
        check(nothing, f"simclr is predicted: {row['predicted_s']}")
    said = [line for line in ended.out.splitlines() if "not predicted: the objective" in line]
    check(len(said) == 3 and "MPI_Allgatherv" in said[0], f"simclr: it says {said}")


def test_refused():
    for what, words, ranks, text in (
        ("one rank has no links", ["probe=net"], 1, "probe=net"),
        ("one rank predicts none", [*WORDS, "predict=64"], 1, "predict=64"),
        ("not ascending", [*WORDS, "predict=64,8"], 2, "predict=64,8"),
        ("no number", [*WORDS, "predict=many"], 2, "predict=many"),
        ("too many ranks", [*WORDS, "predict=1000000"], 2, "65536"),
    ):
        ended = scale(what, *words, ranks=ranks, code=2)
        check(len(ended.errors) == 1 and text in ended.errors[0], f"{what}: {ended.tail()}")


def test_failing_rank():
    ended = scale("a rank fails", "probe=net", ranks=3, code=6, env={"LJ_FAULT": "network:2:-1"})
    check("rank 2" in ended.tail(), f"a rank fails: {ended.tail()}")


test_probe()
test_predictions()
test_one_rank()
test_gathering()
test_refused()
test_failing_rank()
program.finish()
