#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""jobs/scaling/study.sh, edited in its three lines: it ends with a page whose tables are those of
scale.json, does no finished step again, and ends as badly as its worst step."""

import json
import os
import pathlib
import shlex
import subprocess
import sys

import program
from pages import read_page
from program import MPIRUN, TINY, check

holder, here = program.scratch()
archive = program.archive(here / "an archive.h5", count=96)
SCRIPT = pathlib.Path(sys.argv[1]).resolve().parent / "jobs/scaling/study.sh"
OUT = here / "a study"
WORDS = [*TINY, f"data.archive={archive}", "batch.size=32"]
JOB = ("SLURM", "PBS")
IN_NO_JOB = {key: value for key, value in os.environ.items() if not key.startswith(JOB)}


def edit(settings, ranks):
    """The script with other values in the lines that are the user's."""
    lines = {"settings": f"({shlex.join(settings)})", "launch": f"({MPIRUN})", "ranks": ranks}
    text = []
    for line in SCRIPT.read_text(encoding="utf-8").splitlines():
        key = line.split("=")[0]
        text.append(f"{key}={lines.pop(key)}" if key in lines else line)
    check(not lines, f"the script has no lines {list(lines)}")
    path = here / "study.sh"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def study(what, script, *words, code=0, env=None):
    ended = subprocess.run(
        ["bash", script, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        cwd=here,
        env={**IN_NO_JOB, "LEJEPA_MPI": program.PROGRAM, **(env or {})},
    )
    tail = "\n".join((ended.stdout + ended.stderr).splitlines()[-12:])
    check(ended.returncode == code, f"{what}: exit code {ended.returncode}, not {code}: {tail}")
    return ended


def test_study():
    (here / "tiny.yaml").write_text("seed: 3\n", encoding="utf-8")
    script = edit(["tiny.yaml", *WORDS], "1,2")
    words = ["steps=2", f"out={OUT}"]
    first = study("a study", script, *words)
    check(first.stdout.splitlines()[-1] == f"study.sh: the page: {OUT}/scale.html", first.stdout)
    found = json.loads((OUT / "scale.json").read_text(encoding="utf-8"))
    check([rung["ranks"] for rung in found["rungs"]] == [1, 2, 1, 2], f"rungs {found['rungs']}")
    predicted = [rung["ranks"] for rung in found["predictions"]]
    check(predicted == 2 * [8, 32, 128], f"predictions {predicted}")
    page = read_page("a study", OUT / "scale.html")
    check(len(page.figures) == 6 and all(page.figure_tables), f"{len(page.figures)} figures")
    cells = [float(row[3]) for row in page.figure_tables[0][0][1:5]]
    times = [rung["step_s"] for rung in found["rungs"]]
    check(all(abs(a / b - 1) < 1e-5 for a, b in zip(cells, times)), f"{cells}, expected {times}")
    check("scaling: finished\n" in first.stdout, f"a study: {first.stdout}")

    made = (OUT / "scale.json").stat().st_mtime_ns
    again = study("again", script, *words)
    check("scaling: finished before" in again.stdout, f"again: {again.stdout}")
    check((OUT / "scale.json").stat().st_mtime_ns == made, "again: a finished step was repeated")

    (here / "tiny.yaml").write_text("seed: 4\n", encoding="utf-8")
    changed = study("other settings", script, *words, "predict=16", "mode=strong")
    check("finished before" not in changed.stdout, f"other settings: {changed.stdout}")
    found = json.loads((OUT / "scale.json").read_text(encoding="utf-8"))
    check([rung["ranks"] for rung in found["predictions"]] == [16], "other settings: predictions")
    check(found["settings"]["seed"] == "4", f"other settings: {found['settings']}")


def test_failures():
    """A failed step has no page, an old one neither, and is done again."""
    script = edit(WORDS, "1,2")
    failed = study("a failing step", script, "steps=2", "mode=sideways", f"out={OUT}", code=2)
    check(not (OUT / "scale.html").exists() and "the page" not in failed.stdout, failed.stdout)
    check("failed with exit code 2" in failed.stderr, f"a failing step: {failed.stderr}")
    missing = study("no program", script, env={"LEJEPA_MPI": "nowhere/lejepa_mpi"}, code=2)
    check("nowhere/lejepa_mpi" in missing.stderr, f"no program: {missing.stderr}")
    wrong = study("no ranks", edit(WORDS, "many"), code=2)
    check("ranks=many" in wrong.stderr, f"no ranks: {wrong.stderr}")


def test_in_a_job():
    """Ranks are the tasks of the allocation; one has no links, and nothing is predicted."""
    script = edit(WORDS, "")
    study("one task", script, "steps=2", f"out={here}/one", env={"SLURM_NTASKS": "1"})
    found = json.loads((here / "one/scale.json").read_text(encoding="utf-8"))
    check(found["ranks"] == 1 and found["predictions"] == [], f"one task: {found['ranks']} ranks")
    nodes = here / "nodes"
    nodes.write_text("localhost\nlocalhost\n", encoding="utf-8")
    job = {"PBS_NODEFILE": str(nodes), "PBS_O_WORKDIR": str(here)}
    study("two in PBS", script, "steps=2", "mode=strong", f"out={here}/two", env=job)
    found = json.loads((here / "two/scale.json").read_text(encoding="utf-8"))
    check(found["ranks"] == 2, f"two in PBS: {found['ranks']} ranks")


test_study()
test_failures()
test_in_a_job()
program.finish()
