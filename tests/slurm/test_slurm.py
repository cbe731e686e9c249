#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""jobs/slurm on a Slurm of one node: preempted, cancelled and out of time, a run goes on with the
bits of one that nothing interrupted. Skipped (77) where there can be no Slurm."""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "app"))
import cluster  # noqa: E402
import program  # noqa: E402
from program import check  # noqa: E402

JOBS = pathlib.Path(__file__).resolve().parents[2] / "jobs"
WHY = cluster.lacking()
if WHY:
    print(f"skipped: {WHY}")
    sys.exit(77)

holder = tempfile.TemporaryDirectory(prefix="lejepa-slurm-")
here = pathlib.Path(holder.name)
archive = program.archive(here / "archive.h5")
STEPS = 400
WORDS = [*program.TINY, f"data.archive={archive}", "batch.size=64", "checkpoint.every=150"]
os.environ["LEJEPA_MPI"] = program.PROGRAM
os.environ["LEJEPA_JOBS"] = str(JOBS)
os.chdir(here)
reference = {}


def words(steps=STEPS):
    return [*WORDS, f"train.steps={steps}"]


def straight(steps, ranks, *more):
    """Bytes of a run without Slurm that nothing interrupts."""
    key = (steps, ranks, *more)
    if key not in reference:
        directory = here / f"straight-{len(reference)}"
        ended = program.run(["train", *words(steps), f"run.dir={directory}", *more], ranks, 200)
        check(ended.code == 0, f"without Slurm: exit code {ended.code}: {ended.tail()}")
        reference[key] = newest(directory)
    return reference[key]


def newest(directory):
    return program.tensors(program.checkpoints(directory)[-1])


def steps_of(directory):
    path = pathlib.Path(directory, "metrics.jsonl")
    return path.read_text().count("\n") if path.exists() else 0


def begin(slurm, name, *options, script="train.sh", steps=STEPS):
    """Submits a run; its number and directory."""
    directory = here / name
    log = f"--output={here / name}-%j.log"
    path = JOBS / "slurm" / script
    return slurm.submit(*options, log, path, *words(steps), f"run.dir={directory}"), directory


def begun(slurm, directory, job):
    what = f"step 3 of job {job}"
    slurm.wait(lambda: steps_of(directory) >= 3, what)


def log_of(name):
    return "".join(path.read_text() for path in sorted(here.glob(f"{name}-*.log")))


def show(name):
    """Its end, for messages."""
    return log_of(name)[-1500:]


def finished(slurm, job, name, restarts):
    row = slurm.ended(job)
    good = row["JobState"] == "COMPLETED" and row["ExitCode"] == "0:0"
    check(good, f"{name}: {row['JobState']}, exit code {row['ExitCode']}: {show(name)}")
    check(row["Restarts"] == str(restarts), f"{name}: restarted {row['Restarts']} times")


def test_preempted(slurm, script):
    """A job of higher priority takes the node; this one saves, waits and goes on."""
    name = f"preempted-{script}"
    job, directory = begin(slurm, name, "--ntasks=2", script=script)
    begun(slurm, directory, job)
    urgent = slurm.submit("--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1")
    slurm.ended(urgent)
    check(steps_of(directory) < STEPS, f"{name}: was done before it was preempted")
    finished(slurm, job, name, 1)
    check("requeueing" in log_of(name), f"{name}: {show(name)}")
    check(newest(directory) == straight(STEPS, 2), f"{name}: other bits")


def test_terminated(slurm):
    """The ranks of srun get TERM themselves, as before a preemption of which --signal does not
    warn."""
    job, directory = begin(slurm, "terminated", "--ntasks=2", script="srun.sh")
    begun(slurm, directory, job)
    cluster.call("scancel", "--signal=TERM", job)
    finished(slurm, job, "terminated", 1)
    check(newest(directory) == straight(STEPS, 2), "terminated: other bits")


def test_cancelled(slurm, script):
    """Does not come back, and what it left goes on by hand."""
    name = f"cancelled-{script}"
    job, directory = begin(slurm, name, "--ntasks=2", script=script)
    slurm.wait(lambda: steps_of(directory) > 160, "a checkpoint")
    cluster.call("scancel", job)
    row = slurm.ended(job)
    good = row["JobState"] == "CANCELLED" and row["Restarts"] == "0"
    check(good, f"{name}: {row['JobState']}: {show(name)}")
    slurm.wait(lambda: not program.rank_processes(directory), "the end of the ranks", 30)
    again = ["train", *words(), f"run.dir={directory}"]
    ended = program.run(again, 2, 200)
    check(ended.code == 0, f"{name}: exit code {ended.code}: {ended.tail()}")
    check(newest(directory) == straight(STEPS, 2), f"{name}: other bits")
    row = slurm.job(job)
    check(row["JobState"] == "CANCELLED", f"{name}: is {row['JobState']} again: {show(name)}")


def test_out_of_time(slurm):
    """Without a warning of Slurm the run ends before its minute is over, is requeued, and ends for
    good when STOP asks."""
    options = ["--ntasks=2", "--time=1", "--signal=B:CONT@1"]
    job, directory = begin(slurm, "time", *options, steps=1000000)
    slurm.wait(lambda: slurm.job(job)["Restarts"] == "1", "a requeue", 150)
    log = (directory / "log.txt").read_text()
    check("stops in time" in log and "SLURM_JOB_END_TIME" in log, f"time: {log[-2000:]}")
    check("DUE TO TIME LIMIT" not in log_of("time"), f"time: {show('time')}")
    done = steps_of(directory)
    slurm.wait(lambda: steps_of(directory) > done, "the second start")
    (directory / "STOP").touch()
    row = slurm.ended(job)
    ending = (row["JobState"], row["ExitCode"], row["Restarts"])
    check(ending == ("FAILED", "75:0", "1"), f"STOP: {ending}: {show('time')}")


def test_seeds(slurm):
    job, directory = begin(slurm, "seeds", "--ntasks=1", script="seeds.sh", steps=20)
    slurm.wait(lambda: not cluster.call("squeue", "--noheader", f"--jobs={job}"), "the array")
    for seed in (1, 2, 3):
        found = newest(directory / f"seed-{seed}")
        check(found == straight(20, 1, f"seed={seed}"), f"seed {seed}: other bits")


def test_threads(slurm):
    options = ["--ntasks-per-node=1", "--cpus-per-task=2"]
    job, directory = begin(slurm, "hybrid", *options, script="hybrid.sh", steps=20)
    finished(slurm, job, "hybrid", 0)
    check(newest(directory) == straight(20, 1), "hybrid: other bits")
    check("2 threads" in (directory / "log.txt").read_text(), "hybrid: not two threads")


def test_study(slurm):
    """A scaling study as a job: the rungs are those of its tasks, and there is a page."""
    out = here / "study"
    log = f"--output={here}/study-%j.log"
    more = ["batch.size=32", "steps=2", "mode=strong", f"out={out}"]
    job = slurm.submit("--ntasks=2", log, JOBS / "scaling/study.sh", *words(), *more)
    finished(slurm, job, "study", 0)
    rungs = json.loads((out / "scale.json").read_text())["rungs"]
    check([rung["ranks"] for rung in rungs] == [1, 2], f"study: {rungs}")
    check(log_of("study").splitlines()[-1].endswith("study/scale.html"), f"study: {show('study')}")


def main():
    with cluster.Cluster(here / "slurm") as slurm:
        for test in (
            lambda: test_study(slurm),
            lambda: test_threads(slurm),
            lambda: test_preempted(slurm, "train.sh"),
            lambda: test_preempted(slurm, "srun.sh"),
            lambda: test_terminated(slurm),
            lambda: test_cancelled(slurm, "train.sh"),
            lambda: test_cancelled(slurm, "srun.sh"),
            lambda: test_seeds(slurm),
            lambda: test_out_of_time(slurm),
        ):
            before = time.monotonic()
            try:
                test()
            except (RuntimeError, OSError, IndexError) as error:
                check(False, f"{error!r}")
            print(f"{time.monotonic() - before:.0f} s", flush=True)
    if program.failures and os.environ.get("LEJEPA_KEEP"):
        shutil.copytree(here, os.environ["LEJEPA_KEEP"], dirs_exist_ok=True)
    program.finish()


(here / "slurm").mkdir()
main()
