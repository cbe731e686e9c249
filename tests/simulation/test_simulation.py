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
import xml.etree.ElementTree

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
    return {"steps": 2, "repeats": 1, "threads": 1, "precision": "fp32", "reduce": "exact",
            "rungs": [rung], "bucket_bounds": [0, 100 * UNIT, 250 * UNIT, 370 * UNIT, 512 * UNIT]}


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


def in_memory_s(ranks):
    """In which each of the ranks of a node copies all parameters through its 100 GB/s."""
    return 4 * study()["bucket_bounds"][-1] * ranks / 100e9


def check_run(run):
    name = f"{run['topology']}, {run['ranks']} ranks"
    lines = {line["name"]: line for line in run["ledger"]}
    check(set(lines) == {"sigreg", "statistics", "gradient", "weights", "nonfinite", "norm"},
          f"{name}: lines {sorted(lines)}")
    for line in run["ledger"]:
        check(line["bytes_as_planned"] and line["bytes"] > 0, f"{name}: bytes of {line}")
    check(lines["statistics"]["calls"] == 4 and lines["sigreg"]["calls"] == 1, f"{name}: calls")
    check(run["step_s"] > run["compute_s"], f"{name}: communication takes no time")
    copied = 1.5 * run["nodes_exchange"] * in_memory_s(run["ranks_per_node"])
    check(run["step_s"] <= run["compute_s"] + 1.001 * max(run["exposed_s"], 1e-9) + copied + 1e-4,
          f"{name}: a step of {run['step_s']} s, {run['compute_s']} s of it computed and "
          f"{run['exposed_s']} s exposed")
    ahead = [of["ranks"] for of in run["ahead"]]
    known = [4 * run["ranks"], 16 * run["ranks"]] if run["nodes"] > 1 else []
    check(ahead == known, f"{name}: predicted are {ahead} ranks; the network was measured if there "
          f"are several nodes, and of these there are {run['nodes']}")
    if run["nodes"] > 1:
        check_prediction(name, run)
    return run["step_s"]


def check_prediction(name, run):
    """Seconds that communication adds, as the rest of a step is the same by construction. They are
    not compared on one node, whose copies the model counts as exposed and the simulation lets go on
    by themselves; these copies are also what the model says too much on fast links."""
    predicted, found = run["prediction"]["exposed_s"], run["exposed_s"]
    most = 1.15 if run["topology"] == "ethernet" else 2
    check(1 / most < predicted / found < most,
          f"{name}: communication adds {found} s, and {predicted} s were predicted")


def broken_studies():
    """Each with what its refusal names."""
    whole, rung = study(), study()["rungs"][0]
    bounds = whole["bucket_bounds"]

    def of_rung(**changes):
        return {**whole, "rungs": [{**rung, **changes}]}

    def of_line(**changes):
        return of_rung(ledger=[{**rung["ledger"][0], **changes}])

    renamed = [{**phase, "name": phase["name"].upper()} for phase in rung["phases"]]
    lines = [{**rung["ledger"][0], "name": f"line {i}"} for i in range(20)]
    by_lane = {"settings": {"memory.recompute": "lanes"}}
    return [
        ("bucket_bounds", {**whole, "bucket_bounds": []}),
        ("ascend", {**whole, "bucket_bounds": bounds[::-1]}),
        ("ascend", {**whole, "bucket_bounds": [0, UNIT + 1]}),
        ("ascend", {**whole, "bucket_bounds": [0, UNIT << 50]}),
        ("phases are 0 s", of_rung(phases=[])),
        ("phases are 0 s", of_rung(phases=renamed)),
        ("phases are 0.0", of_rung(phases=rung["phases"][:-3])),
        ("phases are 1.48 s", of_rung(step_s_low=1.0, repeats_s=[0.05])),
        ("no phase is backward", of_rung(phases=[{"name": "forward", "max_s": 0.148}])),
        ("below 0", of_rung(phases=[{"name": "forward", "max_s": -0.148}])),
        ("measured rung", of_rung(repeats_s=[])),
        ("shares of 3 lanes", of_rung(ranks=2, lanes=3)),
        ("ranks", of_rung(ranks=1 << 40)),
        ("lanes", of_rung(lanes=0)),
        ("threads", {**whole, "threads": 1 << 33}),
        ("steps", {**whole, "steps": -1}),
        ("predicted_bytes_per_call", of_line(predicted_bytes_per_call=0)),
        (f"sigreg sends {1 << 31} bytes a call", of_line(predicted_bytes_per_call=1 << 31)),
        ("sigreg is called", of_line(calls=1 << 40)),
        ("ledger", of_rung(ledger=lines)),
        ("comm.exchange is 'both'", {**whole, "settings": {"comm.exchange": "both"}}),
        ("memory.recompute=lanes", {**of_rung(lanes=2), **by_lane}),
    ]


