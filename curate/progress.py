"""Tells a person how a run goes: bars on a terminal, plain lines elsewhere, nothing when quiet.

It consumes the engine's events, plain dicts with a key `event`:

    run_started    run_id, stages: [names]
    stage_started  stage, phase (or None), shards, done: shards there already, bytes_in: file bytes of the others
    shard_done     stage, phase, shard, rows_in, rows_out, text_bytes_in, bytes_in, seconds, peak_rss_bytes
    task_told      stage, phase, shard, said
    stage_reused   stage, rows_out
    stage_done     stage, seconds, rows_in, rows_out
    stage_failed   stage, error
    retry          stage, shard, cause, attempt
    worker_warning message
    run_done       status, seconds

An event of another kind is ignored. Names and errors may quote hostile data: control characters never reach the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from curate.report.units import count, duration, plural, printable, rate

LINE_EVERY_S = 30.0

Event = Mapping[str, Any]


@dataclass
class Going:
    """What is known about a stage, or one phase of it, that runs now."""

    stage: str
    phase: str | None
    shards: int
    done: int
    bytes_planned: int
    started: float
    rows: int = 0
    text_bytes: int = 0
    bytes: int = 0
    told: float = 0.0
    made: int = 0
    said: str = ""

    @property
    def label(self) -> str:
        """The stage's name, with its phase if it has any."""
        return printable(f"{self.stage}: {self.phase}" if self.phase else self.stage)

    def add(self, event: Event) -> None:
        """Count one more shard."""
        self.done, self.made = self.done + 1, self.made + 1
        self.rows += event.get("rows_in") or 0
        self.text_bytes += event.get("text_bytes_in") or 0
        self.bytes += event.get("bytes_in") or 0

    def speed(self, now: float) -> str:
        """Return MB/s of text, or of files while the stage reads no text."""
        return rate(self.text_bytes or self.bytes, now - self.started)

    def remaining(self, now: float) -> float | None:
        """Return seconds to go, from the bytes still planned, or from the shards when bytes are unknown; None at first."""
        if self.bytes_planned and self.bytes:
            share = min(self.bytes / self.bytes_planned, 1.0)
        elif self.made:
            share = self.made / max(self.made + self.shards - self.done, 1)
        else:
            return None
        return (now - self.started) * (1 - share) / share


class View(Protocol):
    """What shows the state: lines or bars."""

    def started(self, going: Going) -> None:
        """Show that a stage or a phase of it began."""

    def advanced(self, going: Going) -> None:
        """Show that a shard is done."""

    def ended(self, stage: str, line: str) -> None:
        """Show a stage's last line."""

    def say(self, line: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Progress:
    """Shows events on `stream`; use it as a context and give `on_event` to the engine."""

    def __init__(self, stream: TextIO, quiet: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._quiet, self._now = stream, quiet, now
        self._view: View | None = None
        self._going: dict[str, Going] = {}
        self._begun: dict[str, float] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        if not self._quiet:
            self._view = _view(self._stream, self._now)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def on_event(self, event: Event) -> None:
        """Show one event of the engine."""
        tell = getattr(self, f"_on_{event.get('event')}", None)
        if tell is not None and self._view is not None:
            tell(event, self._view)

    def _on_run_started(self, event: Event, view: View) -> None:
        view.say(f"run {event.get('run_id')}: {plural(len(event.get('stages') or ()), 'stage')}")

    def _on_stage_started(self, event: Event, view: View) -> None:
        stage, now = str(event["stage"]), self._now()
        self._begun.setdefault(stage, now)
        shards, done, planned = event.get("shards") or 0, event.get("done") or 0, event.get("bytes_in") or 0
        self._going[stage] = Going(stage, event.get("phase"), shards, done, planned, now, told=now)
        view.started(self._going[stage])

    def _on_shard_done(self, event: Event, view: View) -> None:
        going = self._going.get(str(event["stage"]))
        if going is not None:
            going.add(event)
            view.advanced(going)

    def _on_task_told(self, event: Event, view: View) -> None:
        going = self._going.get(str(event["stage"]))
        if going is not None:
            going.said = printable(str(event.get("said")))
            view.advanced(going)

    def _on_stage_reused(self, event: Event, view: View) -> None:
        stage = printable(str(event["stage"]))
        view.ended(str(event["stage"]), f"{stage}: reused, {plural(event.get('rows_out') or 0, 'document')}")

    def _on_stage_done(self, event: Event, view: View) -> None:
        stage, now = str(event["stage"]), self._now()
        seconds = event.get("seconds") or now - self._begun.get(stage, now)
        going = self._going.pop(stage, None)
        parts = [f"{count(event.get('rows_in') or 0)} in", f"{count(event.get('rows_out') or 0)} out", duration(seconds)]
        if going is not None and going.phase is None and going.text_bytes + going.bytes:
            parts.append(rate(going.text_bytes or going.bytes, seconds))
        view.ended(stage, f"{printable(stage)}: done, {', '.join(parts)}")

    def _on_stage_failed(self, event: Event, view: View) -> None:
        self._going.pop(str(event["stage"]), None)
        view.ended(str(event["stage"]), printable(f"{event['stage']}: failed: {event.get('error')}"))

    def _on_retry(self, event: Event, view: View) -> None:
        view.say(f"{event.get('stage')}: shard {event.get('shard')} is tried again, attempt {event.get('attempt')}: {event.get('cause')}")

    def _on_worker_warning(self, event: Event, view: View) -> None:
        view.say(f"warning: {event.get('message')}")

    def _on_run_done(self, event: Event, view: View) -> None:
        view.say(f"run {event.get('status')} in {duration(event.get('seconds') or 0)}")


def _view(stream: TextIO, now: Callable[[], float]) -> View:
    """Return bars for a terminal that can move its cursor, else lines; rich is imported only for the former."""
    if stream.isatty():
        from curate.progress_bars import Bars, can_draw  # rich takes 46 ms, which a log file need not pay

        if can_draw(stream):
            return Bars(stream, now)
    return Lines(stream, now)


class Lines:
    """Plain lines: one when a stage starts, at most one every `LINE_EVERY_S` while it runs, one when it ends."""

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._stream, self._now = stream, now

    def started(self, going: Going) -> None:
        """Say how much there is to do."""
        resumed = f", {count(going.done)} there already" if going.done else ""
        self.say(f"{going.label}: {plural(going.shards, 'shard')}{resumed}")

    def advanced(self, going: Going) -> None:
        """Say how far the stage is, if it has not for a while."""
        now = self._now()
        if now - going.told < LINE_EVERY_S:
            return
        going.told = now
        if going.said:
            self.say(f"{going.label}: {going.said}")
            return
        remaining = going.remaining(now)
        parts = [f"{count(going.done)} of {plural(going.shards, 'shard')}"]
        parts += [plural(going.rows, "document")] if going.rows else []  # most phases of dataset operators count none
        parts.append(going.speed(now))
        self.say(f"{going.label}: {', '.join(parts + ([f'{duration(remaining)} to go'] if remaining else []))}")

    def ended(self, stage: str, line: str) -> None:
        """Say how the stage ended."""
        self.say(line)

    def say(self, line: str) -> None:
        """Print a line at once."""
        self._stream.write(printable(line) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: lines leave nothing behind."""
