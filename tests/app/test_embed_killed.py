#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed says how far it is, and goes on where it was killed, on any number of ranks: the file is
that of an embed that was not killed, byte for byte. It starts anew for other rows, weights or
settings, and a failed one says whether its rows are kept."""

import os
import pty
import random
import re
import signal
import subprocess
import time

import h5py
import numpy
import program
from program import check, done, end, run, start, train

ROWS = 640
SEED = 20240229  # of the moments at which embeds are killed
# Half a second for each tile of rank 0, and a sync after each round.
SLOW = {"LJ_FAULT": "tile:0:-1:slow", "LJ_EMBED_SYNC_S": "0"}

holder, here = program.scratch()
archive = program.write_h5(
    here / "images.h5",
    images=program.images(ROWS),
    labels=numpy.arange(ROWS) % 7,
    split=numpy.arange(ROWS) % 2,
)


def words(out, *more):
    return [
        "embed",
        f"checkpoint={here / 'run'}",
        f"data.archive={archive}",
        f"out={here / out / 'e.h5'}",
        *more,
    ]


def straight(name, *more):
    (here / name).mkdir()
    done(name, words(name, *more))
    return (here / name / "e.h5").read_bytes()


def killed(name, seconds, *more, ranks=1):
    """An embed killed after so long; rows on disk, as its note says."""
    (here / name).mkdir(exist_ok=True)
    process = start(words(name, *more), ranks, env=SLOW)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    end(process)
    note = here / name / ".e.h5.rows"
    found = re.match(r"rows (\d+) xxh3", note.read_text()) if note.exists() else None
    return int(found[1]) if found else 0


def is_whole(name, what, wanted, ended):
    check(ended.code == 0 and not ended.errors, f"{what}: {ended.code}: {ended.tail()}")
    left = sorted(os.listdir(here / name))
    check(left == ["e.h5"], f"{what}: {left} are left")
    same = left == ["e.h5"] and (here / name / "e.h5").read_bytes() == wanted
    check(same, f"{what}: not the file of an embed that was not killed")


def test_killed(case):
    """Killed at random moments, on other numbers of ranks each time; then it ends."""
    number, ranks = case
    draw = random.Random(SEED + number)
    name, rows = f"killed-{number}", []
    for count in ranks[:-1]:
        rows.append(killed(name, draw.uniform(0.5, 4), ranks=count))
    check(rows == sorted(rows), f"{name}: rows on disk went down: {rows}")
    met.append(rows[-1] > 0)
    ended = run(words(name), ranks[-1])
    said = re.search(r"continuing at row (\d+) of 640", ended.err)
    # Ranks live a moment longer than their launcher.
    check(
        (int(said[1]) if said else 0) >= rows[-1],
        f"{name}: {rows} rows are on disk: {ended.tail()}",
    )
    is_whole(name, name, wanted, ended)


def test_readable():
    """What a killed embed leaves is HDF5 with the rows that its note counts."""
    rows = killed("readable", 4)
    with h5py.File(here / "readable" / ".e.h5.tmp") as file, h5py.File(
        here / "straight" / "e.h5"
    ) as good:
        for name in "embeddings", "labels", "row":
            check((file[name][:rows] == good[name][:rows]).all(), f"readable: {name}")
    check(rows > 0, "readable: killed too early")


def test_another():
    """Other rows, or the untrained encoder: the rows that are there are dropped, and it is said."""
    for name, more, why in (
        ("where", ["data.where=split=1"], "where"),
        ("untrained", ["features=untrained"], "weights_xxh3"),
        ("unlabelled", ["data.unlabelled=6"], "unlabelled"),
    ):
        fresh = straight(f"{name}-straight", *more)
        rows = killed(name, 4)
        ended = run(words(name, *more))
        check(rows > 0 and "continuing" not in ended.err, f"{name}: {rows} rows: {ended.tail()}")
        said = f"are dropped: it is of another {why}"
        check(said in ended.err, f"{name}: not said: {ended.tail()}")
        is_whole(name, name, fresh, ended)


def test_projections():
    """All views of the rows that are there stay; those of other views do not."""
    more = ["features=projection"]
    fresh = straight("views-straight", *more)
    rows = killed("views", 5, *more)
    ended = run(words("views", *more), 2)
    check(rows > 0 and "continuing" in ended.err, f"projections: {rows} rows: {ended.tail()}")
    is_whole("views", "projections", fresh, ended)
    rows = killed("other-views", 5, *more, "views.local=2")
    ended = run(words("other-views", *more))
    said = "are dropped: it is of another settings_xxh3"
    check(rows > 0 and said in ended.err, f"other views: {rows} rows: {ended.tail()}")
    is_whole("other-views", "other views", fresh, ended)


def test_damaged():
    """A note that does not hold, or a file that is cut: anew."""
    for name in "note", "cut":
        rows = killed(name, 4)
        note = here / name / ".e.h5.rows"
        if name == "note":
            note.write_text(note.read_text().replace("rows 0000", "rows 0001"))
        else:
            os.truncate(here / name / ".e.h5.tmp", 3000)
        ended = run(words(name))
        check(rows > 0 and "continuing" not in ended.err, f"{name}: {rows} rows: {ended.tail()}")
        is_whole(name, name, wanted, ended)


def test_two_at_once():
    (here / "two").mkdir()
    first = start(words("two", "threads=1"), env=SLOW)
    time.sleep(1.5)
    second = run(words("two"))
    check(
        second.code == 6 and "another process is writing" in second.err,
        f"two at once: {second.code}: {second.tail()}",
    )
    is_whole("two", "two at once", wanted, end(first))


def test_failed():
    """A chunk that cannot be read ends an embed; its rows are kept if some were synced. With the
    archive repaired, the same command goes on."""
    images = program.images(ROWS)
    with h5py.File(here / "filtered.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(32, *images.shape[1:]), fletcher32=True)
        at = file["images"].id.get_chunk_info(15)
    good = (here / "filtered.h5").read_bytes()
    bad = bytearray(good)
    bad[at.byte_offset + 5] ^= 1
    (here / "failed").mkdir()
    # The encoder's units would be compared on rows of all chunks before.
    command = words("failed", f"data.archive={here / 'filtered.h5'}", "features=pixels")
    for env, kept in (({}, False), ({"LJ_EMBED_SYNC_S": "0"}, True)):
        (here / "filtered.h5").write_bytes(bad)
        ended = run(command, env=env)
        left = sorted(os.listdir(here / "failed"))
        check(ended.code == 3, f"failed: exit code {ended.code}: {ended.tail()}")
        said = "rows of" in ended.err and "are kept" in ended.err
        none = "no rows are kept" in ended.err
        check(said == kept and none != kept, f"failed: {ended.tail()}")
        check(left == ([".e.h5.rows", ".e.h5.tmp"] if kept else []), f"failed: {left} are left")
    (here / "filtered.h5").write_bytes(good)
    ended = run(command, 2)
    check("continuing at row" in ended.err, f"failed and repaired: {ended.tail()}")
    check(ended.code == 0 and os.listdir(here / "failed") == ["e.h5"], f"repaired: {ended.tail()}")


def test_progress():
    (here / "lines").mkdir()
    ended = run(words("lines"), env={"LJ_EMBED_SYNC_S": "0"})
    lines = re.findall(r"row +(\d+)/640 +[\d.]+ rows/s +\d+m\d\ds left", ended.err)
    check(len(lines) > 2 and lines[-1] == "640", f"progress: {lines}: {ended.tail()}")
    (here / "bar").mkdir()
    ours, theirs = pty.openpty()
    ended = subprocess.run(program.command(words("bar")), stderr=theirs, check=False)
    shown = os.read(ours, 1 << 16).decode()
    os.close(theirs)
    check(
        ended.returncode == 0 and re.search(r"\r\[#{24}\] 640/640 ", shown),
        f"no bar on a terminal: {shown!r}",
    )


ended = train(
    here / "run", f"data.archive={archive}", "train.steps=2", "data.labels=none"
)
check(ended.code == 0, f"train: {ended.tail()}")
wanted = straight("straight")
met = []
program.at_once(test_killed, [(0, [1, 2, 3, 1]), (1, [2, 1, 2]), (2, [3, 3, 1, 2])])
check(sum(met) >= 2, f"only {sum(met)} of {len(met)} kills met rows on disk")
program.at_once(
    lambda test: test(),
    [
        test_readable,
        test_another,
        test_projections,
        test_damaged,
        test_two_at_once,
        test_failed,
        test_progress,
    ],
)
program.finish()
