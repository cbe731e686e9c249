#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is pretraining on an archive's own images worth? One encoder, pretrained without labels on
its training rows, beside the same encoder untrained and trained on all labels, raw pixels, and
principal components of pixels. Accuracies are of the rows that TEST selects.

    in_domain.py PROGRAM MPIRUN DIRECTORY ARCHIVE [train=WHERE] [test=WHERE] [ranks=N]
                 [KEY=VALUE...]

Runs and embeddings go to DIRECTORY, where a run that was interrupted goes on; it belongs to one
archive, choice of rows and settings, and others are refused. KEY=VALUE are settings of both runs.
The last thing printed is the table; the same numbers are in DIRECTORY/in_domain.json.

The archive has colour images of cells, or of anything else without an upper side; by default rows
with split=0 train and rows with split=1 test.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
COMPONENTS = 256
FEWSHOT = (1, 2, 5, 10, 100)
L2 = "l2=auto"
# No upper side: flips and quarter turns. Stains and lamps differ, hue tells cells apart.
VIEWS = ["views.flip=0.5", "views.flip_vertical=0.5", "views.rotate=0.75",
         "views.ratio=0.9,1.1111111111111112", "views.jitter=0.8", "views.brightness=0.4",
         "views.contrast=0.4", "views.saturation=0.2", "views.hue=0.02", "views.grey=0",
         "views.solarize=0", "views.blur=0.3"]
ENCODER = ["model=resnet", "model.width=48", "model.depth=1", "model.stem=large"]
PRETRAIN = ["views.global=2", "views.global_scale=0.3,1", "views.local=4", "views.local_size=32",
            "views.local_scale=0.1,0.35", "projector.hidden=1024", "projector.out=64",
            "sigreg.slices=256", "loss.lambda=0.05", "batch.size=128", "optim.lr=2e-3",
            "train.epochs=30", "train.average=0.998"]
SUPERVISE = ["objective=supervised", "views.global=1", "views.local=0", "views.global_scale=0.5,1",
             "batch.size=128", "optim.lr=2e-3", "train.epochs=40", "train.average=0.998"]
if SHORT:
    COMPONENTS, FEWSHOT, L2 = 8, (1, 2), "l2=10"
    ENCODER[1:] = ["model.width=8", "model.depth=1", "model.stem=small"]
    TINY = ["data.size=16", "views.local_size=8", "projector.hidden=16", "projector.out=8",
            "sigreg.slices=8", "batch.size=16", "train.steps=6"]
    PRETRAIN = [word for word in PRETRAIN if not word.startswith("train.epochs")] + TINY
    SUPERVISE = [word for word in SUPERVISE if not word.startswith("train.epochs")] + TINY[-2:]
    SUPERVISE += TINY[:1]


class Study:
    """Where things are, and how the program is started."""

    def __init__(self, program, mpirun, directory, archive, options):
        self.program, self.mpirun, self.archive = program, mpirun, archive
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.where = {"train": options.pop("train", "split=0"),
                      "test": options.pop("test", "split=1")}
        self.ranks = int(options.pop("ranks", os.cpu_count()))
        self.settings = [f"{key}={value}" for key, value in options.items()]
        self.of_data = [word for word in self.settings if word.startswith("data.")]
        self.claim()

    def claim(self):
        """The directory is this study's, or ends the script: scores of other rows look alike."""
        found = os.stat(self.archive)
        study = {"archive": os.path.abspath(self.archive), "bytes": found.st_size,
                 "changed": found.st_mtime, "rows": self.where, "settings": self.settings,
                 "recipe": [VIEWS, ENCODER, PRETRAIN, SUPERVISE]}
        path = self.directory / "study.json"
        if not path.exists():
            path.write_text(json.dumps(study, indent=1), encoding="utf-8")
        elif json.loads(path.read_text(encoding="utf-8")) != study:
            sys.exit(f"{path} is of another study (archive, rows, settings or recipe): "
                     "use another directory")

    def launch(self, *words, ranks=None):
        command = [self.mpirun, "-n", str(ranks or self.ranks), "--bind-to", "none", self.program,
                   *words]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             check=False)
        if run.returncode != 0:
            sys.exit(f"{' '.join(words)}: exit code {run.returncode}\n{run.stderr}")
        return run.stdout

    def train(self, name, *words):
        """Trains, or goes on, and returns the run directory. A finished run ends at once."""
        run = self.directory / name
        self.launch("train", f"data.archive={self.archive}", f"data.where={self.where['train']}",
                    f"run.dir={run}", *VIEWS, *ENCODER, *words, *self.settings)
        return run

    def embed(self, run, features, layers):
        """Embedding files of training and test rows."""
        files = []
        for rows, where in self.where.items():
            files.append(self.directory / f"{features}-{layers}-{rows}.h5")
            self.launch("embed", f"checkpoint={run}", f"data.archive={self.archive}",
                        f"data.where={where}", f"features={features}", f"layers={layers}",
                        f"out={files[-1]}", *self.of_data)
        return files

    def probe(self, files):
        words = ["probe", f"train={files[0]}", f"test={files[1]}", "json=1", L2,
                 "fewshot=" + ",".join(map(str, FEWSHOT))]
        return json.loads(self.launch(*words))