def in_products_s():
    return sum(PHASES[name] for name in ("forward", "projector", "backward"))


def start(here, description, *words):
    """The program alone, on two ranks; simulate.sh has left it there, and links."""
    path = here / "other.json"
    path.write_text(json.dumps(description))
    return subprocess.run([SOURCE / "tests/simulation/smpirun.sh", here, "2", path,
                           *words], capture_output=True, text=True)


def check_studies(here):
    for word, description in broken_studies():
        done = start(here, description)
        check(done.returncode == 3 and word in done.stderr,
              f"'{word}': exit code {done.returncode}: {done.stderr}")
    measured = {**study(), "precision": "bf16"}
    twice = start(here, measured, "bf16=1.87")
    check(twice.returncode == 3 and "precision is 'bf16'" in twice.stderr,
          f"bf16= of bf16: exit code {twice.returncode}: {twice.stderr}")
    check(start(here, measured).returncode == 0, "a study in bf16 is refused")
    uneven = study()  # two ranks, of which each is the slower one in half of the phases
    uneven["rungs"][0].update(ranks=2, lanes=2, step_s_low=sum(PHASES.values()) / 2,
                              repeats_s=[sum(PHASES.values()) / 2])
    found = json.loads(start(here, uneven, "bf16=2").stdout)["base_step_s"]
    least_s = (sum(PHASES.values()) - in_products_s() / 2) / 2
    check(abs(found - least_s) < 1e-9, f"a step of two ranks takes {found} s by bf16=2")
    kept = {**study(), "threads": 2, "settings": {"memory.recompute": "lanes"}}
    kept["rungs"][0]["lanes"] = 2
    check(start(here, kept).returncode == 0, "each lane has a thread, and it is refused")
    rung = {**study()["rungs"][0], "nodes": 1}
    rungs = [{**rung, "ranks": 8, "lanes": 8, "mode": "strong"}, rung,
             {**rung, "ranks": 2, "lanes": 2}, {**rung, "ranks": 4, "lanes": 4, "nodes": 2}]
    for taken, of in ((2, rungs), (4, rungs[3:]), (8, rungs[:1])):
        found = json.loads(start(here, {**study(), "rungs": of}).stdout)
        check(found["base_ranks"] == taken, f"the rung of {found['base_ranks']} ranks, not {taken}")


def exposed(run, name):
    return next(line["exposed_s"] for line in run["ledger"] if line["name"] == name)


def check_exchange(here, scale):
    """Nodes exchange where the study's setting says so, and send less between nodes than ranks do;
    what goes through the memory of a node takes time."""
    given = here / "given.json"
    given.write_text(json.dumps({**study(), "settings": {"comm.exchange": "ranks"}}))
    words = "topology=ethernet", "ranks=16", "cores=4"
    (by_nodes,) = simulate(here, scale, *words)
    (by_ranks,) = simulate(here, given, *words)
    (asked,) = simulate(here, given, *words, "exchange=nodes", "budget=0")
    check(by_nodes["nodes_exchange"] and not by_ranks["nodes_exchange"], "who exchanges")
    check(asked["prediction"] is None, "a prediction with budget=0")
    named = ("study", "prediction", "ahead", "model_error", "model_error_most")
    check(all(asked[key] == by_nodes[key] for key in by_nodes if key not in named),
          "exchange=nodes is not what auto does on several nodes")
    sent = [line["bytes"] for run in (by_nodes, by_ranks) for line in run["ledger"]
            if line["name"] == "gradient"]
    check(sent[0] * 4 < sent[1], f"a rank sends {sent[0]} bytes by nodes, {sent[1]} by ranks")
    check(exposed(by_nodes, "weights") > 0.9 * in_memory_s(4), "copies in a node take no time")
    for run in (by_nodes, by_ranks):
        check_run(run)


