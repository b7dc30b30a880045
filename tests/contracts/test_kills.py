"""Exactly-once results: whatever is killed whenever, a rerun ends with the bytes of a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.contracts.workspaces import command, contents, run

KILLS = 20


def pipeline(folder: Path, sample: Path) -> Path:
    """Return the quickstart with shards so small that kills meet a stage in every state."""
    text = (sample.parent / "quickstart.yaml").read_text()
    text = (
        text.replace("sample/{site}", f"{sample}/{{site}}").replace("300kB", "60kB").replace("../corpora/quickstart", str(folder / "out"))
    )
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_random_kills_leave_the_same_bytes(tmp_path: Path, quickstart: Path) -> None:
    dice = random.Random(20261124)
    path = pipeline(tmp_path, quickstart.parent / "sample")
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    run("run", str(path), "--workspace", str(calm), "--workers", "2", "--quiet")
    kills: list[str] = []
    while len(kills) < KILLS:
        driver = subprocess.Popen(
            command("run", str(path), "--workspace", str(stormy), "--workers", "2", "--quiet"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(kills) < KILLS and _wait(driver, dice.uniform(0.3, 1.5)):
            victim = dice.choice(["driver", "worker"])
            kills.append(_kill(driver, victim))
            if victim == "driver":
                break
        driver.kill()
        driver.wait()
        if len(kills) < KILLS and (stormy / "datasets").exists() and dice.random() < 0.3:
            _forget_a_stage(stormy, dice)  # so that there is work left for the kills to come
    run("run", str(path), "--workspace", str(stormy), "--workers", "2", "--quiet")
    assert {"driver", "worker"} <= set(kills)
    assert contents(stormy) == contents(calm)


def _wait(driver: subprocess.Popen[bytes], seconds: float) -> bool:
    """Tell whether the driver is still at work after a while."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(seconds)
    return driver.poll() is None


def _kill(driver: subprocess.Popen[bytes], victim: str) -> str:
    if victim == "worker":
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(driver.pid).children(recursive=True)
            if not workers:
                return "nobody"
            random.choice(workers).send_signal(signal.SIGKILL)
            return victim
    driver.send_signal(signal.SIGKILL)
    return victim


def _forget_a_stage(workspace: Path, dice: random.Random) -> None:
    manifests = sorted(workspace.glob("datasets/*/manifest.json"))
    if manifests:
        dice.choice(manifests).unlink()
