#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input from outside: every case ends soon, with its documented exit code on every rank and one
message that names the culprit and what to do, and leaves nothing that looks like a result."""

import gzip
import json
import math
import os
import pathlib
import struct
import sys

import h5py
import numpy

import program
from program import check, run, train

holder, here = program.scratch()
VERBOSE = "-v" in sys.argv


# ---- inputs --------------------------------------------------------------------------------------


def make_inputs():
    good = program.archive(here / "good.h5")
    data = good.read_bytes()
    (here / "text.h5").write_text("these are not the bytes of an archive\n" * 40)
    (here / "cut.h5").write_bytes(data[: len(data) // 2])
    (here / "wrapped.h5.gz").write_bytes(gzip.compress(data))
    (here / "nothing").mkdir()
    (here / "folder.h5").mkdir()
    (here / "empty_file.h5").write_bytes(b"")
    os.mkfifo(here / "pipe.h5")
    pixels = program.images()
    program.write_h5(
        here / "odd.h5",
        images=pixels,
        matrix=pixels[:, 0],
        volume5=pixels[:, None, None],
        words=numpy.array([b"galaxy"] * 64),
        none=pixels[:0],
        labels=numpy.arange(63),
        halves=numpy.arange(64) / 2,
    )
    program.write_h5(here / "few.h5", images=pixels[:8])
    program.write_h5(here / "empty.h5", images=pixels[:0])
    broken = pixels.astype("f4") / 255
    broken[:, 3, 4] = numpy.nan
    program.write_h5(here / "nan.h5", images=broken)
    program.write_h5(here / "unlabelled.h5", embeddings=numpy.ones((30, 4), "f4"))
    program.write_h5(here / "scalars.h5", text=b"no array here")
    (here / "list.yaml").write_text("optim:\n  lr: [1, 2]\n")
    (here / "bad.yaml").write_text("optim:\n  lr: 'one\n")
    (here / "probes.yaml").write_text("l2: 0.5\n")
    (here / "unknown.yaml").write_text("optim:\n  lrr: 1\n")


def make_promises():
    """Datasets whose shapes are not what the files hold."""

    def promise(name, **shapes):
        with h5py.File(here / name, "a") as file:
            for dataset, shape in shapes.items():
                chunk = tuple(min(size, 4) for size in shape)
                made = file.create_dataset(dataset, shape, "f4", chunks=chunk)
                if math.prod(shape) < 2**63:
                    made[(0,) * len(shape)] = 1

    (here / "wrap").mkdir()
    for part in range(3):
        promise(f"wrap/{part}.h5", images=(2**63 - 256, 28, 28))
    program.archive(here / "long_labels.h5")
    with h5py.File(here / "long_labels.h5", "a") as file:
        del file["labels"]
    promise("long_labels.h5", labels=(2**50,))
    promise("none.h5", embeddings=(2**48, 2**16))
    program.write_h5(here / "views.h5", proj=numpy.ones((129, 2, 2), "f4"))
    program.write_h5(here / "wide.h5", embeddings=numpy.ones((2, 65537), "f4"))
    program.write_h5(here / "long_column.h5", embeddings=numpy.ones((30, 4), "f4"))
    promise("long_column.h5", labels=(2**50,))


def make_virtual(name, layout, sources, **options):
    """A virtual dataset of images: parts of 32 rows each."""
    with h5py.File(here / name, "w") as file:
        virtual = h5py.VirtualLayout((layout, 28, 28), "u1")
        for i, source in enumerate(sources):
            virtual[32 * i : 32 * i + 32] = h5py.VirtualSource(source, "images", (32, 28, 28))
        file.create_virtual_dataset("images", virtual, **options)


def make_raw(name, raw):
    """Images in an external file of this name."""
    with h5py.File(here / name, "w") as file:
        place = [(str(raw), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("images", (64, 28, 28), "u1", external=place)


def make_ambiguous():
    """Archives of which a rule would guess wrongly."""
    (here / "climate").mkdir()
    for i in range(3):
        program.write_h5(here / "climate" / f"{i}.h5", data=numpy.ones((48, 72, 16), "f4"))
    volume = program.images(40, shape=(28, 28))
    program.write_h5(here / "masked.h5", volume=volume, mask=volume)
    (here / "scans").mkdir()
    program.write_h5(here / "scans" / "1.h5", scan1=volume)
    program.write_h5(here / "scans" / "2.h5", scan2=volume)


def make_unstored():
    """Datasets that HDF5 reads as zeros."""
    pixels = program.images()
    with h5py.File(here / "unwritten.h5", "w") as file:
        file.create_dataset("images", (64, 28, 28), "u1")
    with h5py.File(here / "half.h5", "w") as file:
        made = file.create_dataset("images", (64, 28, 28), "u1", chunks=(16, 28, 28))
        made[:20] = pixels[:20]
    (here / "below").mkdir()
    program.write_h5(here / "below" / "one.h5", images=pixels[:32])
    program.write_h5(here / "below" / "two.h5", images=pixels[32:])
    make_virtual("virtual.h5", 64, ["below/one.h5", "below/two.h5"])
    make_virtual("lost.h5", 64, ["below/one.h5", "three.h5"])
    make_virtual("moved.h5", 64, ["one.h5", "two.h5"])
    make_virtual("holes.h5", 64, ["below/one.h5"])
    (here / "below" / "pixels.raw").write_bytes(pixels.tobytes())
    (here / "short.raw").write_bytes(pixels.tobytes()[:-1])
    make_raw("raw.h5", here / "below" / "pixels.raw")
    make_raw("short_raw.h5", here / "short.raw")
    make_raw("lost_raw.h5", "pixels.raw")


def safetensors(name, header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (here / name).write_bytes(
        struct.pack("<Q", len(text) if length is None else length) + text + body
    )


def make_wrong_shape():
    """A whole export whose class token has another shape."""
    made = run(["export", f"checkpoint={here / 'run'}", f"out={here / 'whole.safetensors'}"])
    check(made.code == 0, f"export failed: {made.tail()}")
    whole = (here / "whole.safetensors").read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    make_unfit_exports(whole, header, whole[8 + length :])
    header["cls_token"]["shape"] = [1, 2, 8]
    safetensors("shape.safetensors", header, whole[8 + length :])


def make_unfit_exports(whole, header, body):
    """A whole export that was cut, one with a type nobody reads, one whose tensors overlap."""
    (here / "cut.safetensors").write_bytes(whole[:-100])
    for name, change in [("type", {"dtype": "I32"}), ("overlap", {"data_offsets": [0, 64]})]:
        changed = json.loads(json.dumps(header))
        tensor = max(
            (key for key in changed if key != "__metadata__"),
            key=lambda key: changed[key]["data_offsets"],
        )
        changed[tensor].update(change)
        if name == "overlap":
            changed[tensor]["shape"] = [16]
        safetensors(f"{name}.safetensors", changed, body)


def make_safetensors():
    safetensors("long.safetensors", {}, length=1 << 40)
    safetensors(
        "outside.safetensors",
        {"cls_token": {"dtype": "F32", "shape": [1, 1, 16], "data_offsets": [4096, 4160]}},
        b"\0" * 64,
    )
    safetensors(
        "lacking.safetensors",
        {"cls_token": {"dtype": "F32", "shape": [1, 1, 16], "data_offsets": [0, 64]}},
        b"\0" * 64,
    )
    safetensors("syntax.safetensors", b"{\"cls_token\": ")


def flip_bit(path, what="weights/pos_embed"):
    """One bit of a dataset's bytes."""
    with h5py.File(path) as file:
        offset = file[what].id.get_offset()
    with open(path, "r+b") as file:
        file.seek(offset + 5)
        byte = file.read(1)[0]
        file.seek(offset + 5)
        file.write(bytes([byte ^ 4]))


