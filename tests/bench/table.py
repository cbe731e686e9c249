#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lines of JSON that benchmarks print, as a Markdown table for RESULTS.md.

    table.py [--only REGEX] [LABEL=]LOG ...

LOG is a build directory (its log of the last `meson test -C build --benchmark`), such a log, a file
with the output of `meson test -C build --benchmark -v`, or - for standard input. One log gives
work, figure, reference and ratio. Several, with labels such as Debian12=build, give figure and
ratio of each side by side. --only keeps the work that REGEX matches.
"""

import argparse
import json
import pathlib
import re
import sys


def lines_of(log):
    """Every line of a log, and of the outputs inside a log of meson's."""
    if log == "-":
        text = sys.stdin.read()
    else:
        path = pathlib.Path(log)
        text = (path / "meson-logs/benchmarklog.json" if path.is_dir() else path).read_text(
            encoding="utf-8"
        )
    for line in text.split("\n"):
        yield line
        if line.startswith("{") and '"stdout"' in line:
            yield from json.loads(line).get("stdout", "").split("\n")


def results_of(log):
    """Work -> what was measured; of equal work the last."""
    found = {}
    for line in lines_of(log):
        match = re.search(r'\{"name": .*"ratio": .*\}', line)
        if not match or '"stdout"' in line:
            continue
        result = json.loads(match[0])
        ranks, threads = result.get("ranks", 1), result.get("threads", 1)
        many = [
            f"{count} {what}s"
            for count, what in ((ranks, "rank"), (threads, "thread"))
            if count > 1
        ]
        work = ", ".join(
            [result["name"], result["shape"], *([result["isa"]] if "isa" in result else []), *many]
        )
        found[work.replace("|", "\\|")] = result
    return found


def ratio(result):
    target = result.get("target")
    return f"{result['ratio']:.3g}" + (f" (target {target:.3g})" if target is not None else "")


def figure(result):
    return f"{result['median']:.4g} {result['unit']}"


def table(logs, only):
    """logs: label and results of each."""
    if len(logs) == 1:
        rows = [["work", "figure", "reference", "ratio"]]
        for work, result in logs[0][1].items():
            reference = f"{result['reference']:.4g} {result['unit']}: {result['against']}"
            rows.append([work, figure(result), reference, ratio(result)])
    else:
        rows = [
            [
                "work",
                "against",
                *(f"{label}{what}" for label, _ in logs for what in (": figure", ": ratio")),
            ]
        ]
        for work in dict.fromkeys(work for _, results in logs for work in results):
            those = [results.get(work) for _, results in logs]
            cells = [
                cell
                for result in those
                for cell in ((figure(result), ratio(result)) if result else ("", ""))
            ]
            rows.append([work, next(result["against"] for result in those if result), *cells])
    rows = (
        rows[:1] + [["---"] * len(rows[0])] + [row for row in rows[1:] if re.search(only, row[0])]
    )
    return "".join(
        "|" + "|".join(row) + "|\n" if row[0] == "---" else "| " + " | ".join(row) + " |\n"
        for row in rows
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("logs", nargs="+", metavar="[LABEL=]LOG")
    given = parser.parse_args()
    logs = []
    for word in given.logs:
        label, _, log = word.rpartition("=")
        results = results_of(log)
        if not results:
            sys.exit(
                f"{log}: holds no line of a benchmark; meson test -C build --benchmark makes some"
            )
        logs.append((label, results))
    sys.stdout.write(table(logs, given.only))


main()
