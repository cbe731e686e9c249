#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""simulation_table.py DIR: from DIR/simulation.json, what simulate.sh found, a table in
DIR/simulation.md and a figure, DIR/simulation.svg, if there is gnuplot."""
import json
import pathlib
import shutil
import subprocess
import sys

MOVED = ("gradient", "weights")  # lines of the ledger that are no small messages


def small_share(run):
    """Of a step, what is exposed of all small messages."""
    small = sum(line["exposed_s"] for line in run["ledger"] if line["name"] not in MOVED)
    return small / run["step_s"]


def added_s(run):
    """By communication to a step, copies inside a node included."""
    return run["step_s"] - run["compute_s"]


def assumptions(run):
    """What is not as it was measured: speeds by which measured times were divided."""
    words = []
    if run["faster"] != 1:
        words.append(f"cores {run['faster']:g} times as fast as measured")
    if run["bf16"] != 1:
        words.append(f"forward, projector and backward {run['bf16']:g} times as fast by bf16")
    return "Assumed: " + ("; ".join(words) or "nothing; times are as measured") + "."


def is_of_several(runs):
    return len({run["study"] for run in runs}) > 1


def row(run, is_named):
    predicted = run["prediction"]
    cells = [run["objective"], run["topology"], run["ranks"], run["nodes"],
             "nodes" if run["nodes_exchange"] else "ranks", f"{run['step_s']:.4f}",
             f"{run['efficiency']:.3f}", f"{1e3 * added_s(run):.2f}",
             f"{100 * small_share(run):.3f}"]
    if is_named:
        cells.insert(0, run["study"].replace("|", "\\|"))
    if predicted:
        off = predicted["step_s"] / run["step_s"] - 1
        cells += [f"{predicted['step_s']:.4f}", f"{1e3 * predicted['exposed_s']:.2f}",
                  f"{100 * off:+.1f}"]
    else:
        cells += ["-", "-", "-"]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def write_table(runs, path):
    head = ["objective", "links", "ranks", "nodes", "who exchanges", "step s", "efficiency",
            "adds ms", "small messages %", "predicted s", "predicted to add ms", "off %"]
    is_named = is_of_several(runs)
    if is_named:
        head.insert(0, "study")
    lines = [assumptions(runs[0]), "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [row(run, is_named) for run in runs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def curve(run, is_named):
    name = f"{run['objective']}, {run['topology']}"
    return f"{run['study']}: {name}".replace("'", "''") if is_named else name


def draw(runs, out):
    """Seconds of a step that are exposed, simulated as points and predicted as lines."""
    is_named = is_of_several(runs)
    names = list(dict.fromkeys(curve(run, is_named) for run in runs))
    script = ["set terminal svg size 720,440 noenhanced font 'sans-serif,13'",
              f"set output '{out / 'simulation.svg'}'", "set logscale xy",
              "set xlabel 'ranks'", "set ylabel 'seconds of a step that communication adds'",
              "set key outside bottom center horizontal", "set grid"]
    blocks, plots = [], []
    if len({run["ranks"] for run in runs}) == 1:
        script.append(f"set xrange [{runs[0]['ranks'] / 2}:{runs[0]['ranks'] * 2}]")
    for i, name in enumerate(names):
        points = [run for run in runs if curve(run, is_named) == name]
        blocks.append(f"$run{i} << EOD")
        for run in points:
            predicted = (run["prediction"] or {}).get("exposed_s", "NaN")
            blocks.append(f"{run['ranks']} {added_s(run)} {predicted}")
        blocks.append("EOD")
        colour = i + 1
        plots.append(f"$run{i} using 1:2 with points pt 7 lc {colour} title '{name}'")
        plots.append(f"$run{i} using 1:3 with lines lc {colour} title '{name}, predicted'")
    script += blocks + ["plot " + ", ".join(plots)]
    (out / "simulation.gp").write_text("\n".join(script) + "\n", encoding="utf-8")
    if shutil.which("gnuplot"):
        subprocess.run(["gnuplot", str(out / "simulation.gp")], check=True)


def main():
    out = pathlib.Path(sys.argv[1])
    text = (out / "simulation.json").read_text(encoding="utf-8")
    runs = [json.loads(line) for line in text.splitlines()]
    write_table(runs, out / "simulation.md")
    draw(runs, out)


if __name__ == "__main__":
    main()