def make_runs():
    """A good run of 4 steps, and damaged copies of it."""
    made = train(here / "run", "train.steps=4", "checkpoint.every=2", data("good.h5"))
    check(made.code == 0, f"the good run failed: {made.tail()}")
    one = program.copy(here / "run", here / "one_damaged")
    program.checkpoints(one)[0].unlink()
    flip_bit(program.checkpoints(one)[0])
    both = program.copy(here / "run", here / "newest_damaged")
    flip_bit(program.checkpoints(both)[1])


# ---- the table -----------------------------------------------------------------------------------


def data(name):
    return f"data.archive={here / name}"


LABELS = ("eval.every=1",)  # train reads labels only to evaluate


def train_cases():
    """name, words of train, exit code, what the message holds"""
    yield "missing file", [data("missing.h5")], 3, ["missing.h5", "data.archive"]
    yield "directory without archives", [data("nothing")], 3, [
        "nothing",
        "no HDF5 file",
        "data.archive",
    ]
    yield "directory named as a file", [data("folder.h5")], 3, ["folder.h5", "no HDF5 file"]
    yield "no file at all", [data("pipe.h5")], 3, ["pipe.h5", "expected a file"]
    yield "not HDF5", [data("text.h5")], 3, ["text.h5", "HDF5"]
    yield "empty file", [data("empty_file.h5")], 3, ["empty_file.h5", "HDF5"]
    yield "truncated", [data("cut.h5")], 3, ["cut.h5", "truncated"]
    yield "gzip", [data("wrapped.h5.gz")], 3, ["wrapped.h5.gz", "gunzip"]
    yield "dataset absent", [data("good.h5"), "data.images=pictures"], 3, ["good.h5", "pictures"]
    yield "two axes", [data("odd.h5"), "data.images=matrix"], 3, ["odd.h5", "matrix", "28"]
    yield "five axes", [data("odd.h5"), "data.images=volume5"], 3, ["odd.h5", "volume5"]
    yield "strings", [data("odd.h5"), "data.images=words"], 3, ["odd.h5", "words"]
    yield "no rows", [data("empty.h5"), "data.images=images"], 3, ["empty.h5"]
    yield "no image dataset", [data("scalars.h5")], 3, ["scalars.h5", "data.archive"]
    yield "labels of another length", [
        data("odd.h5"),
        "data.images=images",
        "data.labels=labels",
        *LABELS,
    ], 3, ["labels", "63", "64"]
    absent = [data("good.h5"), "data.labels=classes"]
    yield "labels absent", [*absent, *LABELS], 3, ["classes", "data.labels"]
    yield "labels not whole numbers", [
        data("odd.h5"),
        "data.images=images",
        "data.labels=halves",
        *LABELS,
    ], 3, ["odd.h5", "halves", "0.5", "row 1"]
    yield "few rows or channels", [data("few.h5")], 3, ["few.h5", "data.axes=nhw", "data.axes=chw"]
    yield "rows or height", [data("climate")], 3, ["0.h5", "48x72x16", "data.axes=hwc"]
    yield "volume and mask", [data("masked.h5")], 3, ["/mask", "/volume", "data.images"]
    yield "names that differ", [data("scans")], 3, ["2.h5", "/scan2", "/scan1", "data.images"]
    yield "axes of another number", [data("good.h5"), "data.axes=nchw"], 3, ["nchw", "64x28x28"]
    yield "fewer samples than a batch", [data("few.h5"), "data.axes=nhw"], 3, [
        "few.h5",
        "8 samples",
        "batch.size 16",
    ]
    yield "where selects nothing", [data("good.h5"), "data.where=split=7"], 3, [
        "split=7",
        "good.h5",
    ]
    yield "where has no dataset", [data("good.h5"), "data.where=part=0"], 3, ["part", "good.h5"]
    yield "where without value", [data("good.h5"), "data.where=split"], 2, ["data.where", "split"]
    yield "rows that wrap", [data("wrap")], 3, ["wrap/0.h5", "9223372036854775552"]
    yield "labels beyond the file", [data("long_labels.h5"), *LABELS], 3, [
        "labels",
        "1125899906842624",
    ]
    yield "never written", [data("unwritten.h5")], 3, ["unwritten.h5:/images", "never written"]
    yield "partly written", [data("half.h5")], 3, ["half.h5:/images", "2 of its 4 chunks"]
    yield "source missing", [data("lost.h5")], 3, ["lost.h5:/images", "three.h5", "missing"]
    yield "virtual with holes", [data("holes.h5")], 3, ["holes.h5:/images", "25088 of 50176"]
    yield "external file short", [data("short_raw.h5")], 3, ["short_raw.h5", "short.raw", "50175"]
    yield "external file missing", [data("lost_raw.h5")], 3, ["lost_raw.h5", "pixels.raw"]
    yield "NaN pixels", [data("nan.h5")], 3, ["nan.h5", "row", "data.nan=zero"]
    yield "unknown key", ["optim.lrr=1"], 2, ["optim.lrr", "'optim.lr'", "help"]
    yield "argument of another command", [data("good.h5"), "checkpoint=run"], 2, [
        "checkpoint=",
        "train does not take it",
        "embed, export",
    ]
    yield "the same in YAML", [data("good.h5"), here / "probes.yaml"], 2, ["l2=", "probe"]
    yield "out of range", ["loss.lambda=-1"], 2, ["loss.lambda", "-1", "0 .. "]
    yield "not a number", ["batch.size=many"], 2, ["batch.size", "many", "whole number"]
    yield "bad choice", ["loss.combine=sum"], 2, ["loss.combine", "sum", "convex|additive"]
    yield "bf16 by MPI", [data("good.h5"), "comm.gradients=bf16", "reduce=fast"], 2, ["=exact"]
    yield "list in YAML", [here / "list.yaml"], 2, ["list.yaml:2", "optim.lr"]
    yield "bad YAML", [here / "bad.yaml"], 2, ["bad.yaml:"]
    yield "unknown key in YAML", [here / "unknown.yaml"], 2, [
        "unknown.yaml",
        "optim.lrr",
        "'optim.lr'",
    ]
    yield "YAML missing", [here / "gone.yaml"], 2, ["gone.yaml"]
    yield "lambda above 1", [data("good.h5"), "loss.lambda=2"], 2, ["loss.lambda", "additive"]
    yield "lanes do not divide", [data("good.h5"), "batch.lanes=3"], 2, [
        "batch.size 16",
        "batch.lanes 3",
    ]
    yield "lanes too small", [data("good.h5"), "batch.lanes=4", "projector.norm=lane"], 2, [
        "in 4 lanes",
        "projector.norm=lane",
        "batch.size=32",
    ]
    yield "no whole lanes", [data("good.h5"), "batch.size=100"], 2, ["batch.size=96 or 104"]
    yield "patch does not divide", [data("good.h5"), "model.patch=5"], 2, ["model.patch", "5", "28"]
    yield "no such encoder", [data("good.h5"), "model=vit_bas"], 2, [
        "vit_bas",
        "vit_base",
        "help model",
    ]
    yield "heads do not divide", [data("good.h5"), "model.heads=3"], 2, ["model.heads", "16"]
    yield "run.dir below a file", [data("good.h5"), f"run.dir={here / 'text.h5' / 'run'}"], 6, [
        "text.h5",
        "run.dir",
    ]
    yield "other seed", [
        data("good.h5"),
        f"run.dir={here / 'run'}",
        "seed=9",
        "train.steps=4",
    ], 2, ["step-000000004.h5", "was 0", "seed=9", "run.dir", "resume.change=seed"]
    yield "other model", [
        data("good.h5"),
        f"run.dir={here / 'run'}",
        "model.width=32",
        "resume.change=model.width,train.steps",
        "train.steps=6",
    ], 4, ["step-000000004.h5", "shape", "expected"]
    yield "only checkpoint damaged", [
        data("good.h5"),
        f"run.dir={here / 'one_damaged'}",
    ], 4, ["one_damaged", "none of 1"]


