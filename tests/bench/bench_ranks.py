#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ViT-Ti/8 at 64 px with the recipe's batch of 1024 views: two ranks against one, one rank of two
threads against two ranks, and the exact reduction against the fast one. Prints lines of JSON. Runs
take turns, so that a disturbance meets all of them.

    bench_ranks.py PROGRAM MPIRUN ARCHIVE

ARCHIVE: any images; they are resized to 64 px.
"""
import json
import os
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
MANNERS = {  # ranks, settings
    "one": (1, ["threads=1"]),
    "two": (2, ["threads=1"]),
    "threads": (1, ["threads=2"]),
    "fast": (2, ["threads=1", "reduce=fast"]),
}


def rate(program, mpirun, archive, manner):
    """GFLOP/s of a run over all its steps."""
    ranks, settings = MANNERS[manner]
    with tempfile.TemporaryDirectory() as here:
        run = subprocess.run([mpirun, "-n", str(ranks), "--bind-to", "none", program,
                              f"data.archive={archive}", f"run.dir={here}/run", *SETTINGS,
                              *settings], stderr=subprocess.PIPE, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{manner}: exit code {run.returncode}\n{run.stderr}")
        with open(f"{here}/run/timing.json", encoding="ascii") as file:
            return json.load(file)["gflops"]


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


main()
