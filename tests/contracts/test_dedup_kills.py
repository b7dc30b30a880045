"""Every operator that marks duplicates, with the driver and then a worker killed in each phase, ends with undisturbed bytes."""

from __future__ import annotations

import contextlib
import glob
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import psutil
import pytest

from curate.pipeline_yaml import to_yaml
from tests.contracts import duplicates
from tests.contracts.small_partitions import LINGER_S
from tests.contracts.workspaces import contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with duplicates.workplace() as folder:
        duplicates.write(folder / "crawl", duplicates.documents(), 4)
        yield folder


class Job:
    """One operator's pipeline on two workers, in a workspace of its own, started again and again."""

    def __init__(self, place: Path, stage: str, workspace: str) -> None:
        self.stage = stage
        self.workspace = place / f"{stage}-{workspace}"
        self.kills: list[str] = []
        self._yaml = place / f"{stage}.yaml"
        self._yaml.write_text(to_yaml(duplicates.pipeline(place / "crawl", (stage,))))
        self._driver: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["run", str(self._yaml), "-w", str(self.workspace), "--workers", "2", "--on", "local", "--quiet"]
        self._driver = subprocess.Popen([sys.executable, "-m", "tests.contracts.small_partitions", *arguments], stdout=subprocess.DEVNULL)

    def finish(self) -> dict[str, str]:
        """Let it end and return what the workspace holds."""
        if self._driver is None:
            self.start()
        assert self._driver is not None and self._driver.wait(120) == 0
        return contents(self.workspace)

    def phases(self) -> list[str]:
        """Return the phases of a finished run that have files, in order."""
        lines = b"".join(path.read_bytes() for path in sorted(self.workspace.glob("runs/*/events/*.jsonl"))).splitlines()
        events = [event for event in map(orjson.loads, lines) if event["event"] == "stage_started" and event["stage"] == self.stage]
        return [event["phase"] for event in events if event["phase"] and event["shards"]]

    def kill_driver(self, phase: str, seconds: float) -> None:
        """Kill the driver at most `LINGER_S` after a phase has begun to leave files."""
        folder = ".attempts" if phase == "write" else f".scratch/{phase}"
        if self._comes(lambda: self._found(f"datasets/{self.stage}@*/{folder}/*") != [], seconds):
            assert self._driver is not None
            self._driver.kill()
            self._driver.wait()
            self._driver = None
            self.kills.append(f"driver in {phase}, {self._results()} results")

    def kill_worker(self, seconds: float) -> None:
        """Kill a worker soon after the resumed run has finished a task."""
        before = self._results()
        if self._comes(lambda: self._results() > before, seconds):
            assert self._driver is not None
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                random.choice(psutil.Process(self._driver.pid).children()).kill()
                self.kills.append(f"worker, {self._results()} results")

    def _comes(self, happens: Callable[[], bool], seconds: float) -> bool:
        """Wait until something happens and a little longer; False when the run ended before: its last phases take milliseconds."""
        if self._driver is None:
            self.start()
        assert self._driver is not None
        while not happens():
            if self._driver.poll() is not None:
                assert self._driver.returncode == 0
                return False
            time.sleep(0.001)
        time.sleep(seconds)
        return self._driver.poll() is None

    def _results(self) -> int:
        return len(self._found("datasets/*/.scratch/*/*.json"))

    def _found(self, pattern: str) -> list[str]:
        return glob.glob(pattern, root_dir=self.workspace)  # unlike a path's glob, it does not mind folders that go meanwhile


@pytest.mark.parametrize("stage", (*duplicates.ONE_EACH, *duplicates.INDEXED, "top", "clusters"))
def test_kills_in_every_phase_leave_the_same_bytes(stage: str, place: Path) -> None:
    dice = random.Random(stage)
    calm, stormy = Job(place, stage, "calm"), Job(place, stage, "stormy")
    wanted = calm.finish()
    phases = [phase for phase in calm.phases() if phase in duplicates.NEW_PHASES.get(stage, (phase,))]
    for phase in phases:
        stormy.kill_driver(phase, dice.uniform(0, LINGER_S))
        stormy.kill_worker(dice.uniform(0, LINGER_S))
    assert stormy.finish() == wanted
    print(stage, *stormy.kills, sep="\n")
    killed = [kill.split()[0].strip(",") for kill in stormy.kills]
    assert killed.count("driver") >= len(phases) // 2 and killed.count("worker") >= len(phases) // 3
