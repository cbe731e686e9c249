#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run keeps the index of its archives and takes it from there when it continues; a file that was
changed is seen."""

import os
import time

import program
from program import check, train

holder, here = program.scratch()
directory = here / "run"
PARTS = [here / f"part{i}.h5" for i in range(3)]
HELD_OUT = here / "held-out.h5"
NONE_OPENED = "none was opened for it"


def aged(path):
    """As if the last change were long ago: of files just written no index is kept."""
    long_ago = time.time() - 100
    os.utime(path, (long_ago, long_ago))


def go_on(what, steps, *words, ranks=1, data=here / "part*.h5"):
    """Trains up to so many steps; returns what was said of each index."""
    ended = train(directory, f"data.archive={data}", f"train.steps={steps}",
                  "resume.change=train.steps", *words, ranks=ranks)
    check(ended.code == 0, f"{what}: exit code {ended.code}: {ended.tail()}")
    return [line for line in ended.err.splitlines() if "index" in line]


for path in [*PARTS, HELD_OUT]:
    aged(program.archive(path))
evaluation = [
    "eval.every=1",
    f"eval.archive={HELD_OUT}",
    "data.where=split=0",
    "eval.where=split=1",
]

check(go_on("first start", 1) == [], "the first start speaks of an index")
said = go_on("second start", 2)
check(len(said) == 1 and "index of 3 files is from index.cache" in said[0]
      and NONE_OPENED in said[0], f"second start: {said}")
check(NONE_OPENED in (directory / "log.txt").read_text(), "log.txt does not have it")
said = go_on("two ranks", 3, ranks=2)
check(len(said) == 1 and NONE_OPENED in said[0], f"two ranks: {said}")

directory = here / "evaluated"
go_on("first start", 1, *evaluation)
said = go_on("second start", 2, *evaluation)
check(len(said) == 2 and all(NONE_OPENED in line for line in said)
      and "index of 1 file is from eval-index.cache" in said[1], f"evaluation: {said}")

directory = here / "run"
aged(program.archive(PARTS[1], count=64))
os.utime(PARTS[1], (1e9, 1e9))
said = go_on("a changed file", 4)
check(len(said) == 1 and "index.cache is not used" in said[0] and "part1.h5 has changed" in said[0],
      f"a changed file: {said}")
said = go_on("after it", 5)
check(len(said) == 1 and NONE_OPENED in said[0], f"after the changed file: {said}")

cache = directory / "index.cache"
cache.write_bytes(cache.read_bytes()[:-1])
said = go_on("a damaged cache", 6)
check(len(said) == 1 and "index.cache is not used: it is damaged" in said[0],
      f"a damaged cache: {said}")
check(not list(directory.glob("*.partial")), f"left behind: {list(directory.glob('*.partial'))}")
program.finish()
