#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ViT-Ti/8 at 64 px with the recipe's batch of 1024 views: two ranks against one, one rank of two
threads against two ranks, and the exact reduction against the fast one. Runs take turns, so that a
disturbance meets all of them. Then what the busiest rank sends in a step where ranks are not a
power of two. Prints lines of JSON.

    bench_ranks.py PROGRAM MPIRUN ARCHIVE

ARCHIVE: any images; they are resized to 64 px.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
ROUNDS, STEPS, SAMPLES = (1, 2, 16) if SHORT else (3, 4, 256)
SETTINGS = ["data.size=64", "model=vit_tiny", "model.patch=8", "views.global=4", "views.local=0",
            "precision=auto", f"batch.size={SAMPLES}", f"train.steps={STEPS}", "data.labels=none"]
if SHORT:
    SETTINGS += ["model.depth=1", "projector.hidden=32", "sigreg.slices=16"]
# Of the second part: ranks and lanes. 128 lanes fit 32 and 64 ranks, 96 lanes the others.
UNEVEN = [(2, 4), (3, 5)] if SHORT else [(32, 128), (48, 128), (64, 128), (96, 128), (48, 512),
                                                 (48, 96), (96, 96)]
SMALL = ["model=vit_small", "model.depth=2", "projector.hidden=128", "sigreg.slices=16",
         "views.global=2", "views.local=0", "train.steps=1", "threads=1", "data.labels=none"]
MANNERS = {  # ranks, settings
    "one": (1, ["threads=1"]),
    "two": (2, ["threads=1"]),
    "threads": (1, ["threads=2"]),
    "fast": (2, ["threads=1", "reduce=fast"]),
}


def train(program, mpirun, archive, ranks, settings):
    """Of a run: timing.json and the log."""
    with tempfile.TemporaryDirectory() as here:
        run = subprocess.run([mpirun, "-n", str(ranks), "--bind-to", "none", program,
                              f"data.archive={archive}", f"run.dir={here}/run", *settings],
                             stderr=subprocess.PIPE, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{ranks} ranks, {settings}: exit code {run.returncode}\n{run.stderr}")
        with open(f"{here}/run/timing.json", encoding="ascii") as file:
            return json.load(file), run.stderr


def rate(program, mpirun, archive, manner):
    """GFLOP/s of a run over all its steps."""
    ranks, settings = MANNERS[manner]
    return train(program, mpirun, archive, ranks, SETTINGS + settings)[0]["gflops"]


def report_uneven(program, mpirun, archive, ranks, lanes):
    """What the plan in the log says about one run of one-sample lanes."""
    settings = SMALL + [f"batch.size={lanes}", f"batch.lanes={lanes}"]
    log = train(program, mpirun, archive, ranks, settings)[1]
    sums = re.search(r"make a rank send up to (\d+) sums", log)
    sent = re.search(r"sends at most (\d+) messages with (\d+) bytes", log)
    print(json.dumps({
        "name": "sent by the busiest rank in a step", "ranks": ranks, "lanes": lanes,
        "sums_of_a_bucket": int(sums[1]) if sums else 1, "messages": int(sent[1]),
        "bytes": int(sent[2])}), flush=True)


def report(rates, name, manner, against, target):
    pairs = [a / b for a, b in zip(rates[manner], rates[against])]
    ranks, settings = MANNERS[manner]
    print(json.dumps({
        "name": name, "shape": f"ViT-Ti/8, {SAMPLES} samples x 4 views of 64 px", "ranks": ranks,
        "threads": 2 if "threads=2" in settings else 1,
        "median": round(statistics.median(rates[manner]), 1), "unit": "GFLOP/s",
        "reference": round(statistics.median(rates[against]), 1),
        "ratio": round(statistics.median(pairs), 3), "against": against, "target": target}),
        flush=True)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    rates = {manner: [] for manner in MANNERS}
    for _ in range(ROUNDS):
        for manner in MANNERS:
            rates[manner].append(rate(*sys.argv[1:], manner))
    report(rates, "two ranks against one", "two", "one", 1.9)
    report(rates, "one rank of two threads against two ranks", "threads", "two", 0.95)
    report(rates, "exact reduction against fast", "two", "fast", 0.95)
    for ranks, lanes in UNEVEN:
        report_uneven(*sys.argv[1:], ranks, lanes)


main()
