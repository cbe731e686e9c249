#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""log.tensorboard: the event files hold what metrics.jsonl holds, once, also of a run that failed
after its last checkpoint and went on. They are read by the few lines below, and by TensorBoard's
own reader where this Python, or the first of PATH, has it."""

import pathlib
import struct
import subprocess
import sys

import numpy
import program
from program import check, train

holder, here = program.scratch()
archive = program.archive(here / "archive.h5")
WORDS = [
    f"data.archive={archive}",
    "data.where=split=0",
    "log.tensorboard=true",
    "train.steps=12",
    "checkpoint.every=5",
    "eval.every=4",
    "eval.where=split=1",
]
READERS = [sys.executable, "python3"]
OWN_READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"tensors": 0, "scalars": 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)]
                  for tag in events.Tags()["scalars"]}))
"""


# ---- a reader of its own -------------------------------------------------------------------------


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc_table()


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    while data:
        (length, crc), data = struct.unpack("<QI", data[:12]), data[12:]
        check(crc == masked_crc(struct.pack("<Q", length)), "checksum of a length")
        body, (crc,) = data[:length], struct.unpack("<I", data[length : length + 4])
        data = data[length + 4 :]
        check(crc == masked_crc(body), "checksum of a record")
        yield body


def varint(data):
    value = 0
    for i, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, data[i + 1 :]
    raise ValueError("a number without an end")


def fields(data):
    """Pairs of field number and value of a message of protobuf."""
    while data:
        key, data = varint(data)
        if key & 7 == 0:
            value, data = varint(data)
        elif key & 7 == 2:
            length, data = varint(data)
            value, data = data[:length], data[length:]
        else:
            form = {1: "<d", 5: "<f"}[key & 7]
            size = struct.calcsize(form)
            (value,), data = struct.unpack(form, data[:size]), data[size:]
        yield key >> 3, value


def scalars(directory):
    """(step, value) by tag, without what a START makes void, as TensorBoard reads it."""
    found = {}
    for path in sorted(pathlib.Path(directory, "tensorboard").iterdir()):
        events = [dict(fields(record)) for record in records(path.read_bytes())]
        check(events[0].get(3) == b"brain.Event:2", f"{path.name} begins with {events[0]}")
        for event in events:
            step = event.get(2, 0)
            if 7 in event and dict(fields(event[7])) == {1: 1}:
                found = {tag: [v for v in all_ if v[0] < step] for tag, all_ in found.items()}
            for _, value in fields(event.get(5, b"")):
                value = dict(fields(value))
                found.setdefault(value[1].decode(), []).append((step, value[2]))
    return found


# ---- tests ---------------------------------------------------------------------------------------


def logged(directory):
    """The same of metrics.jsonl, rounded to float32."""
    found = {}
    for row in program.metrics(directory):
        group = "eval" if row.get("event") == "evaluation" else "train"
        for key, value in row.items():
            if key not in ("step", "epoch", "event"):
                value = float("nan") if value is None else value
                found.setdefault(f"{group}/{key}", []).append(
                    (row["step"], float(numpy.float32(value)))
                )
    return found


def alike(found, wanted):
    if found.keys() != wanted.keys():
        return False
    for tag, rows in wanted.items():
        a, b = numpy.array(found[tag], float), numpy.array(rows, float)
        # values without digits to spare: metrics.jsonl has 9, and null for what is not finite
        if a.shape != b.shape or not numpy.allclose(
            numpy.nan_to_num(a, posinf=0), numpy.nan_to_num(b), rtol=3e-7, atol=0
        ):
            return False
    return True


def own_reader(directory):
    """What TensorBoard reads; None where it is not installed."""
    for python in READERS:
        has = [python, "-c", "import tensorboard.backend.event_processing"]
        if subprocess.run(has, capture_output=True).returncode == 0:
            command = [python, "-c", OWN_READER, str(pathlib.Path(directory, "tensorboard"))]
            ended = subprocess.run(command, capture_output=True, text=True)
            if not check(ended.returncode == 0, f"TensorBoard cannot read it: {ended.stderr}"):
                return {}
            # JSON as Python writes it may hold NaN and Infinity
            return program.json.loads(ended.stdout)
    print("TensorBoard is not installed: its own reader was not tried")
    return None


def test_failed_and_continued():
    """Fails in its ninth step, after a checkpoint of five; steps 6 to 8 are logged twice."""
    run = here / "continued"
    ended = train(run, *WORDS, ranks=2, env={"LJ_FAULT": "step:1:8"})
    check(ended.code == 6, f"the run that is to fail: exit code {ended.code}: {ended.tail()}")
    steps = [step for step, _ in scalars(run)["train/loss"]]
    check(steps == list(range(1, 9)), f"the run that failed has the steps {steps}")
    ended = train(run, *WORDS, ranks=2)
    check(ended.code == 0, f"continued: exit code {ended.code}: {ended.tail()}")
    files = list((run / "tensorboard").iterdir())
    check(len(files) == 2, f"two jobs, but the files {files}")
    wanted = logged(run)
    steps = [step for step, _ in wanted["train/loss"]]
    check(steps == list(range(1, 13)), f"metrics.jsonl has the steps {steps}")
    check("eval/knn_top1" in wanted, f"metrics.jsonl has no evaluation: {list(wanted)}")
    found = scalars(run)
    check(alike(found, wanted), f"the events are {found}, metrics.jsonl has {wanted}")
    read = own_reader(run)
    check(read is None or alike(read, wanted), f"TensorBoard reads {read}, wanted {wanted}")


def test_without():
    ended = train(here / "without", f"data.archive={archive}", "train.steps=1")
    check(ended.code == 0, f"without: exit code {ended.code}: {ended.tail()}")
    check(not (here / "without/tensorboard").exists(), "event files that nobody asked for")


def test_no_directory():
    """A file where the directory should be: the run ends before it begins."""
    (here / "blocked").mkdir()
    (here / "blocked/tensorboard").write_text("")
    ended = train(here / "blocked", *WORDS, ranks=2)
    check(
        ended.code == 6 and "tensorboard" in "".join(ended.errors),
        f"blocked: exit code {ended.code}: {ended.tail()}",
    )


test_failed_and_continued()
test_without()
test_no_directory()
program.finish()