def command_cases():
    """name, words, exit code, what the message holds"""
    out = f"out={here / 'must_not_exist'}"
    yield "unknown command", ["trian"], 2, ["trian", "help"]
    yield "word that is no setting", ["train", "fast"], 2, ["fast", "key=value"]
    yield "embed without checkpoint", ["embed", data("good.h5"), out], 2, ["checkpoint="]
    yield "embed, no such checkpoint", [
        "embed",
        data("good.h5"),
        out,
        f"checkpoint={here / 'gone'}",
    ], 4, ["gone"]
    yield "embed, no checkpoint there", [
        "embed",
        data("good.h5"),
        out,
        f"checkpoint={here / 'nothing'}",
    ], 4, ["nothing"]
    reads = [data("good.h5"), f"checkpoint={here / 'run'}"]
    newest = max((here / "run" / "checkpoints").glob("step-*.h5"))
    for words, over in (
        (["embed", *reads], here / "run" / ".." / "good.h5"),
        (["embed", *reads], newest),
        (["export", reads[1]], newest),
    ):
        yield f"{words[0]} over {over.name}", [*words, f"out={over}"], 2, ["out=", over.name]
    yield "embed without out", ["embed", *reads], 2, ["out="]
    yield "embed, missing archive", ["embed", data("missing.h5"), out, reads[1]], 3, ["missing.h5"]
    yield "probe without labels", [
        "probe",
        *(f"{k}={here / 'unlabelled.h5'}" for k in ("train", "test")),
    ], 3, ["unlabelled.h5", "labels"]
    yield "probe without files", ["probe"], 2, ["train=", "test="]
    yield "probe of a missing file", [
        "probe",
        *(f"{k}={here / 'gone.h5'}" for k in ("train", "test")),
    ], 3, ["gone.h5"]
    for l2 in ("-1", "1e7", "best", "1x"):
        yield f"probe with l2={l2}", ["probe", f"l2={l2}"], 2, [f"l2={l2}", "auto"]
    for few in ("0", "1,,2", "1,2,", "x", ",".join("1" * 17)):
        yield f"probe with fewshot={few}", ["probe", f"fewshot={few}"], 2, [f"fewshot={few}"]
    yield "diagnose without array", ["diagnose", here / "scalars.h5"], 3, [
        "scalars.h5",
        "embeddings",
    ]
    yield "diagnose, size wraps", ["diagnose", here / "none.h5"], 3, ["none.h5", "281474976710656"]
    yield "diagnose, too many views", ["diagnose", here / "views.h5"], 3, ["views.h5", "129"]
    yield "diagnose, too wide", ["diagnose", here / "wide.h5"], 3, ["wide.h5", "65537"]
    yield "probe, labels beyond the file", [
        "probe",
        *(f"{k}={here / 'long_column.h5'}" for k in ("train", "test")),
    ], 3, ["long_column.h5", "labels"]
    yield "diagnose without file", ["diagnose"], 2, ["diagnose", "HDF5"]
    yield "diagnose of a pipe", ["diagnose", here / "pipe.h5"], 3, ["pipe.h5"]
    yield "diagnose of no HDF5", ["diagnose", here / "text.h5"], 3, ["text.h5"]
    yield "inspect of a missing file", ["inspect", data("missing.h5")], 3, ["missing.h5"]
    yield "export without checkpoint", ["export", out], 2, ["checkpoint="]
    yield "damaged checkpoint exported", ["export", out, f"checkpoint={here / 'one_damaged'}"], 4, [
        "one_damaged"
    ]
    yield "damaged checkpoint verified", ["checkpoint", "verify", here / "one_damaged"], 4, [
        "one_damaged",
        "1 of 1",
    ]
    yield "checkpoint without path", ["checkpoint", "ls"], 2, ["checkpoint"]
    yield "checkpoint, nothing there", ["checkpoint", here / "nothing"], 4, ["nothing"]
    for name, words in [
        ("long", ["header", "bytes"]),
        ("outside", ["cls_token", "expected"]),
        ("shape", ["cls_token", "(1, 2, 8)", "(1, 1, 16)"]),
        ("lacking", ["no encoder of this program"]),
        ("syntax", ["JSON"]),
        ("gone", ["gone.safetensors"]),
        ("cut", ["cut.safetensors"]),
        ("type", ["I32"]),
        ("overlap", ["overlap.safetensors"]),
    ]:
        yield f"safetensors: {name}", [
            "import",
            *program.TINY,
            data("good.h5"),
            out,
            f"weights={here / name}.safetensors",
        ], 4, words


