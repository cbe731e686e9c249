#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does one recipe train every family of encoders? Three seeds of a ResNet-18, a ConvNeXt-V2 atto
and a ViT of about equal FLOPs on each archive at 28 px, and one run of each with lambda 0, which
must collapse. A line of JSON a run is added to OUT, and what is there already is not run again; the
last thing printed is the table. Exit 1 when a run with the recipe's lambda collapsed, or one with 0
did not.

    stability.py PROGRAM MPIRUN OUT ARCHIVE... [KEY=VALUE...]

Collapsed: SIGReg a sample within 10 % of its value where all projections are one point.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
RECIPE = ["data.size=28", "data.where=split=0", "views.global=4", "views.local=0",
          "views.global_scale=0.6,1", "projector.hidden=512", "loss.lambda=0.05",
          "sigreg.slices=256", "batch.size=64", "optim.lr=1e-3", "train.epochs=5", "log.every=20"]
FAMILIES = {
    "resnet18": ["model=resnet18", "model.stem=large"],
    "convnextv2_atto": ["model=convnextv2_atto", "model.patch=2"],
    "vit": ["model=vit", "model.width=96", "model.depth=6", "model.heads=3", "model.patch=4"],
}
SEEDS = (0, 1, 2)
if SHORT:  # one run each way
    FAMILIES, SEEDS = {"vit": FAMILIES["vit"]}, (0,)
COLLAPSED = 0.4020475797  # SIGReg a sample where all projections are 0, the default grid
TINY = ["data.size=16", "model.width=8", "model.depth=1", "views.global=2", "batch.size=16",
        "train.steps=20", "log.every=5", "projector.hidden=8", "sigreg.slices=8"]


def launch(mpirun, program, words, ranks):
    run = subprocess.run([mpirun, "-n", str(ranks), "--bind-to", "none", program, *words],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{words}: exit code {run.returncode}\n{run.stderr}")
    return run.stdout


def score(mpirun, program, archive, run, ranks):
    """kNN and linear accuracy and the effective rank of the test rows."""
    files = []
    for split in (0, 1):
        files.append(f"{run}/split{split}.h5")
        launch(mpirun, program, ["embed", f"checkpoint={run}", f"data.archive={archive}",
                                 f"data.where=split={split}", f"out={files[-1]}"], ranks)
    probe = json.loads(launch(mpirun, program, ["probe", f"train={files[0]}", f"test={files[1]}",
                                                "json=1"], ranks))
    spectrum = json.loads(launch(mpirun, program, ["diagnose", files[1], "json=1"], ranks))
    return {"knn": probe["knn_top1"], "linear": probe["linear_top1"],
            "effective_rank": spectrum["effective_rank"]}


def measure(mpirun, program, archive, words, batch):
    """One run: SIGReg a sample at its end, scores, seconds of training."""
    ranks = os.cpu_count()
    with tempfile.TemporaryDirectory() as here:
        run = f"{here}/run"
        launch(mpirun, program, ["train", f"data.archive={archive}", f"run.dir={run}", "threads=1",
                                 *words], ranks)
        with open(f"{run}/metrics.jsonl", encoding="ascii") as file:
            steps = [line for line in map(json.loads, file) if "sigreg" in line and "loss" in line]
        with open(f"{run}/timing.json", encoding="ascii") as file:
            rate = json.load(file)["samples_per_s"]
        last = statistics.median(step["sigreg"] for step in steps[-3:])
        return {"sigreg_a_sample": last / batch, "seconds": steps[-1]["step"] * batch / rate,
                **score(mpirun, program, archive, run, ranks)}


def wanted(archives):
    for archive in archives:
        for family in FAMILIES:
            for seed in SEEDS:
                yield archive, family, seed, None
            yield archive, family, SEEDS[0], "0"


def run_all(program, mpirun, out, archives, settings):
    done = {}
    if SHORT and os.path.exists(out):
        os.remove(out)
    if os.path.exists(out):
        with open(out, encoding="ascii") as file:
            rows = [json.loads(line) for line in file]
        done = {(r["archive"], r["family"], r["seed"], r["lambda"]): r for r in rows}
    for archive, family, seed, weight in wanted(archives):
        key = (os.path.basename(archive), family, seed, weight)
        if key in done:
            continue
        words = RECIPE + FAMILIES[family] + (TINY if SHORT else []) + settings + [f"seed={seed}"]
        if SHORT:
            words = [w for w in words if not w.startswith(("train.epochs", "model.heads"))]
        if weight is not None:
            words.append(f"loss.lambda={weight}")
        batch = int([w for w in words if w.startswith("batch.size=")][-1].split("=")[1])
        done[key] = {"archive": key[0], "family": family, "seed": seed, "lambda": weight,
                     **measure(mpirun, program, archive, words, batch)}
        with open(out, "a", encoding="ascii") as file:
            print(json.dumps(done[key]), file=file)
    return list(done.values())


def collapsed(row):
    return row["sigreg_a_sample"] > 0.9 * COLLAPSED


def table(rows):
    print("| archive | encoder | lambda | kNN | linear | effective rank | SIGReg a sample | "
          "seconds |\n|---|---|---|---|---|---|---|---|")
    groups = {}
    for row in rows:
        groups.setdefault((row["archive"], row["family"], row["lambda"]), []).append(row)
    for (archive, family, weight), group in groups.items():
        cells = [" ".join(form % row[key] for row in group) for key, form in
                 (("knn", "%.3f"), ("linear", "%.3f"), ("effective_rank", "%.1f"),
                  ("sigreg_a_sample", "%.3f"), ("seconds", "%.0f"))]
        print(f"| {archive} | {family} | {weight or 'recipe'} | {' | '.join(cells)} |")


def main():
    words = sys.argv[1:]
    settings = [word for word in words[3:] if "=" in word]
    archives = [word for word in words[3:] if "=" not in word]
    if not archives:
        sys.exit(__doc__)
    rows = run_all(*words[:3], archives, settings)
    table(rows)
    wrong = [row for row in rows if not SHORT and collapsed(row) != (row["lambda"] == "0")]
    for row in wrong:
        print(f"collapsed although it should not, or not although it should: {row}")
    sys.exit(1 if wrong else 0)


main()
