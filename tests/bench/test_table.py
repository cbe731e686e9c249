#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""table.py on what benchmarks print: test_table.py TABLE."""

import json
import pathlib
import subprocess
import sys
import tempfile


def line(name, median, ratio, **more):
    return json.dumps(
        {
            "name": name,
            "shape": "D=64 | M=16",
            "isa": "avx2",
            "ranks": 1,
            "threads": 1,
            "median": median,
            "unit": "ms",
            "reference": 0.5,
            "ratio": ratio,
            "against": "its matmuls",
            "target": None,
            **more,
        }
    )


FIRST = [
    line("sigreg", 1.0, 2.0),
    line("step", 225.25, 0.84, unit="GFLOP/s", reference=268.2, target=0.79, ranks=2),
]
SECOND = [line("sigreg", 0.75, 1.5)]
ONE = """\
| work | figure | reference | ratio |
|---|---|---|---|
| sigreg, D=64 \\| M=16, avx2 | 1 ms | 0.5 ms: its matmuls | 2 |
| step, D=64 \\| M=16, avx2, 2 ranks | 225.2 GFLOP/s | 268.2 GFLOP/s: its matmuls \
| 0.84 (target 0.79) |
"""
TWO = """\
| work | against | here: figure | here: ratio | there: figure | there: ratio |
|---|---|---|---|---|---|
| sigreg, D=64 \\| M=16, avx2 | its matmuls | 1 ms | 2 | 0.75 ms | 1.5 |
| step, D=64 \\| M=16, avx2, 2 ranks | its matmuls | 225.2 GFLOP/s | 0.84 (target 0.79) |  |  |
"""


def table(*words):
    return subprocess.run(
        [sys.executable, sys.argv[1], *map(str, words)], check=True, capture_output=True, text=True
    ).stdout


def main():
    with tempfile.TemporaryDirectory() as here:
        build, printed = pathlib.Path(here, "build"), pathlib.Path(here, "printed.txt")
        (build / "meson-logs").mkdir(parents=True)
        log = [
            json.dumps({"name": "lejepa_mpi:bench / x", "stdout": one + "\n", "result": "OK"})
            for one in FIRST
        ]
        (build / "meson-logs/benchmarklog.json").write_text("\n".join(log))
        printed.write_text("\n".join(["1/2 bench", *SECOND, "ok"]))
        for words, wanted in (
            ([build], ONE),
            ([f"here={build}", f"there={printed}"], TWO),
            (["--only", "^step", build], "\n".join(ONE.split("\n")[i] for i in (0, 1, 3)) + "\n"),
        ):
            found = table(*words)
            if found != wanted:
                sys.exit(f"table.py {words}: expected\n{wanted}found\n{found}")


main()