def all_cases():
    for ranks in (1, 2):
        for number, (name, words, code, holds) in enumerate(train_cases()):
            fresh = here / f"fresh-{number}-{ranks}"
            chosen = any(str(word).startswith("run.dir=") for word in words)
            yield name, ranks, [
                "train",
                *program.TINY,
                "train.steps=2",
                f"run.dir={fresh}",
                *words,
            ], code, holds, (None if chosen else fresh)
        for name, words, code, holds in command_cases():
            yield name, ranks, words, code, holds, None
    yield "more ranks than the lanes given", 3, [
        "train",
        *program.TINY,
        data("good.h5"),
        "batch.lanes=2",
        f"run.dir={here / 'ranks'}",
    ], 2, ["3 ranks", "batch.lanes=2"], here / "ranks"


def try_case(case):
    name, ranks, words, code, holds, fresh = case
    ended = run(words, ranks, timeout=30)
    where = f"{name} on {ranks} ranks"
    if VERBOSE:
        print(f"{where}: {ended.code}, {ended.seconds:.1f} s: {' | '.join(ended.errors)}")
    check(ended.code == code, f"{where}: exit code {ended.code}, expected {code}:\n{ended.tail()}")
    check(
        len(ended.errors) == 1,
        f"{where}: {len(ended.errors)} error lines, expected 1:\n{ended.tail()}",
    )
    text = " ".join(ended.errors)
    for word in holds:
        check(word in text, f"{where}: the message does not say '{word}': {text}")
    if fresh:
        left = [
            path
            for path in pathlib.Path(fresh).rglob("*")
            if path.is_file() and path.name != "log.txt"
        ]
        check(not left, f"{where}: left {left}")


