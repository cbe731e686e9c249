# SPDX-License-Identifier: Apache-2.0
"""A Slurm of one node: this host, with daemons of its own in a scratch directory, beside whatever
is configured on the host. Needs root and the packages slurm-wlm and munge."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
SBIN = "/usr/sbin:/sbin"
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={here}/munge/socket,cred_expire=5
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.pid
SlurmctldLogFile={here}/slurmctld.log
SlurmdLogFile={here}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{warning}
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=120
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""


def lacking():
    """Why there cannot be one here; None if there can."""
    os.environ["PATH"] += ":" + SBIN
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} not installed; jobs/install-deps.sh slurm does it"
    if os.geteuid() != 0:
        return "not root"
    return "fewer than 2 processors" if os.cpu_count() < 2 else None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(*words):
    """What a command prints."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {ended.stderr.strip()}")
    return ended.stdout.strip()


class Cluster:
    """Between `with Cluster(directory) as cluster:` and its end."""

    def __init__(self, here):
        self.here = pathlib.Path(here)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        for job in call("squeue", "--noheader", "--format=%A").split():
            call("scancel", job)
        try:
            self.wait(lambda: not call("squeue", "--noheader"), "the end of all jobs")
        finally:
            self.stop()

    def start(self):
        self.here.chmod(0o755)
        for name in ("munge", "state", "spool"):
            (self.here / name).mkdir(mode=0o700)
        key = self.here / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = {"key-file": key}
        for name in ("socket", "pid-file", "log-file", "seed-file"):
            munge[name] = self.here / "munge" / name
        call("munged", "--force", *(f"--{name}={path}" for name, path in munge.items()))
        self.configure()
        call("slurmctld")
        call("slurmd")
        self.wait(lambda: "idle" in call("sinfo", "--noheader", "--format=%t"), "an idle node")

    def configure(self):
        # By the signal of --signal, that is, before the preempting job takes over.
        version = [int(part) for part in call("slurmctld", "-V").split()[1].split(".")[:2]]
        warning = "PreemptParameters=send_user_signal"
        if version < [23, 2]:
            warning = "SlurmctldParameters=preempt_send_user_signal"
        text = CONFIGURATION.format(
            here=self.here,
            host=socket.gethostname().split(".")[0],
            port=free_port(),
            node_port=free_port(),
            cpus=os.cpu_count(),
            warning=warning,
        )
        path = self.here / "slurm.conf"
        path.write_text(text)
        os.environ["SLURM_CONF"] = str(path)

    def stop(self):
        """Ends the daemons that run, each by the file with its process."""
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid-file"):
            path = self.here / name
            if path.exists() and path.read_text().strip():
                os.kill(int(path.read_text()), signal.SIGTERM)
                self.wait(lambda gone=path: not gone.exists(), f"the end of {name}")

    @staticmethod
    def wait(condition, what, seconds=180):
        """Until a condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"waited {seconds} s for {what}")
            time.sleep(0.2)

    @staticmethod
    def submit(*words):
        """Number of the job."""
        return call("sbatch", "--parsable", *(str(word) for word in words)).split(";")[0]

    @staticmethod
    def job(number):
        """What scontrol shows of a job."""
        rows = call("scontrol", "--oneliner", "show", "job", number).split()
        return dict(row.split("=", 1) for row in rows if "=" in row)

    def ended(self, number, seconds=180):
        """The same when it has ended."""
        going = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "PREEMPTED")
        # a job that is requeued is COMPLETING, then PENDING
        self.wait(lambda: self.job(number)["JobState"] not in going, f"job {number}", seconds)
        return self.job(number)
