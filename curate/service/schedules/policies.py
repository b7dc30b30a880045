"""What the policies of a schedule make of late ticks, of runs that still go on, and of failures: pure functions, no clock.

A tick that fires becomes one run; what is tried again is an attempt of that run, which `curate.service.watch` sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from curate.report.units import duration
from curate.service.schedules.spec import Overlap, Policies

WAITING = "waiting"
"""A tick that waits until the runs of earlier ones have ended."""
RUNNING = "running"
"""A tick that has a run, be it queued itself."""

End = Literal["succeeded", "failed", "cancelled", "skipped", "missed"]
_FAILED = ("failed", "lost", "gated")


@dataclass(frozen=True)
class Due:
    """A tick whose time has come: when it was due, and when it was to fire, which is `due` and its jitter."""

    due: datetime
    fires: datetime


@dataclass(frozen=True)
class Fired:
    """What becomes of a tick whose time has come: it runs, or it was missed; `note` says how late it was, or what runs instead."""

    due: datetime
    runs: bool
    note: str | None = None


def fire(ticks: Sequence[Due], now: datetime, policies: Policies) -> list[Fired]:
    """Decide which of the ticks that are due, oldest first, run at `now`.

    Those in time run. Of the late ones, `all` run, `none` run, or `once`: the newest tick of all runs for them.
    """
    return [_fired(tick, tick is ticks[-1], ticks[-1].due, now, policies) for tick in ticks]


def _fired(tick: Due, is_newest: bool, newest: datetime, now: datetime, policies: Policies) -> Fired:
    lateness = now - tick.fires
    if lateness <= timedelta(seconds=policies.grace_s):
        return Fired(tick.due, True)
    if policies.misfire == "once" and not is_newest:
        return Fired(tick.due, False, f"the tick of {newest:%Y-%m-%d %H:%M:%S} UTC runs for it")
    return Fired(tick.due, policies.misfire != "none", f"{duration(lateness.total_seconds())} late")


@dataclass(frozen=True)
class Meeting:
    """What a tick does that meets earlier ones of its schedule: `start`, `wait` or `skip`, and whether those are cancelled first."""

    action: Literal["start", "wait", "skip"]
    cancels: bool = False


def meet(earlier_unfinished: int, overlap: Overlap) -> Meeting:
    """Decide what a tick does when so many earlier ticks of its schedule have not ended.

    A tick that cancels starts only when the cancelled have ended: two runs never work on one workspace at a time.
    """
    if not earlier_unfinished:
        return Meeting("start")
    if overlap == "skip":
        return Meeting("skip")
    return Meeting("wait", cancels=overlap == "cancel_older")


def overlap_of(fired: Fired, policies: Policies) -> Overlap:
    """Return what a tick does that meets a run: late ones of which all are to run wait for each other."""
    return "queue" if fired.note and policies.misfire == "all" else policies.overlap


def end_of(status: str) -> End:
    """Return how a tick ends whose run ended with `status`."""
    return "succeeded" if status == "succeeded" else "failed" if status in _FAILED else "cancelled"


def failures_after(failures: int, end: End) -> int:
    """Return how many ticks failed in a row once another has ended; those that were cancelled or never ran say nothing."""
    return failures + 1 if end == "failed" else 0 if end == "succeeded" else failures


def is_to_pause(failures: int, policies: Policies) -> bool:
    """Tell whether so many ticks failed in a row that the schedule is paused."""
    return policies.pause_after is not None and failures >= policies.pause_after
