#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of a training step, counted by callgrind: a number that a busy machine does not
change.

    count_instructions.py PROGRAM COMPILER [--update] [--keep DIRECTORY]

Counts inside lj_trainer_step, on its thread, in the second step, because the first one also fills
the caches of libraries. Fails when the count is not within 2 % of that in instructions.json.
--update writes the new count there, for a commit that says why it changed; --keep leaves
callgrind's files in DIRECTORY, where `callgrind_annotate FILE` shows the functions. Level avx2,
since the valgrind of Debian 12 knows no AVX-512. COMPILER names what built the program; if it is
another than the recorded one, nothing is compared, and the exit code is 77.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

RECORD = pathlib.Path(__file__).with_name("instructions.json")
WORDS = ("model=vit model.width=64 model.depth=2 model.heads=2 model.patch=7 views.global=1 "
         "views.local=1 projector.hidden=64 sigreg.slices=64 batch.size=16 optim.clip=1 "
         "log.every=1 threads=1 guard.stall_s=0 precision=fp32 train.steps=2").split()
TOLERANCE = 0.02
SKIPPED = 77


def count(program, directory):
    """Instructions inside lj_trainer_step in the second step."""
    out = directory / "callgrind"
    command = ["valgrind", "--tool=callgrind", "--toggle-collect=lj_trainer_step",
               "--dump-after=lj_trainer_step", f"--callgrind-out-file={out}", program, "train",
               *WORDS, f"run.dir={directory / 'run'}"]
    environment = {**os.environ, "LJ_ISA": "avx2", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True,
                           errors="replace", check=False)
    second = pathlib.Path(f"{out}.2")
    found = re.search(r"^totals: (\d+)", second.read_text(), re.M) if second.exists() else None
    if ended.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stderr[-3000:]}")
    return int(found[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("compiler")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    wanted = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if record.get("compiler") != wanted.compiler and not wanted.update:
        print(f"built by {wanted.compiler}, recorded for {record.get('compiler')}: not compared")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="lejepa-count-") as scratch:
        directory = wanted.keep or pathlib.Path(scratch)
        directory.mkdir(exist_ok=True)
        found = count(wanted.program, directory)
    expected = record.get("instructions_per_step", found)
    print(json.dumps({"name": "instructions of a step", "shape": " ".join(WORDS), "isa": "avx2",
                      "median": found, "reference": expected, "ratio": round(found / expected, 4),
                      "unit": "instructions"}))
    if wanted.update:
        RECORD.write_text(json.dumps({
            "made_by": "tests/bench/count_instructions.py PROGRAM COMPILER --update, a release "
                       "build, level avx2, valgrind 3.19, BLIS 0.9",
            "compiler": wanted.compiler, "instructions_per_step": found}, indent=1) + "\n")
    elif abs(found / expected - 1) > TOLERANCE:
        change = 100 * (found / expected - 1)
        sys.exit(f"a step takes {found} instructions, {change:+.1f} % against the recorded "
                 f"{expected}. If that is intended: {sys.argv[0]} {wanted.program} "
                 f"'{wanted.compiler}' --update, and commit {RECORD.name}")


main()
