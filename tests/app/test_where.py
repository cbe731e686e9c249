#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""data.where selects what numpy selects, by numbers and strings, and says what it does not
understand."""

import json

import h5py
import numpy

import program
from program import check, done, read, run

ROWS = 60
holder, here = program.scratch()
rows = numpy.arange(ROWS)
names = numpy.array(["train", "test", "hold out", "a,b"])[rows % 4]
z = (rows / 10).astype("f4")
z[7] = numpy.nan
label = rows % 7 - 1
archive = program.write_h5(
    here / "archive.h5",
    images=program.images(ROWS),
    z=z,
    label=label.astype("i4"),
    flag=(rows % 3 == 0),
    column=label.reshape(-1, 1),
    fixed=numpy.char.encode(names),
)
with h5py.File(archive, "r+") as file:
    file["variable"] = names.astype(object)

GOOD = [  # data.where, rows that numpy selects
    ("label=2", label == 2),
    ("label=-1", label == -1),
    ("label = 1, 3..5", numpy.isin(label, [1, 3, 4, 5])),
    ("label!=0,1", ~numpy.isin(label, [0, 1])),
    ("column=-1..0", numpy.isin(label, [-1, 0])),
    ("z<0.5", z < 0.5),
    ("z<=0.5", z <= 0.5),
    ("z>5.5", z > 5.5),
    ("z>=5.5 and label=2", (z >= 5.5) & (label == 2)),
    ("z!=1", (z != 1) & ~numpy.isnan(z)),
    ("z=1.5..1.75", (z >= 1.5) & (z <= 1.75)),
    ("flag!=1", rows % 3 != 0),
    ("flag==1 AND label>2", (rows % 3 == 0) & (label > 2)),
    ("fixed=train", names == "train"),
    ("variable=train,test", numpy.isin(names, ["train", "test"])),
    ("variable!='hold out'", names != "hold out"),
    ('fixed="a,b" and variable="a,b" and z<3', (names == "a,b") & (z < 3)),
    ("/label=2", label == 2),
]
BAD = [  # data.where, exit code, what the message holds
    ("label", 2, "'label' is no condition"),
    ("label=", 2, "'label=' is no condition"),
    ("=3", 2, "'=3' is no condition"),
    ("label=1 and", 2, "numbers"),
    ("label=1 and z", 2, "'z' is no condition"),
    ("z<1,2", 2, "'z<1,2' is no condition"),
    ("z<1..2", 2, "'z<1..2' is no condition"),
    ("fixed='train", 2, "is no condition"),
    ("label=two", 2, "'two' is none"),
    ("fixed<train", 2, "no order"),
    ("label=99", 3, "selects none of 60 rows"),
    ("fixed=none", 3, "selects none of 60 rows"),
    ("gone=1", 3, "no dataset gone"),
    ("images=1", 3, "number or string"),
]


def test_good(case):
    where, keep = case
    words = ["inspect", f"data.archive={archive}", f"data.where={where}", "json=1"]
    found = json.loads(done(where, words).out)["selected"]
    check(found == keep.sum(), f"{where}: {found} rows, expected {keep.sum()}")


def test_rows():
    """The rows themselves, in order."""
    where, keep = GOOD[8]
    done(
        "train",
        [
            "train",
            *program.TINY,
            f"data.archive={archive}",
            f"run.dir={here / 'run'}",
            "train.steps=1",
        ],
    )
    out = here / "rows.h5"
    words = [f"checkpoint={here / 'run'}", f"data.archive={archive}", f"data.where={where}"]
    done("embed", ["embed", *words, f"out={out}"], ranks=2)
    check(numpy.array_equal(read(out, "row"), rows[keep]), f"rows {read(out, 'row')}")


def test_bad(case):
    where, code, text = case
    ended = run(["inspect", f"data.archive={archive}", f"data.where={where}"])
    check(
        ended.code == code and text in ended.err,
        f"{where}: exit code {ended.code}, expected {code} and '{text}': {ended.tail()}",
    )


program.at_once(test_good, GOOD)
program.at_once(test_bad, BAD)
test_rows()
program.finish()
