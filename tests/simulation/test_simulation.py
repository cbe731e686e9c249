#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A few simulated ranks on small clusters: every rank sends the bytes that were planned, a step
takes what the model of the network predicts, slower links make it longer, and what cannot be
simulated is refused. Skipped without SimGrid."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
UNIT = 4096  # LJ_SHARD_ALIGN

PHASES = {"wait for data": 1e-3, "views": 4e-3, "forward": 20e-3, "projector": 2e-3, "loss": 2e-3,
          "backward": 40e-3, "optimiser": 4e-3, "other": 1e-3}


def study():
    """As of `lejepa_mpi scale`: one rank, two steps, 2 million parameters in four buckets."""
    sums = {"name": "sigreg", "collective": "MPI_Allreduce", "calls": 2,
            "predicted_bytes_per_call": 65584}
    statistics = {"name": "statistics", "collective": "MPI_Allreduce", "calls": 8,
                  "predicted_bytes_per_call": 4104}
    norm = {"name": "norm", "collective": "MPI_Allreduce", "calls": 2,
            "predicted_bytes_per_call": 4096}
    rung = {"mode": "weak", "ranks": 1, "lanes": 1, "repeats_s": [sum(PHASES.values())],
            "step_s_low": sum(PHASES.values()), "ledger": [sums, statistics, norm],
            "phases": [{"name": name, "max_s": 2 * seconds} for name, seconds in PHASES.items()]}
    return {"steps": 2, "repeats": 1, "threads": 1, "reduce": "exact", "rungs": [rung],
            "bucket_bounds": [0, 100 * UNIT, 250 * UNIT, 370 * UNIT, 512 * UNIT]}


def check(condition, text):
    if not condition:
        sys.exit(f"test_simulation: {text}")


def simulate(here, *words, code=0):
    done = subprocess.run([SOURCE / "jobs/scaling/simulate.sh", *words, f"out={here}"],
                          capture_output=True, text=True)
    check(done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stderr}")
    if code:
        return done.stderr
    return [json.loads(line) for line in (here / "simulation.json").read_text().splitlines()]


def check_run(run):
    name = f"{run['topology']}, {run['ranks']} ranks"
    lines = {line["name"]: line for line in run["ledger"]}
    check(set(lines) == {"sigreg", "statistics", "gradient", "weights", "nonfinite", "norm"},
          f"{name}: lines {sorted(lines)}")
    for line in run["ledger"]:
        check(line["bytes_as_planned"] and line["bytes"] > 0, f"{name}: bytes of {line}")
    check(lines["statistics"]["calls"] == 4 and lines["sigreg"]["calls"] == 1, f"{name}: calls")
    check(run["step_s"] > run["compute_s"], f"{name}: communication takes no time")
    check(run["step_s"] <= run["compute_s"] + 1.001 * max(run["exposed_s"], 1e-9) + 1e-4,
          f"{name}: a step of {run['step_s']} s, {run['compute_s']} s of it computed and "
          f"{run['exposed_s']} s exposed")
    off = run["prediction"]["step_s"] / run["step_s"] - 1
    check(abs(off) < 0.15, f"{name}: the prediction is off by {100 * off:.1f} %")
    check([ahead["ranks"] for ahead in run["ahead"]] == [4 * run["ranks"], 16 * run["ranks"]],
          f"{name}: ranks ahead")
    return run["step_s"]


def check_refusals(here, scale):
    check("no such file" in simulate(here, here / "nothing.json", code=3), "a missing file")
    check("topology" in simulate(here, scale, "topologies=ethernet", code=2), "a wrong word")
    broken = here / "broken.json"
    broken.write_text(json.dumps({**study(), "bucket_bounds": []}))
    check("bucket_bounds" in simulate(here, broken, "topology=ethernet", "ranks=2", code=1),
          "a study without buckets")


def main():
    if not shutil.which("smpicc"):
        print("skipped: smpicc of SimGrid is missing (jobs/install-deps.sh test)")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        here = pathlib.Path(name)
        scale = here / "scale.json"
        scale.write_text(json.dumps(study()))
        fast = simulate(here, scale, "topology=fat-tree,dragonfly", "ranks=4,16", "cores=4")
        slow = simulate(here, scale, "topology=ethernet", "ranks=4,16", "cores=4")
        check([run["nodes"] for run in fast] == [1, 4, 1, 4], "nodes")
        seconds = [check_run(run) for run in fast + slow]
        check(seconds[5] > seconds[1], "slower links make no longer step")
        again = simulate(here, scale, "topology=fat-tree", "ranks=4,16", "cores=4")
        check(again == fast[:2], "the same simulation has another result")
        faster = simulate(here, scale, "topology=fat-tree", "ranks=4", "cores=4", "faster=2")
        check(abs(faster[0]["compute_s"] - fast[0]["compute_s"] / 2) < 1e-9, "faster cores")
        check_refusals(here, scale)


if __name__ == "__main__":
    main()
