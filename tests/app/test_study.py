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


def stand_in():
    """The program with a quick `scale objectives=all`, which takes no mode=, and long help."""
    objective = {"objective": "first & last", "step_s": 0.125, "bytes": 4096, "heuristics": "none"}
    objective["traffic"] = [{"name": "sums", "bytes": 4000, "formula": "8 N D"}]
    objective["exponents_formula"] = {"N": {"exponent": 1, "low": 0.98, "high": 1.02}}
    found = shlex.quote(json.dumps({"objectives": [objective]}))
    path = here / "stand-in"
    path.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do case $word in out=*) out=${word#out=} ;; esac; done\n'
        'case "$*" in\n'
        '"help scale") echo "objectives=  (text)" && seq 100000 ;;\n'
        "*mode=*objectives=*) exit 2 ;;\n"
        f'*objectives=all*) [ -f {here}/works ] && echo {found} > "$out/objectives.json" ;;\n'
        f'*) exec {program.PROGRAM} "$@" ;;\n'
        "esac\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def test_objectives():
    """One step fails, the other one makes the page all the same; once it does not fail, the page
    is made anew and shows it."""
    script = edit(WORDS, "1")
    words, job = ["steps=2", "mode=weak", f"out={here}/both"], {"LEJEPA_MPI": str(stand_in())}
    first = study("objectives fail", script, *words, env=job, code=1)
    check("objectives: failed with exit code 1" in first.stderr, f"first: {first.stderr}")
    check("Objectives" not in read_page("first", here / "both/scale.html").text, "first: the page")
    (here / "works").touch()
    study("objectives", script, *words, env=job)
    page = read_page("objectives", here / "both/scale.html")
    for text in ("first & last", "4096", "8 N D", "1.00 (0.98 to 1.02)"):
        check(text in page.text, f"objectives: no {text} in the page")
    again = study("objectives again", script, *words, env=job)
    check(again.stdout.count("finished before") == 2, f"objectives again: {again.stdout}")


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


def test_simulated():
    """simulate.sh is told the ranks of a node, and not started for a study that failed."""
    stand_in = here / "jobs/scaling/simulate.sh"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text('#!/bin/sh\necho "$*" >>told\nexit 77\n', encoding="utf-8")
    stand_in.chmod(0o755)
    words = ["steps=2", "mode=weak", "simulate=16,64", f"out={here}/third"]
    study("simulated", edit(WORDS, "1,2"), *words)
    told = (here / "told").read_text(encoding="utf-8")
    expected = f"{here}/third/scale.json ranks=16,64 cores=2 out={here}/third/simulation\n"
    check(told == expected, f"simulate.sh was told {told}, not {expected}")
    study("failed", edit(WORDS, "1,2"), *words, "batch.size=0", code=2)
    check((here / "third/scale.json").exists(), "failed: no earlier study is left to be taken")
    check((here / "told").read_text(encoding="utf-8") == told, "failed: simulated all the same")


test_study()
test_failures()
test_simulated()
test_objectives()
test_in_a_job()
program.finish()