# ---- what works, or works with a warning ---------------------------------------------------------


def test_zero_for_nan():
    ended = train(here / "unread", data("long_labels.h5"), "train.steps=2")
    check(ended.code == 0, f"labels that nobody asks for: {ended.tail()}")
    ended = train(here / "nan_zero", data("nan.h5"), "train.steps=2", "data.nan=zero")
    check(ended.code == 0, f"data.nan=zero: {ended.tail()}")


def test_values_in_other_files():
    """They train as those of one file do, wherever HDF5's variables say that they are."""
    whole = program.write_h5(here / "whole.h5", images=program.images())
    losses = []
    for name, env in [
        (whole.name, {}),
        ("virtual.h5", {}),
        ("moved.h5", {"HDF5_VDS_PREFIX": "${ORIGIN}/below"}),
        ("moved.h5", {"HDF5_VDS_PREFIX": f"/nowhere:{here / 'below'}"}),
        ("raw.h5", {}),
        ("lost_raw.h5", {"HDF5_EXTFILE_PREFIX": "${ORIGIN}/below"}),
        ("lost_raw.h5", {"HDF5_EXTFILE_PREFIX": str(here / "below")}),
    ]:
        directory = here / f"elsewhere-{len(losses)}"
        ended = train(directory, data(name), "train.steps=2", ranks=2, env=env)
        if check(ended.code == 0, f"{name} with {env}: {ended.tail()}"):
            losses.append([row["loss"] for row in program.metrics(directory)])
    check(all(loss == losses[0] for loss in losses), f"values in other files: losses {losses}")


