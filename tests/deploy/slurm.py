"""Slurm itself on this machine: a controller, two nodes and munge, in a folder and on ports of their own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.deploy.machine import environment, free_port
from tests.service.waiting import until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol")
SCRIPT = ROOT / "deploy" / "slurm" / "curate.sbatch"
NODES = ("one", "two")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
{nodes}PartitionName=all Nodes=ALL Default=YES State=UP
"""
"""A requeued job waits until its credential has expired: two minutes unless `cred_expire` says otherwise."""


def reason_to_skip() -> str | None:
    """Say why there is no Slurm here, or None."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs Slurm and munge: no {', '.join(missing)}"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


class Slurm:
    """Two nodes that say to have many cores, whatever this machine has; `stop` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment(SLURM_CONF=str(folder / "slurm.conf"), CURATE_BIN=str(Path(sys.executable).parent))
        self._configure()
        key = f"--key-file={folder}/munge/key"
        names = [f"--{kind}-file={folder}/munge/{kind}" for kind in ("pid", "log", "seed")]
        self._started = [self._start("munged", "--foreground", "--force", key, f"--socket={folder}/munge/socket", *names)]
        until((folder / "munge" / "socket").exists)
        self._started.append(self._start("slurmctld", "-D"))
        self._started += [self._start("slurmd", "-D", "-N", node) for node in NODES]
        until(lambda: self.call("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == str(len(NODES)))

    def _configure(self) -> None:
        for name in ("munge", "state"):
            (self.folder / name).mkdir(mode=0o700)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        each = "NodeName={} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs=8 RealMemory=64000\n"
        nodes = "".join(each.format(node, host, free_port()) for node in NODES)
        text = CONFIGURATION.format(folder=self.folder, host=host, port=free_port(), nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.folder / "daemons.log", "ab") as log:
            return subprocess.Popen([program, *arguments], env=self.environment, stdout=log, stderr=log)

    def call(self, program: str, *arguments: str, folder: Path | None = None) -> str:
        """Call one of Slurm's programs, and return what it printed; empty while the controller does not answer."""
        done = subprocess.run([program, *arguments], cwd=folder, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    def submit(self, folder: Path, *arguments: str) -> str:
        """Submit the script from a folder, with a core for each node; return the job's number."""
        printed = self.call("sbatch", "--parsable", "--cpus-per-task=1", str(SCRIPT), *arguments, folder=folder)
        assert printed.strip().isdigit(), self.log
        return printed.strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job: its state, exit code, restarts and more."""
        return dict(re.findall(r"(\w+)=(\S*)", self.call("scontrol", "show", "job", number)))

    def ended(self, number: str) -> dict[str, str]:
        """What Slurm says of a job that has ended."""
        until(lambda: self.job(number).get("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL"), 250)
        return self.job(number)

    @property
    def log(self) -> str:
        """What the daemons printed."""
        return (self.folder / "daemons.log").read_text()

    def stop(self) -> None:
        """End jobs, then daemons, munge last."""
        self.call("scancel", "--user=root")
        until(lambda: not self.call("squeue", "--noheader"))
        for daemon in reversed(self._started):
            daemon.terminate()
            daemon.wait(60)
