"""How far a run is, folded from its events: the state of every stage, work over time, and the last lines of its log.

The events are those of `runs/<id>/events/*.jsonl` (curate/README.md). A fold takes constant room for each stage, whatever the
number of shards, and can be continued: `Progress.add` takes one event more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curate.report.units import count, duration, plural, size
from curate.service.views.pulse import Pulse

Event = Mapping[str, Any]
State = Literal["waiting", "running", "done", "reused", "failed", "blocked", "interrupted"]
LOG_LINES = 400
_BLOCKED = "blocked: "


@dataclass
class StageProgress:
    """One stage. `shards` and `done` are those of the phase that runs; `seconds` is None until the stage has ended."""

    name: str
    state: State = "waiting"
    phase: str | None = None
    shards: int = 0
    done: int = 0
    rows_in: int = 0
    rows_out: int = 0
    text_bytes: int = 0
    file_bytes: int = 0
    begun: float | None = None
    seconds: float | None = None
    retries: int = 0
    peak_rss: int = 0
    said: str = ""
    error: str = ""
    pulse: Pulse | None = None

    @property
    def share(self) -> float:
        """How much of the stage, or of the phase that runs, is done: 0 to 1."""
        if self.state in ("done", "reused"):
            return 1.0
        return self.done / self.shards if self.shards else 0.0

    def speed(self, now: float) -> float:
        """Return bytes per second since the stage began: of text, or of files while there is no text."""
        spent = self.seconds if self.seconds is not None else now - (self.begun if self.begun is not None else now)
        return (self.text_bytes or self.file_bytes) / spent if spent > 0 else 0.0


@dataclass(frozen=True)
class Line:
    """One line of a run's log."""

    elapsed: float
    text: str
    kind: Literal["plain", "good", "bad"] = "plain"


@dataclass
class Progress:
    """A run so far. `status` is None until the run has ended by itself."""

    stages: dict[str, StageProgress] = field(default_factory=dict)
    status: str | None = None
    elapsed: float = 0.0
    last_event: str = ""
    events: int = 0
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    log: deque[Line] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    def add(self, event: Event) -> None:
        """Take one more event; those of a kind that is not known change nothing."""
        self.events += 1
        self.elapsed, self.last_event = float(event.get("elapsed_s") or 0.0), str(event.get("time") or "")
        take = _TAKES.get(str(event.get("event")))
        if take is not None:
            take(self, event)
        self.log.extend(_lines(event))

    def stage(self, event: Event) -> StageProgress:
        """Return the stage that an event is of."""
        name = str(event.get("stage"))
        return self.stages.setdefault(name, StageProgress(name))


def _run_started(progress: Progress, event: Event) -> None:
    progress.stages = {str(name): StageProgress(str(name)) for name in event.get("stages") or ()}
    progress.status, progress.checks, progress.notes = None, [], {}


def _run_done(progress: Progress, event: Event) -> None:
    progress.status = str(event.get("status"))
    for stage in progress.stages.values():
        if stage.state == "running":
            stage.state = "interrupted"


def _stage_started(progress: Progress, event: Event) -> None:
    stage = progress.stage(event)
    stage.state, stage.phase, stage.said = "running", event.get("phase"), ""
    stage.shards, stage.done = int(event.get("shards") or 0), int(event.get("done") or 0)
    if stage.begun is None:
        stage.begun, stage.pulse = progress.elapsed, Pulse(progress.elapsed)


def _shard_done(progress: Progress, event: Event) -> None:
    stage = progress.stage(event)
    stage.done += 1
    text, files = int(event.get("text_bytes_in") or 0), int(event.get("bytes_in") or 0)
    stage.text_bytes, stage.file_bytes = stage.text_bytes + text, stage.file_bytes + files
    if event.get("phase") is None:
        stage.rows_in, stage.rows_out = stage.rows_in + int(event["rows_in"]), stage.rows_out + int(event["rows_out"])
    peak = int(event.get("peak_rss_bytes") or 0)
    stage.peak_rss = max(stage.peak_rss, peak)
    if stage.pulse is not None:
        stage.pulse.add(progress.elapsed, float(event.get("seconds") or 0.0), text or files, peak)


