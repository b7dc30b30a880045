"""Timers and units of one machine: systemd understands them, and what they start is what `curate` understands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs import blocks

FOLDER = ROOT / "deploy" / "machine"
UNITS = ("curate.service", "curate-serve.service")


def started(unit: str) -> str:
    """The command that a unit starts, by its name alone."""
    entry = re.search(r"^ExecStart=(?:\S*/)?(curate .*)$", (FOLDER / unit).read_text(), re.MULTILINE)
    assert entry
    return entry[1]


def test_commands_are_what_curate_understands() -> None:
    cron = re.search(r"(curate run [^;&|]*?)(?: >>|$)", (FOLDER / "crontab").read_text(), re.MULTILINE)
    assert cron
    for line in (cron[1], *map(started, UNITS)):
        words = line.split()
        assert words[0] == "curate"
        blocks.parse(words[1:])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", [*UNITS, "curate.timer"])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    program = tmp_path / "curate"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in FOLDER.glob("curate*"):  # a timer is checked together with what it starts
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/curate/bin/curate", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_timer_rings_once_a_night() -> None:
    entry = re.search(r"^OnCalendar=(.+)$", (FOLDER / "curate.timer").read_text(), re.MULTILINE)
    assert entry
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=3", "--base-time=2026-06-01 12:00:00", entry[1]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r"2026-06-0\d 02:00:00", done.stdout)[-3:] == [f"2026-06-0{day} 02:00:00" for day in (2, 3, 4)]


def test_runs_outlive_the_service_that_started_them() -> None:
    unit = (FOLDER / "curate-serve.service").read_text().splitlines()
    assert "KillMode=process" in unit, "systemd would end the runs with the service"