def replace_embeddings(source, to, embeddings):
    """A copy of an embedding file, with others."""
    with h5py.File(source) as old, h5py.File(to, "w") as new:
        for name in old:
            if name != "embeddings":
                old.copy(name, new)
        new["embeddings"] = embeddings.astype("f4")


def principal_components(files, directory):
    """Embedding files of the first principal components of the training rows' pixels. Randomized
    subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4), four rounds."""
    with h5py.File(files[0]) as file:
        train = file["embeddings"][:]
    mean = train.mean(axis=0)
    train -= mean
    rng = numpy.random.default_rng(0)
    basis = rng.standard_normal((train.shape[1], COMPONENTS + 16)).astype("f4")
    for _ in range(4):
        basis = numpy.linalg.qr(train.T @ (train @ basis))[0]
    _, _, rows = numpy.linalg.svd(train @ basis, full_matrices=False)
    axes = basis @ rows[:COMPONENTS].T
    written = [directory / "components-train.h5", directory / "components-test.h5"]
    replace_embeddings(files[0], written[0], train @ axes)
    with h5py.File(files[1]) as file:
        replace_embeddings(files[1], written[1], (file["embeddings"][:] - mean) @ axes)
    return written


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def last_evaluation(run):
    """The one after the last step. A finished run without it was killed in between, and has to be
    trained again: evaluations follow steps only."""
    lines = metrics(run)
    last = max(line["step"] for line in lines)
    scores = [line for line in lines if "supervised_top1" in line and line["step"] == last]
    if not scores:
        sys.exit(f"{run} ended before its last evaluation; remove it and start again")
    return scores[-1]


def cost(run):
    """Epochs, and samples a second since the last start."""
    with open(run / "timing.json", encoding="ascii") as file:
        return {"epochs": max(line["epoch"] for line in metrics(run)),
                "samples_per_s": json.load(file)["samples_per_s"]}


def measure(study):
    """A row of the table for each kind of features."""
    run = study.train("pretrained", *PRETRAIN)
    pixels = study.embed(run, "pixels", 1)
    rows = {"pretrained": study.embed(run, "model", 1),
            "pretrained, last two stages": study.embed(run, "model", 2),
            "untrained": study.embed(run, "untrained", 1),
            "untrained, last two stages": study.embed(run, "untrained", 2),
            "raw pixels": pixels,
            f"{COMPONENTS} principal components of pixels":
                principal_components(pixels, study.directory)}
    found = {name: study.probe(files) for name, files in rows.items()}
    found["pretrained"]["training"] = cost(run)
    supervised = study.train("supervised", *SUPERVISE, f"eval.where={study.where['test']}",
                             "eval.every=1000000", "eval.queries=100000000")
    found["trained on all labels"] = {**last_evaluation(supervised), "training": cost(supervised)}
    return found


def row(name, found):
    if "supervised_top1" in found:
        cells = ["", f"{found['supervised_top1']:.3f}"] + [""] * len(FEWSHOT)
    else:
        interval = found["linear_top1_interval"]
        cells = [f"{found['knn_top1']:.3f}",
                 f"{found['linear_top1']:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"]
        cells += [f"{few['linear_top1']:.3f} ± {few['linear_top1_std']:.3f}"
                  for few in found["fewshot"]]
    return f"| {name} | {' | '.join(cells)} |"


def run_study(program, mpirun, directory, archive, options):
    study = Study(program, mpirun, directory, archive, options)
    found = measure(study)
    with open(study.directory / "in_domain.json", "w", encoding="ascii") as file:
        json.dump(found, file, indent=1)
    head = ["features", "kNN", "linear (95 % interval)"] + [f"{n} a class" for n in FEWSHOT]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name, numbers in found.items():
        print(row(name, numbers))
    for name, numbers in found.items():
        if "training" in numbers:
            print(f"{name}: {numbers['training']['epochs']:.3g} epochs at "
                  f"{numbers['training']['samples_per_s']:.0f} samples/s on {study.ranks} ranks")


def main():
    if len(sys.argv) < 5 or not all("=" in word for word in sys.argv[5:]):
        sys.exit(__doc__)
    program, mpirun, directory, archive = sys.argv[1:5]
    options = dict(word.split("=", 1) for word in sys.argv[5:])
    if SHORT:  # trains anew each time
        with tempfile.TemporaryDirectory() as here:
            run_study(program, mpirun, here, archive, options)
    else:
        run_study(program, mpirun, directory, archive, options)


main()
