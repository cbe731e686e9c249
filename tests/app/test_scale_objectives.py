#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scale objectives=: measured bytes are those of the formulas on one and two ranks, exponents have
intervals, files hold what is printed, kNN is that of the runs, and what cannot be is refused."""

import csv
import json
import re

import program
from program import TINY, check, run

holder, here = program.scratch()
archive = program.archive(here / "archive.h5", count=96)
WORDS = [*TINY, f"data.archive={archive}", "batch.size=16", "steps=2"]
NAMES = ["lejepa", "byol", "dino", "simclr", "vicreg"]


def compare(what, *words, ranks=1, code=0, **more):
    ended = run(["scale", *WORDS, *words], ranks, **more)
    check(ended.code == code, f"{what}: exit code {ended.code}, expected {code}: {ended.tail()}")
    return ended


def by_name(found):
    return {row["objective"]: row for row in found["objectives"]}


# ---- tests ---------------------------------------------------------------------------------------


def check_bytes(what, row):
    check(row["traffic"], f"{what}: no messages")
    for message in row["traffic"]:
        check(
            message["bytes"] == message["formula_bytes"] > 0 and message["calls"] == 1,
            f"{what}: {message}",
        )
    moved = sum(entry["bytes"] for entry in row["traffic"])
    check(row["bytes"] >= moved, f"{what}: {row['bytes']} bytes of a step, its messages {moved}")
    alone = row["objective"] not in ("byol", "dino")  # their heads and targets are the trainer's
    check(bool(row["points"]) == alone, f"{what}: measured alone")
    for point in row["points"]:
        check(point["bytes"] == point["formula_bytes"] > 0, f"{what} alone: {point}")


def expected(ranks):
    """Bytes of the tiny model: N = 16, D = 8, M = 8, V = 3, and K = 16 knots."""
    return {
        "lejepa": [8 * (2 * 3 * 8 * 16 + 6)],
        "byol": [8 * (8 + 6)],
        "dino": [8 * (4096 + 8)],
        "simclr": [8 * (8 + 6), 4 * 3 * 8 * 16 // ranks, 8 * 3 * 16 // ranks],
        "vicreg": [8 * (3 * (8 + 36) + 6)],
    }


def check_row(what, row, ranks):
    program.has_keys(
        what,
        row,
        "text heuristics ranks step_s step_s_low step_s_high exposed_s loss_share memory_bytes "
        "flops collectives messages bytes traffic exponents_formula exponents_measured points "
        "training ledger",
    )
    check(row["ranks"] == ranks, f"{what}: {row['ranks']} ranks")
    check(0 < row["step_s_low"] <= row["step_s"] <= row["step_s_high"], f"{what}: times {row}")
    check(0 < row["loss_share"] < 1, f"{what}: share of the loss {row['loss_share']}")
    check(row["memory_bytes"] > 1 << 16 and row["flops"] > 1e5, f"{what}: memory, FLOP")
    check(row["heuristics"] and row["training"] is None, f"{what}: heuristics, training")
    check_bytes(what, row)


def check_exponents(rows, ranks):
    for source in ("exponents_formula", "exponents_measured"):
        for along in "ND":
            lejepa = rows["lejepa"][source][along]
            check(abs(lejepa["exponent"]) < 1e-6, f"{source}: lejepa in {along}: {lejepa}")
    for along in "NDP":
        dino = rows["dino"]["exponents_formula"][along]
        check(abs(dino["exponent"]) < 1e-6, f"dino in {along}: {dino}")
        simclr, vicreg = rows["simclr"][source]["N"], rows["vicreg"][source]["D"]
        check(0.9 < simclr["low"] <= simclr["high"] < 1.05, f"{source}: simclr in N: {simclr}")
        check(1.7 < vicreg["exponent"] < 2.0, f"{source}: vicreg in D: {vicreg}")
    of_ranks = rows["lejepa"]["exponents_measured"]["P"]
    check((of_ranks["exponent"] is None) == (ranks == 1), f"measured in P: {of_ranks}")
    check(of_ranks["low"] is None, f"measured in P, {ranks} ranks: an interval {of_ranks}")


def check_sigreg(sigreg):
    check(len(sigreg["times"]) == 27, f"sigreg: {len(sigreg['times'])} times")
    check(all(row["seconds"] > 0 for row in sigreg["times"]), "sigreg: seconds")
    for factor in "NMD":
        found = sigreg["exponents"][factor]
        check(found["low"] < found["exponent"] < found["high"], f"sigreg in {factor}: {found}")
    check(0.5 < sigreg["exponents"]["N"]["exponent"] < 1.5, f"sigreg: {sigreg['exponents']}")


def check_files(where, found):
    check(json.loads((where / "objectives.json").read_text()) == found, "objectives.json")
    with open(where / "objectives.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    check([row["objective"] for row in rows] == [row["objective"] for row in found["objectives"]],
          f"objectives.csv: {rows}")
    for row, object_ in zip(rows, found["objectives"]):
        moved = sum(entry["bytes"] for entry in object_["traffic"])
        check(int(row["objective_bytes"]) == int(row["objective_formula_bytes"]) == moved,
              f"objectives.csv: {row}")
        check(float(row["step_s"]) == object_["step_s"], f"objectives.csv: {row}")


def test_all():
    sizes = {}
    for ranks in (1, 2):
        where = here / f"all-{ranks}"
        words = ["objectives=all", "json=1", f"out={where}"]
        found = json.loads(compare(f"all, {ranks}", *words, ranks=ranks).out)
        program.has_keys("the object", found, "program ranks model settings objectives sigreg")
        rows = by_name(found)
        check(set(NAMES) <= set(rows) and "supervised" not in rows, f"objectives {list(rows)}")
        for name in NAMES:
            check_row(f"{name}, {ranks} ranks", rows[name], ranks)
            moved = [message["bytes"] for message in rows[name]["traffic"]]
            check(moved == expected(ranks)[name], f"{name}, {ranks} ranks: {moved} bytes")
        check_exponents(rows, ranks)
        check_sigreg(found["sigreg"])
        check_files(where, found)
        sizes[ranks] = {name: sum(m["bytes"] for m in rows[name]["traffic"]) for name in NAMES}
    check(sizes[1]["lejepa"] == sizes[2]["lejepa"], f"lejepa's bytes depend on ranks: {sizes}")
    check(sizes[1]["simclr"] > sizes[2]["simclr"], f"simclr's bytes do not: {sizes}")


def test_uneven():
    """Two lanes on one rank and one on the other: the formula is of the rank with most."""
    found = json.loads(
        compare("uneven", "objectives=simclr", "json=1", "batch.size=24", ranks=2).out
    )
    check_bytes("uneven", by_name(found)["simclr"])


def test_table():
    ended = compare("table", "objectives=vicreg,lejepa")
    lines = [line.split()[0] for line in ended.out.splitlines() if line.strip()]
    check(lines.count("vicreg") == lines.count("lejepa") == 4, f"table: {ended.out}")
    check(lines.index("vicreg") < lines.index("lejepa"), f"table: another order: {ended.out}")
    check("8 (2 V M K + 6)" in ended.out and "simclr" not in lines, f"table: {ended.out}")


def test_training():
    words = ["objectives=lejepa,vicreg", "eval.every=2", "eval.where=split=1", "train.steps=6"]
    words += ["data.where=split=0", f"out={here}/knn"]
    found = json.loads(compare("training", *words, "json=1", ranks=2).out)
    rows = by_name(found)
    fastest = min(row["training"]["seconds"] for row in rows.values())
    for name, row in rows.items():
        training = row["training"]
        lines = program.metrics(here / f"knn/objective-{name}")
        scores = [line["knn_top1"] for line in lines if "knn_top1" in line]
        check(training["steps"] == 6 and len(scores) == 3, f"{name}: {training}, {scores}")
        check(abs(training["knn_top1"] - scores[-1]) < 1e-6, f"{name}: {training}, {scores}")
        check(abs(training["within_s"] - fastest) < 1e-6, f"{name}: {training}")
        within = training["knn_top1_within"]
        known = within is None or any(abs(within - score) < 1e-6 for score in scores)
        check(known, f"{name}: {training}, {scores}")
        if training["seconds"] == fastest:
            check(within == training["knn_top1"], f"{name} is the fastest: {training}")
    ended = compare("the same directory", *words, ranks=1, code=2)
    check("earlier comparison" in ended.errors[0], f"the same directory: {ended.tail()}")


def test_refused():
    for what, words, word in (
        ("an unknown one", ["objectives=moco"], "moco"),
        ("labels", ["objectives=lejepa,supervised"], "labels"),
        ("one twice", ["objectives=lejepa,lejepa"], "twice"),
        ("numbers of ranks", ["objectives=all", "ranks=1"], "ranks"),
        ("a prediction", ["objectives=all", "predict=64"], "predict"),
        ("training without a place", ["objectives=all", "eval.every=2"], "out="),
        ("two averages", ["objectives=all", "train.average=0.9"], "objective=byol"),
        ("one prototype", ["objectives=all", "dino.prototypes=1"], "dino.prototypes"),
        ("one view", ["objectives=all", "views.global=1", "views.local=0"], "views.global"),
    ):
        ended = compare(what, *words, code=2)
        check(len(ended.errors) == 1 and word in ended.errors[0], f"{what}: {ended.tail()}")
        check("a step takes" not in ended.err, f"{what}: refused after work: {ended.tail()}")
    compare("no directory", "objectives=all", "out=/dev/null/scale", code=6)
    compare("a predictor of one", "objectives=lejepa,byol", "predictor.hidden=8")
    ended = compare("prototypes of one", "objectives=byol,dino", "dino.prototypes=24")
    check("8 (dino.prototypes + 8)" in ended.out, f"prototypes of one: {ended.out}")
    check(re.search(r"^dino +dino .* 256 +256 ", ended.out, re.M), f"24 prototypes: {ended.out}")


def test_faults():
    """A rank that fails ends all, and what was measured before stays."""
    words = ["objectives=lejepa,vicreg", "eval.every=2", "train.steps=4", "json=1"]
    words += ["eval.where=split=1", "data.where=split=0", f"out={here}/fault"]
    fault = "evaluate:1:2"
    ended = compare(fault, *words, ranks=2, code=6, env={"LJ_FAULT": fault})
    check(len(ended.errors) == 1 and "rank 1" in ended.errors[0], f"{fault}: {ended.tail()}")
    kept = json.loads((here / "fault/objectives.json").read_text())
    check(set(by_name(kept)) == {"lejepa", "vicreg"}, f"{fault}: kept {list(by_name(kept))}")
    fault = "step:1:3:stall"
    stalls = {"ranks": 2, "code": 7, "env": {"LJ_FAULT": fault}}
    compare(fault, words[0], f"out={here}/stall", "guard.stall_s=2", **stalls)
    check(not (here / "stall/objectives.json").exists(), f"{fault}: nothing measured, but written")
    fault = "evaluate:1:2:stall"
    words[-1] = f"out={here}/stall-knn"
    stalls["env"] = {"LJ_FAULT": fault}
    compare(fault, *words, "guard.stall_s=2", **stalls)
    kept = json.loads((here / "stall-knn/objectives.json").read_text())
    check(set(by_name(kept)) == {"lejepa", "vicreg"}, f"{fault}: kept {list(by_name(kept))}")
    fault = "setup:1:-1"
    ended = compare(fault, "objectives=all", ranks=2, code=6, env={"LJ_FAULT": fault})
    check(ended.out == "", f"{fault}: nothing is measured, but reported: {ended.out}")


TESTS = (
    test_all,
    test_uneven,
    test_table,
    test_training,
    test_refused,
    test_faults,
)
for test in TESTS:
    test()
program.finish()