def check_assumptions(here, scale):
    """Of two studies, each line names its objective; products are faster by bf16=, all is by
    faster=, and both ratios stand beside the results."""
    other = here / "vicreg.json"
    vicreg = {**study(), "settings": {"objective": "vicreg"}}
    vicreg["rungs"][0]["ledger"][0].update(name="vicreg", predicted_bytes_per_call=1 << 29)
    other.write_text(json.dumps(vicreg))
    runs = simulate(here, scale, other, "topology=fat-tree", "ranks=2", "cores=4", "bf16=1.87",
                    "faster=1.5")
    check([run["objective"] for run in runs] == ["lejepa", "vicreg"], "objectives")
    check([run["study"] for run in runs] == [str(scale), str(other)], "studies")
    check(all(run["link"] is None and run["steps"] == 2 for run in runs), "link and steps")
    for name in ("md", "gp"):
        text = (here / f"simulation.{name}").read_text()
        check(str(scale) in text and str(other) in text, f"{name}: studies cannot be told apart")
    least_s = 2 * (1 << 29) / 100e9  # each of two ranks sends as much through their node's memory
    found_s = exposed(runs[1], "vicreg")
    check(least_s < found_s < 1.2 * least_s, f"a sum of half a GB takes {found_s} s")
    base_s = (sum(PHASES.values()) - in_products_s() * (1 - 1 / 1.87)) / 1.5
    for run in runs:
        check(run["bf16"] == 1.87 and run["faster"] == 1.5, "ratios are not in the result")
        check(abs(run["base_step_s"] - base_s) < 1e-9, f"a step of {run['base_step_s']} s alone")
        optimiser_s = PHASES["optimiser"] / 2 / 1.5
        check(abs(run["compute_s"] - base_s + optimiser_s) < 1e-9, f"{run['compute_s']} s computed")
    check("1.5 times as fast as measured; forward, projector and backward 1.87 times"
          in (here / "simulation.md").read_text(), "assumptions are not above the table")


def check_usage(here, scale):
    """What is asked wrongly is refused before anything is built, and no old result stays."""
    stale = [here / f"simulation.{suffix}" for suffix in ("json", "md", "svg", "gp")]
    for path in stale:
        path.write_text("old")
    for word in ("topologies=ethernet", "topology=", "topology=star", "cores=4,8", "ranks=4,",
                 "link=25GBps,1.5us", "link=0,0", "link=25e9,0", "link=25e9", "link=,",
                 "faster=0", "faster=twice", "bf16=0", "exchange=both", "steps=0", "steps=1.5",
                 "budget=-1", "cores=1 ranks=2,1000"):
        message = simulate(here, scale, *word.split(), code=2)
        check(".sh: error: " in message, f"{word}: {message}")
    check("no such file" in simulate(here, here / "nothing.json", code=3), "a missing file")
    check(not any(path.exists() for path in stale), "an old result stays")
    check(not (here / "simulate").exists(), "the program was built for nothing")


def router_of(node):
    """Group of a dragonfly, and router of the group."""
    return divmod(node // 2, 4)


def check_dragonfly():
    """Each way leads from the sender's router to the receiver's, by no more links than it needs."""
    script = SOURCE / "jobs/scaling/platform.sh"
    text = subprocess.run([script, "dragonfly", "24", "1"], check=True, capture_output=True).stdout
    for route in xml.etree.ElementTree.fromstring(text).iter("route"):
        start, end = (int(route.get(key).removeprefix("node-")) for key in ("src", "dst"))
        links = [link.get("id") for link in route if link.get("id").startswith("router-")]
        ends = [tuple(map(int, link.split("-")[1:])) for link in links]
        least = sum(a != b for a, b in zip(router_of(start), router_of(end)))
        way = f"nodes {start} to {end}: {links}"
        check(len(links) == least, f"{way}, {least} links suffice")
        check([a for a, _ in ends] + [end // 2] == [start // 2] + [b for _, b in ends], way)


def main():
    if not shutil.which("smpicc"):
        print("skipped: smpicc of SimGrid is missing (jobs/install-deps.sh test)")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        here = pathlib.Path(name)
        scale = here / "scale.json"
        scale.write_text(json.dumps(study()))
        check_dragonfly()
        check_usage(here, scale)
        fast = simulate(here, scale, "topology=fat-tree,dragonfly", "ranks=4,16", "cores=4")
        slow = simulate(here, scale, "topology=ethernet", "ranks=4,16", "cores=4")
        check([run["nodes"] for run in fast] == [1, 4, 1, 4], "nodes")
        seconds = [check_run(run) for run in fast + slow]
        check(seconds[5] > seconds[1], "slower links make no longer step")
        again = simulate(here, scale, "topology=fat-tree", "ranks=4,16", "cores=4")
        check(again == fast[:2], "the same simulation has another result")
        faster = simulate(here, scale, "topology=fat-tree", "ranks=4", "cores=4", "faster=2")
        check(abs(faster[0]["compute_s"] - fast[0]["compute_s"] / 2) < 1e-9, "faster cores")
        check_exchange(here, scale)
        check_assumptions(here, scale)
        check_studies(here)
        broken = here / "broken.json"
        broken.write_text(json.dumps({**study(), "bucket_bounds": []}))
        simulate(here, broken, "topology=ethernet", "ranks=2", code=3)


if __name__ == "__main__":
    main()
