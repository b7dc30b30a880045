"""Progress: exact lines away from a terminal, bars on one, silence when quiet."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import Any

import pytest

from curate.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _shard(stage: str, number: int, phase: str | None = None) -> dict[str, Any]:
    counts = {"rows_in": 1000, "rows_out": 900, "text_bytes_in": 40_000_000, "bytes_in": 10_000_000, "seconds": 9.0}
    return {"event": "shard_done", "stage": stage, "shard": number, "phase": phase} | counts


def _started(stage: str, shards: int, done: int = 0, planned: int = 0, phase: str | None = None) -> dict[str, Any]:
    return {"event": "stage_started", "stage": stage, "shards": shards, "done": done, "bytes_in": planned, "phase": phase}


def _play(stream: io.StringIO, quiet: bool = False) -> None:
    """Play a run: a stage of six shards, two of them there already, ten seconds a shard; then one reused, one failed."""
    clock = Clock()
    with Progress(stream, quiet, clock) as progress:
        progress.on_event({"event": "run_started", "run_id": "r1", "stages": ["clean", "dedup", "corpus"]})
        progress.on_event(_started("clean", 6, done=2, planned=40_000_000))
        for number in range(2, 6):
            clock.seconds += 10
            progress.on_event(_shard("clean", number))
            if number == 3:
                progress.on_event({"event": "retry", "stage": "clean", "shard": 4, "cause": "worker_died", "attempt": 2})
        progress.on_event({"event": "stage_done", "stage": "clean", "seconds": 0.0, "rows_in": 6000, "rows_out": 5400})
        progress.on_event({"event": "stage_reused", "stage": "dedup", "rows_out": 5400})
        progress.on_event({"event": "worker_warning", "message": "a worker uses 3.1 GB"})
        progress.on_event({"event": "stage_failed", "stage": "corpus", "error": "shard 0: the disk is full"})
        progress.on_event({"event": "something_new", "stage": "clean"})
        progress.on_event({"event": "run_done", "status": "failed", "seconds": 41.0})


LINES = """\
run r1: 3 stages
clean: 6 shards, 2 there already
clean: shard 4 is tried again, attempt 2: worker_died
clean: 5 of 6 shards, 3,000 documents, 4.00 MB/s, 10 s to go
clean: done, 6,000 in, 5,400 out, 40 s, 4.00 MB/s
dedup: reused, 5,400 documents
warning: a worker uses 3.1 GB
corpus: failed: shard 0: the disk is full
run failed in 41 s
"""


def test_away_from_a_terminal_there_are_plain_lines() -> None:
    stream = io.StringIO()
    _play(stream)
    assert stream.getvalue() == LINES


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_is_silent(stream: io.StringIO) -> None:
    _play(stream, quiet=True)
    assert stream.getvalue() == ""


def test_a_thousand_fast_shards_give_a_line_every_thirty_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, now=clock) as progress:
        progress.on_event(_started("clean", 1000))
        for number in range(1000):
            clock.seconds += 0.125
            progress.on_event(_shard("clean", number))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 4
    assert lines[1] == "clean: 240 of 1,000 shards, 240,000 documents, 320 MB/s, 1 min 35 s to go"


def test_phases_of_a_dataset_operator_are_told_apart_and_its_time_is_the_whole() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, now=clock) as progress:
        for phase in ("hash", "mark"):
            progress.on_event(_started("dedup", 1, phase=phase))
            clock.seconds += 40
            progress.on_event(_shard("dedup", 0, phase) | ({"rows_in": 0, "text_bytes_in": 0} if phase == "mark" else {}))
        progress.on_event({"event": "stage_done", "stage": "dedup", "seconds": 0.0, "rows_in": 10, "rows_out": 9})
    assert stream.getvalue() == (
        "dedup: hash: 1 shard\n"
        "dedup: hash: 1 of 1 shard, 1,000 documents, 1.00 MB/s\n"
        "dedup: mark: 1 shard\n"
        "dedup: mark: 1 of 1 shard, 0.25 MB/s\n"
        "dedup: done, 10 in, 9 out, 1 min 20 s\n"
    )


def test_hostile_errors_move_no_cursor() -> None:
    for stream in (io.StringIO(), Terminal()):
        with Progress(stream) as progress:
            progress.on_event({"event": "stage_failed", "stage": "s", "error": "[bold]\x1b]0;owned\x07 \x1b[2J done\r\nall well"})
        assert "]0;owned\ufffd" in stream.getvalue()
        assert "[bold]" in stream.getvalue()
        assert not re.search("\x1b]0|\x1b\\[2J d|\x07", stream.getvalue())


def _drawn(stream: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_on_a_terminal_there_are_bars_and_the_lines_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    _play(stream)
    drawn = _drawn(stream)
    for line in LINES.splitlines():
        if "there already" not in line and "to go" not in line:
            assert line in drawn
    assert "2/6 shards" in drawn
    assert "━" in drawn
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_the_bar_names_documents_speed_shards_and_the_time_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, clock = Terminal(), Clock()
    with Progress(stream, now=clock) as progress:
        progress.on_event(_started("clean", 4, planned=40_000_000))
        clock.seconds += 10
        progress.on_event(_shard("clean", 0))
        progress.on_event({"event": "worker_warning", "message": "draw again"})
    assert re.search(r"clean ━+\S* +1,000 documents  4\.00 MB/s  1/4 shards  30 s to go 0:00:10", _drawn(stream))


def test_no_color_draws_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured, plain = Terminal(), Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    _play(coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    _play(plain)
    assert re.search(r"\x1b\[[0-9;]*(3[0-9]|38;5;[0-9]+)m", coloured.getvalue())
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|38;5;[0-9]+)m", plain.getvalue())


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    _play(stream)
    assert stream.getvalue() == LINES


def test_a_log_file_does_not_pay_for_rich() -> None:
    script = (
        "import io, sys; from curate.progress import Progress\n"
        "with Progress(io.StringIO()) as p: p.on_event({'event': 'run_started', 'run_id': 'r', 'stages': []})\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
