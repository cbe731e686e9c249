# SPDX-License-Identifier: Apache-2.0
"""Writes events.tfevents, by TensorBoard's own writer (tensorboard 2.21.0): a job that begins with
step 121 of a run, logs a step and an evaluation, and a step beyond 2^32. Values are in float32.

    python3 tests/golden/make_tensorboard.py tests/golden/events.tfevents
"""
import sys

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def event(wall, step, **values):
    of = {name.replace("__", "/"): value for name, value in values.items()}
    return Event(wall_time=wall, step=step, summary=Summary(
        value=[Summary.Value(tag=tag, simple_value=value) for tag, value in of.items()]))


with open(sys.argv[1], "wb") as file:
    writer = RecordWriter(file)
    for one in (
        Event(wall_time=1.7e9 + 0.25, file_version="brain.Event:2"),
        Event(wall_time=1.7e9 + 0.25, step=121, session_log=SessionLog(status=SessionLog.START)),
        event(1.7e9 + 1.5, 130, train__loss=1.25, train__lr=5e-4, train__grad_norm=float("inf")),
        event(1.7e9 + 2.5, 130, eval__knn_top1=0.8125, eval__condition=float("nan")),
        event(1.7e9 + 3.5, 5000000000, train__loss=-0.0078125),
    ):
        writer.write(one.SerializeToString())