def _task_told(progress: Progress, event: Event) -> None:
    progress.stage(event).said = str(event.get("said") or "")


def _retry(progress: Progress, event: Event) -> None:
    progress.stage(event).retries += 1


def _stage_done(progress: Progress, event: Event) -> None:
    stage = progress.stage(event)
    stage.state, stage.phase, stage.said = "done", None, ""
    stage.seconds, stage.rows_in, stage.rows_out = float(event["seconds"]), int(event["rows_in"]), int(event["rows_out"])


def _stage_reused(progress: Progress, event: Event) -> None:
    stage = progress.stage(event)
    stage.state, stage.rows_out = "reused", int(event.get("rows_out") or 0)


def _stage_failed(progress: Progress, event: Event) -> None:
    stage = progress.stage(event)
    stage.error = str(event.get("error") or "")
    stage.state = "blocked" if stage.error.startswith(_BLOCKED) else "failed"


def _note(progress: Progress, event: Event) -> None:
    told = {"name": event.get("note"), "passed": event.get("passed"), "message": event.get("message")}
    progress.notes.setdefault(str(event.get("stage")), []).append(told)


def _check(progress: Progress, event: Event) -> None:
    progress.checks.append({"name": event.get("check"), "passed": event.get("passed"), "message": event.get("message")})


_TAKES = {
    "run_started": _run_started,
    "run_done": _run_done,
    "stage_started": _stage_started,
    "shard_done": _shard_done,
    "task_told": _task_told,
    "retry": _retry,
    "stage_done": _stage_done,
    "stage_reused": _stage_reused,
    "stage_failed": _stage_failed,
    "note": _note,
    "check": _check,
}


def _lines(event: Event) -> Iterator[Line]:
    """Yield the line that a person reads of an event; single shards and steps of long tasks have none."""
    at, stage, kind = float(event.get("elapsed_s") or 0.0), event.get("stage"), event.get("event")
    match kind:
        case "run_started":
            yield Line(at, f"run {event.get('run_id')} began: {plural(len(event.get('stages') or ()), 'stage')}")
        case "stage_started":
            phase = f": {event['phase']}" if event.get("phase") else ""
            there = f", {count(event['done'])} there already" if event.get("done") else ""
            volume = f", {size(event['bytes_in'])}" if event.get("bytes_in") else ""
            yield Line(at, f"{stage}{phase} began: {plural(int(event.get('shards') or 0), 'shard')}{there}{volume}")
        case "stage_done":
            went = f"{plural(int(event['rows_in']), 'document')} in, {count(event['rows_out'])} out"
            yield Line(at, f"{stage} done in {duration(event['seconds'])}: {went}", "good")
        case "stage_reused":
            yield Line(at, f"{stage} was there already: {plural(int(event.get('rows_out') or 0), 'document')}", "good")
        case "stage_failed":
            yield Line(at, f"{stage} failed: {event.get('error')}", "bad")
        case "retry":
            yield Line(at, f"{stage}, shard {event.get('shard')}: tried again after {event.get('cause')}", "bad")
        case "note" | "check":
            name, passed = event.get("note") or f"check {event.get('check')}", bool(event.get("passed"))
            where = f"{stage}, {name}" if stage else str(name)
            yield Line(at, f"{where}: {event.get('message')}", "good" if passed else "bad")
        case "output":
            yield Line(at, f"output {event.get('output')} published in {event.get('path')}", "good")
        case "run_done":
            status = str(event.get("status"))
            yield Line(at, f"run {status} after {duration(float(event.get('seconds') or 0))}", "good" if status == "done" else "bad")