def test_named_in_the_log():
    """Every dataset that is taken, in the log and by inspect."""
    words = [data("scans"), "data.images=scan?"]
    ended = train(here / "scanned", *words, "train.steps=2")
    check(ended.code == 0, f"joined by a pattern: {ended.tail()}")
    seen = run(["inspect", *words])
    listed = json.loads(run(["inspect", *words, "json=1"]).out)["datasets"]
    wanted = [{"name": f"/scan{i}", "rows": 40, "files": 1} for i in (1, 2)]
    check(listed == wanted, f"inspect lists {listed}")
    for i in (1, 2):
        check(f"archive: /scan{i}, 40 rows in 1 file" in ended.err, f"the log lacks scan{i}")
        check(f"/scan{i}, 40 rows in 1 file" in seen.out, f"inspect lacks scan{i}: {seen.out}")


def test_one_image_a_file():
    ended = run(["inspect", data("climate"), "data.axes=hwc", "json=1"])
    found = json.loads(ended.out) if check(ended.code == 0, f"hwc: {ended.tail()}") else {}
    for key, value in {"rows": 3, "channels": 16, "height": 48, "width": 72, "axes": "hwc"}.items():
        check(found.get(key) == value, f"hwc: {key} is {found.get(key)}, expected {value}")


def test_more_ranks_than_lanes():
    for size in 4, 8:  # one lane either way
        what, words = f"3 ranks for batch.size={size}", ["train.steps=2", f"batch.size={size}"]
        ended = train(here / f"surplus-{size}", data("good.h5"), *words, ranks=3)
        check(ended.code == 0, f"{what}: {ended.tail()}")
        check(
            len(ended.warnings) == 1 and "batch.size=24" in ended.warnings[0],
            f"{what}: expected one warning with batch.size=24, found {ended.warnings}",
        )


