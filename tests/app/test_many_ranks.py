#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A bare `mpirun -n 256 lejepa_mpi train.steps=3` (the example archive, every default) runs, though
it has more ranks than lanes, and has the bits of one rank. Suite slow: test_many_ranks.py RANKS."""

import glob
import os
import subprocess
import sys
import tempfile

import h5py
import numpy

program, ranks = os.environ["LJ_PROGRAM"], sys.argv[1]


def train(count, directory):
    subprocess.run(
        [
            os.environ.get("LJ_MPIRUN", "mpirun"),
            "-n",
            count,
            program,
            "train.steps=3",
            f"run.dir={directory}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=1500,
    )
    tensors = {}
    with h5py.File(glob.glob(f"{directory}/checkpoints/step-000000003.h5")[0]) as file:
        file.visititems(
            lambda name, item: (
                tensors.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return tensors


with tempfile.TemporaryDirectory() as here:
    one, many = train("1", f"{here}/one"), train(ranks, f"{here}/many")
    different = [name for name in one if not numpy.array_equal(one[name], many.get(name))]
    if different or len(one) != len(many) or len(one) < 100:
        sys.exit(
            f"{ranks} ranks differ from one in {len(different)} of {len(one)} tensors: "
            f"{different[:3]}"
        )
    print(f"{ranks} ranks: all {len(one)} tensors have the bits of one rank")
