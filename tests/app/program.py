# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: starting it, inputs, a model small enough to train in no
time.

The environment names the program (LJ_PROGRAM) and what launches it (LJ_MPIRUN). One rank runs
without mpirun, as a user would try it.
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy

PROGRAM = os.environ["LJ_PROGRAM"]
MPIRUN = os.environ.get("LJ_MPIRUN", "mpirun")
TINY = (
    "model=vit model.width=16 model.depth=1 model.heads=1 model.patch=7 views.local=1 "
    "projector.hidden=16 "
    "projector.out=8 sigreg.slices=8 batch.size=16 log.every=1"
).split()
AT_ONCE = 3  # launches that mostly wait for each other
# For limits on the size of files: Open MPI without shared memory, which is files, too.
NO_SHARED_MEMORY = {
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,tcp",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "PMIX_MCA_gds": "hash",
}

failures = []


def check(condition, text):
    """Notes and prints a failure; the test goes on."""
    if not condition:
        failures.append(text)
        print(f"FAILED: {text}", flush=True)
    return bool(condition)


def finish():
    print(f"{len(failures)} checks failed" if failures else "all checks passed")
    sys.exit(1 if failures else 0)


class Ended:
    """A run of the program that has ended."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def lines(self, start):
        return [line for line in self.err.splitlines() if line.startswith(start)]

    @property
    def errors(self):
        return self.lines("lejepa_mpi: error:")

    @property
    def warnings(self):
        return self.lines("lejepa_mpi: warning:")

    def tail(self):
        return "\n".join(self.err.splitlines()[-12:])


def command(words, ranks=1, wrap=()):
    launch = [MPIRUN, "-n", str(ranks)] if ranks > 1 or wrap else []
    return [*launch, *wrap, PROGRAM, *(str(word) for word in words)]


def limited(kib):
    """A launcher of programs that may write files of at most so many KiB."""
    return ["sh", "-c", f"ulimit -f {2 * kib}; exec \"$@\"", "sh"]


# A launcher whose program writes its standard output on a full disk.
OUTPUT_FULL = ("sh", "-c", 'exec "$@" > /dev/full', "sh")


def start(words, ranks=1, env=None, wrap=(), cwd=None):
    return subprocess.Popen(
        command(words, ranks, wrap),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        start_new_session=True,
        cwd=cwd,
    )


def end(process, timeout=60):
    """Waits; a run that does not end by itself has no code."""
    before = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        code = None
    return Ended(code, out, err, time.monotonic() - before)


def run(words, ranks=1, timeout=60, **more):
    return end(start(words, ranks, **more), timeout)


def done(what, words, ranks=1, env=None):
    """A run that must end well, without a word of errors."""
    ended = run(words, ranks, env=env)
    check(ended.code == 0 and not ended.errors, f"{what}: exit code {ended.code}: {ended.tail()}")
    return ended


def has_keys(what, found, wanted):
    lacking = [key for key in wanted.split() if key not in found]
    check(not lacking, f"{what} lacks {lacking}; it has {sorted(found)}")


def read(path, name):
    """A dataset of a file."""
    with h5py.File(path) as file:
        return file[name][()]


def train(directory, *words, ranks=1, **more):
    """`train` of the tiny model in a directory."""
    return run(["train", *TINY, f"run.dir={directory}", *words], ranks, **more)


def at_once(function, cases):
    """function(case) for all cases, a few at a time; a failure inside is noted, not raised."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for case, future in [(case, pool.submit(function, case)) for case in cases]:
            error = future.exception()
            check(error is None, f"{case}: {error!r}")


def scratch():
    """A directory that is removed at exit."""
    holder = tempfile.TemporaryDirectory(prefix="lejepa-test-")
    return holder, pathlib.Path(holder.name)


def images(count=64, seed=1, shape=(28, 28)):
    return numpy.random.default_rng(seed).integers(0, 256, (count, *shape), numpy.uint8)


def write_h5(path, **arrays):
    # A lock would last as long as another thread's new process, which inherits it for a moment.
    with h5py.File(path, "w", locking=False) as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def archive(path, count=64):
    """Images of three classes, a third of them for testing."""
    rows = numpy.arange(count)
    return write_h5(
        path,
        images=images(count),
        labels=(rows % 3).astype("i4"),
        split=(rows % 4 == 3).astype("u1"),
    )


def checkpoints(directory):
    return sorted(pathlib.Path(directory, "checkpoints").glob("step-*.h5"))


def tensors(path, groups=("weights", "optim")):
    """Bytes of every dataset of a checkpoint by name."""
    found = {}
    with h5py.File(path) as file:
        for group in groups:
            file[group].visititems(
                lambda name, item: (
                    found.__setitem__(f"{group}/{name}", item[()].tobytes())
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
    return found


def metrics(directory):
    with open(pathlib.Path(directory, "metrics.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def losses(directory):
    """What the logged steps are, apart from how fast they were."""
    return [
        {key: row[key] for key in ("step", "epoch", "loss", "pred", "sigreg", "lr", "grad_norm")}
        for row in metrics(directory)
    ]


def wait_for_step(directory, step, process):
    """Until metrics.jsonl has so many lines, or the run ends."""
    path = pathlib.Path(directory, "metrics.jsonl")
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= step):
        time.sleep(0.002)


def rank_processes(directory):
    """Process by rank of the run in a directory, as Open MPI or MPICH numbers them; of a run
    without a launcher, rank 0."""
    word = f"run.dir={directory}".encode()
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if word in words and words[0] == PROGRAM.encode():
                variables = dict(
                    line.split(b"=", 1)
                    for line in (entry / "environ").read_bytes().split(b"\0")
                    if b"=" in line
                )
                rank = variables.get(b"OMPI_COMM_WORLD_RANK", variables.get(b"PMI_RANK", b"0"))
                found[int(rank)] = int(entry.name)
        except OSError:
            continue
    return found


def copy(source, target):
    shutil.copytree(source, target)
    return target