SIX_STEPS = ("train.steps=6", "resume.change=train.steps")  # for runs of four


def test_older_checkpoint_is_used():
    ended = train(here / "newest_damaged", data("good.h5"), *SIX_STEPS, ranks=2)
    check(ended.code == 0, f"older checkpoint: exit code {ended.code}: {ended.tail()}")
    check(
        len(ended.warnings) == 2 and "step-000000004.h5" in ended.warnings[0],
        f"older checkpoint: expected a warning naming step-000000004.h5, found {ended.warnings}",
    )
    steps = [row["step"] for row in program.metrics(here / "newest_damaged")]
    check(steps == [1, 2, 3, 4, 5, 6], f"older checkpoint: metrics hold steps {steps}")


def test_disk_full():
    """A limit on the size of files stands for a full disk: the checkpoint of step 4 does not
    fit."""
    directory = program.copy(here / "run", here / "full")
    size = program.checkpoints(directory)[0].stat().st_size
    for ranks in (1, 2):
        ended = train(
            directory,
            data("good.h5"),
            *SIX_STEPS,
            ranks=ranks,
            wrap=program.limited(size // 2048),
            env=program.NO_SHARED_MEMORY,
        )
        check(
            ended.code == 6,
            f"disk full on {ranks} ranks: exit code {ended.code}, expected 6: {ended.tail()}",
        )
        check(
            len(ended.errors) == 1 and "step 6" in " ".join(ended.errors),
            f"disk full on {ranks} ranks: {ended.errors}",
        )
        names = sorted(os.listdir(directory / "checkpoints"))
        check(
            names == ["step-000000002.h5", "step-000000004.h5"],
            f"disk full on {ranks} ranks: left {names}",
        )
    ended = train(directory, data("good.h5"), *SIX_STEPS)
    check(ended.code == 0 and "continuing" in ended.err, f"after a full disk: {ended.tail()}")


make_inputs()
make_promises()
make_unstored()
make_ambiguous()
make_safetensors()
make_runs()
make_wrong_shape()
program.at_once(try_case, list(all_cases()))
check(not (here / "must_not_exist").exists(), "a failed command left its output")
program.at_once(
    lambda test: test(),
    [
        test_zero_for_nan,
        test_values_in_other_files,
        test_named_in_the_log,
        test_one_image_a_file,
        test_more_ranks_than_lanes,
        test_older_checkpoint_is_used,
        test_disk_full,
    ],
)
program.finish()
