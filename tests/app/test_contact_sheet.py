#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""views draws what training is fed: whole pictures, the same on any number of ranks, of the samples
of a step; what was drawn stands beside."""

import json
import struct
import zlib

import numpy

import program
from program import check, done, run

holder, here = program.scratch()
SMALL = "model=vit model.width=16 model.depth=1 model.heads=1 model.patch=7 batch.size=16".split()
PLAIN = (
    "views.local=0 views.global_scale=1,1 views.ratio=1,1 views.blur=0 views.jitter=0 "
    "views.grey=0 views.solarize=0"
).split()
GAP = 8  # pixels between cells


def picture(path):
    """A PNG as an array (height, width, 3), by zlib alone; every checksum is looked at."""
    data = path.read_bytes()
    check(data[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name}: signature {data[:8]}")
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        check(crc == zlib.crc32(kind + body), f"{path.name}: checksum of {kind}")
        chunks[kind] = body
        at += 12 + length
    check(list(chunks) == [b"IHDR", b"IDAT", b"IEND"], f"{path.name}: chunks {list(chunks)}")
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    check(kind == [8, 2, 0, 0, 0], f"{path.name}: kind {kind}")
    rows = numpy.frombuffer(zlib.decompress(chunks[b"IDAT"]), "u1").reshape(height, 1 + 3 * width)
    check((rows[:, 0] == 2).all(), f"{path.name}: filters {set(rows[:, 0])}")
    return numpy.cumsum(rows[:, 1:], axis=0, dtype="u1").reshape(height, width, 3)


def views(name, path, *words, ranks=1):
    out = here / f"{name}.png"
    done(name, ["views", f"data.archive={path}", f"out={out}", *SMALL, *words], ranks)
    return picture(out), json.loads((here / f"{name}.json").read_text()), out.read_bytes()


def cells(sheet, rows, columns, side):
    """[row][column] of a sheet whose cells are all squares of this side."""
    step = side + GAP
    return [
        [
            sheet[GAP + r * step : GAP + r * step + side, GAP + c * step : GAP + c * step + side]
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def difference(a, b):
    return numpy.abs(a.astype(int) - b.astype(int)).max()


def test_pixels():
    """Images and views where nothing is random but turns: against the archive itself."""
    side = 36  # 144 pixels of a cell are 4 times that
    stored = program.images(64, shape=(side, side))
    path = program.write_h5(here / "grey.h5", images=stored, labels=numpy.arange(64) % 3)
    words = [*PLAIN, "model.patch=6", "views.flip=0.5", "views.flip_vertical=0.5"]
    sheet, told, _ = views("pixels", path, *words, "views.rotate=0.7", "rows=12")
    (low, high), turned = told["shown_range"][0], 0
    check(0 <= low < 0.02 and 0.98 < high <= 1, f"range {low} to {high}")
    check(len(told["rows"]) == 12, f"{len(told['rows'])} rows")
    for row, (image, *made) in zip(told["rows"], cells(sheet, 12, 3, 4 * side)):
        wanted = numpy.clip((stored[row["row"]] / 255 - low) / (high - low), 0, 1) * 255
        edge = slice(4 * 4, -4 * 4)  # the borders of crops are drawn over the rest
        large = numpy.repeat(numpy.repeat(wanted, 4, 0), 4, 1)[..., None]
        check(difference(image[edge, edge], large[edge, edge]) <= 1, f"image of {row['sample']}")
        check(row["label"] == row["row"] % 3, f"label {row['label']} of row {row['row']}")
        for view, pixels in zip(row["views"], made):
            check(view["crop"] == dict(top=0, left=0, height=side, width=side), f"{view['crop']}")
            view_wanted = large
            if view["flip"]:
                view_wanted = view_wanted[:, ::-1]
            if view["flip_vertical"]:
                view_wanted = view_wanted[::-1]
            view_wanted = numpy.rot90(view_wanted, view["quarters"])
            turned += view["quarters"] > 0
            check(difference(pixels, view_wanted) <= 1, f"a view of {row['sample']}")
    check(0 < turned < 24, f"{turned} of 24 views are turned")


def test_same():
    """A pure function of the seed, on any number of ranks; another seed, another picture."""
    path = program.archive(here / "same.h5")
    first = views("same", path)
    check(first[2] == views("same2", path, ranks=2)[2], "two ranks draw another picture")
    check(first[2] != views("other", path, "seed=1")[2], "seed=1 draws the same picture")


def test_steps():
    """The samples of an epoch's steps are the archive's rows, each once."""
    path, seen = program.archive(here / "steps.h5"), []
    for step in range(4):
        _, told, _ = views(f"step{step}", path, f"step={step}", "rows=100")
        check(told["step"] == step, f"step {told['step']}")
        check(all(row["epoch"] == 0 for row in told["rows"]), f"step {step}: epochs")
        seen += [row["row"] for row in told["rows"]]
    check(sorted(seen) == list(range(64)), f"rows of four steps: {sorted(seen)}")
    _, told, _ = views("step4", path, "step=4")
    check(all(row["epoch"] == 1 for row in told["rows"]), "step 4 is of the second epoch")


def test_held_out():
    """Rows that an evaluation holds out, one of each ten, are not shown, since they never train."""
    path, seen = program.archive(here / "held.h5"), set()
    for step in range(4):
        _, told, _ = views(f"held{step}", path, f"step={step}", "rows=100", "eval.every=2")
        seen |= {row["row"] for row in told["rows"] if row["epoch"] == 0}
    missing = sorted(set(range(64)) - seen)
    check([row // 10 for row in missing][:6] == list(range(6)), f"held out: {missing}")
    check(len(missing) in (6, 7), f"held out: {missing}")


def test_sparse():
    """A picture shows objects that fill less of it than what is cut off at both ends."""
    stored = numpy.zeros((64, 28, 28), "f4")
    stored[:, 3, 5] = 1000
    path = program.write_h5(here / "sparse.h5", images=stored)
    _, told, _ = views("sparse", path)
    low, high = told["shown_range"][0]
    check(high > low, f"sparse: {told['shown_range']}")


def test_channels():
    """Which channels are shown, and which are dropped."""
    rng = numpy.random.default_rng(5)
    planes = rng.normal([[[[0]], [[1000]], [[-5]], [[7]]]], 1, (32, 4, 36, 36)).astype("f4")
    path = program.write_h5(here / "bands.h5", images=planes)
    words = [*PLAIN, "model.patch=6", "views.flip=0", "data.axes=nchw", "rows=2"]
    _, told, _ = views("all", path, *words, "channels=all", "views.band_dropout=0.5")
    sheet = cells(picture(here / "all.png"), 2 * 4, 3, 144)
    for k, row in enumerate(told["rows"]):
        for v, view in enumerate(row["views"]):
            flat = [c for c in range(4) if numpy.ptp(sheet[4 * k + c][1 + v].astype(int)) == 0]
            check(flat == view["dropped"], f"row {k}, view {v}: flat {flat}, {view['dropped']}")
    apart = cells(views("apart", path, *words, "channels=all")[0], 8, 3, 144)
    mixed = cells(views("mixed", path, *words, "channels=3,0,2")[0], 2, 3, 144)
    for i, c in enumerate((3, 0, 2)):
        check((mixed[0][1][..., i] == apart[c][1][..., i]).all(), f"channel {c} in colour {i}")
    one = cells(views("one", path, *words, "channels=1")[0], 2, 3, 144)
    check((one[0][1] == apart[1][1]).all(), "channel 1 in grey")


def test_angles():
    """Views of a disc that covers what is around the crop look the same at any angle; the angles
    are told."""
    y, x = numpy.mgrid[:36, :36] - 17.5
    disc = (255 * numpy.exp(-(x * x + y * y) / 200)).astype("u1")
    path = program.write_h5(here / "disc.h5", images=numpy.repeat(disc[None], 32, 0))
    words = [*PLAIN, "model.patch=6", "views.flip=0", "data.axes=nhw", "rows=4"]
    sheet, told, _ = views("angles", path, *words, "views.rotate_any=1")
    plain = cells(views("straight", path, *words)[0], 4, 3, 144)
    for k, (row, made) in enumerate(zip(told["rows"], cells(sheet, 4, 3, 144))):
        angles = [view["degrees"] for view in row["views"]]
        check(all(0 < angle < 360 for angle in angles), f"angles {angles}")
        inner = slice(24, -24)  # inside the image at any angle
        for v in (1, 2):
            apart = difference(made[v][inner, inner], plain[k][v][inner, inner])
            check(apart < 12, f"row {k}: a disc turned by {angles[v - 1]} differs by {apart}")


def test_large():
    """Images larger than a cell, and not square, of 16 bits."""
    stored = program.images(16, shape=(700, 300)).astype("u2") * 17
    path = program.write_h5(here / "large.h5", images=stored)
    sheet, _, _ = views("large", path, "data.axes=nhw", "views.global_size=56", "rows=3")
    check(sheet.shape[0] == GAP + 3 * (144 + GAP), f"height {sheet.shape}")


def test_redraws():
    """Crops of small objects that training draws again are those that views says, on any number of
    ranks, also where views are made a second time."""
    stored = program.images() // 100
    stored[:, 10:14, 6:10] += 200
    path = program.write_h5(here / "objects.h5", images=stored)
    words = ["model.patch=4", "views.local=3", "views.redraw=5"]
    wanted = []
    for step in range(3):
        _, told, _ = views(f"redraws{step}", path, *words, f"step={step}", "rows=16")
        drawn = [view["redraws"] for row in told["rows"] for view in row["views"]]
        wanted.append(sum(drawn))
        check(len(drawn) == 16 * 5 and 0 < max(drawn) <= 5, f"redraws of step {step}: {drawn}")
    for ranks, recompute in ((1, "none"), (1, "lanes"), (2, "none")):
        run_dir = here / f"redraws-{ranks}-{recompute}"
        more = [*words, f"data.archive={path}", "train.steps=3", f"memory.recompute={recompute}"]
        ended = program.train(run_dir, *more, ranks=ranks)
        found = [row["redraws"] * 16 * 5 for row in program.metrics(run_dir)]
        check(numpy.allclose(found, wanted, rtol=1e-6), f"{run_dir.name}: {found}, not {wanted}")
        said = f"drawn again {sum(wanted)} times, {sum(wanted) / 240:.3f} times a view"
        check(said in ended.err, f"{run_dir.name}: not '{said}': {ended.tail()}")
    program.train(here / "once", f"data.archive={path}", "train.steps=1")
    check("redraws" not in program.metrics(here / "once")[0], "redraws without views.redraw")


def refused(case):
    words, code, said = case
    ended = run(["views", *SMALL, *words])
    good = ended.code == code and len(ended.errors) == 1
    check(good and said in ended.errors[0], f"{words}: {ended.code} {ended.errors}")


def test_refused():
    path = f"data.archive={program.archive(here / 'refused.h5')}"
    out = f"out={here / 'refused.png'}"
    no_place = f"out={here / 'none' / 'refused.png'}"
    cases = [
        ([path], 2, "out= is missing"),
        ([path, f"out={here / 'refused.h5'}"], 2, ".png"),
        ([path, out, "channels=1"], 2, "channels=1"),
        ([path, out, "channels=0,0"], 2, "channels=0,0"),
        ([path, out, "channels=red"], 2, "channels=red"),
        ([path, out, "rows=0"], 2, "rows"),
        ([path, out, "rows=256", "batch.size=64", "views.local=0", "views.global=64",
          "views.global_size=980"], 2, "too large"),
        ([path, out, "views.global_size=30"], 2, "views.global_size"),
        ([path, out, "batch.size=128"], 3, "batch.size"),
        ([path, no_place], 6, "refused.png"),
        ([f"data.archive={here / 'missing.h5'}", out], 3, "missing.h5"),
    ]
    program.at_once(refused, cases)
    check(not (here / "refused.png").exists(), "a picture is left")


program.at_once(
    lambda test: test(),
    [
        test_pixels,
        test_same,
        test_steps,
        test_held_out,
        test_sparse,
        test_channels,
        test_angles,
        test_large,
        test_redraws,
        test_refused,
    ],
)
program.finish()
