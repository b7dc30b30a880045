"""What the policies of a schedule make of late ticks, of runs that still go on, and of failures: pure functions, no clock.

A tick that fires becomes one run, and further ones if that fails. Its story ends in one of `ENDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from curate.report.units import duration
from curate.service.schedules.spec import Overlap, Policies

ENDS = ("succeeded", "failed", "cancelled", "skipped", "missed")
RETRIED = ("failed", "lost")
"""How runs end that may go better when tried again; a gate that said no says so again, a cancelled run was not wanted."""
FAILED = ("failed", "lost", "gated")

End = Literal["succeeded", "failed", "cancelled", "skipped", "missed"]


@dataclass(frozen=True)
class Due:
    """A tick whose time has come: when it was due, and when it was to fire, which is `due` and its jitter."""

    due: datetime
    fires: datetime


@dataclass(frozen=True)
class Fired:
    """What becomes of a tick whose time has come: it runs, or it was missed and `note` says what became of it."""

    due: datetime
    runs: bool
    note: str = ""


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


def wait_before(retry: int, policies: Policies) -> timedelta:
    """Return how long the `retry`-th further run waits, counted from 1: twice as long each time, up to the longest wait."""
    doublings = min(retry - 1, 60)  # beyond that a float would overflow, and every wait is the longest
    return timedelta(seconds=min(policies.backoff_s * 2**doublings, policies.max_backoff_s))


def deadline(fired: datetime, policies: Policies) -> datetime | None:
    """Return when a tick that fired then must have ended; None for never."""
    return None if policies.deadline_s is None else fired + timedelta(seconds=policies.deadline_s)


def retry_at(status: str, runs: int, ended: datetime, fired: datetime, policies: Policies) -> datetime | None:
    """Return when to run again after a tick's `runs`-th run ended with `status`; None when it is not tried again."""
    if status not in RETRIED or runs > policies.retries:
        return None
    moment = ended + wait_before(runs, policies)
    latest = deadline(fired, policies)
    return moment if latest is None or moment < latest else None


def end_of(status: str) -> End:
    """Return how a tick ends whose last run ended with `status`."""
    return "succeeded" if status == "succeeded" else "failed" if status in FAILED else "cancelled"


def failures_in_a_row(ends_newest_first: Iterable[str]) -> int:
    """Count the ticks that failed since one succeeded; those that did not run, or were cancelled, say nothing."""
    failures = 0
    for end in ends_newest_first:
        if end == "succeeded":
            break
        failures += end == "failed"
    return failures


def is_to_pause(ends_newest_first: Iterable[str], policies: Policies) -> bool:
    """Tell whether so many ticks failed in a row that the schedule is paused."""
    return policies.pause_after is not None and failures_in_a_row(ends_newest_first) >= policies.pause_after
