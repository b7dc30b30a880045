"""When a schedule runs and by which policies, in words, and moments as the clocks of its zone show them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from curate.report.markup import Child, Markup, code, element
from curate.report.units import duration, plural
from curate.service.pages.hostile import visible
from curate.service.schedules.cron import CronTimes, zone_named
from curate.service.schedules.spec import AtTrigger, CronTrigger, FilesTrigger, Policies, Trigger

_WEEKDAYS = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
_WORKING_DAYS = {1, 2, 3, 4, 5}
_MOST_NAMED = 4  # of times of a day or days of a month; longer lists say less than the expression
_OVERLAPS = {
    "skip": "A tick that comes while the last run goes on is skipped.",
    "queue": "A tick that comes while the last run goes on waits for its end.",
    "cancel_older": "A tick that comes while the last run goes on cancels it, and starts when it has ended.",
}
_MISFIRES = {"once": "make one run together", "all": "make a run each", "none": "are missed"}


def zone_of(trigger: Trigger) -> str:
    """Return the zone whose clocks a trigger goes by."""
    return trigger.zone if isinstance(trigger, CronTrigger) else "UTC"


def moment_in(when: datetime, zone: str) -> str:
    """Return a moment as clocks of a zone show it: `Wed 2 Dec 2026, 02:30`."""
    there = when.astimezone(zone_named(zone))
    return f"{there:%a %-d %b %Y, %H:%M:%S}" if there.second else f"{there:%a %-d %b %Y, %H:%M}"


def when(trigger: Trigger) -> Child:
    """Return when a trigger fires, for a sentence that begins with what it starts."""
    match trigger:
        case CronTrigger():
            told = in_words(trigger.times)
            return [told or ["at the times of ", code(trigger.expression)], ", ", trigger.zone]
        case AtTrigger():
            return f"once, {moment_in(trigger.at, 'UTC')} UTC"
        case FilesTrigger():
            return ["when ", code(trigger.input), f" has new files, looked at every {duration(trigger.every_s)}"]
    return ["when ", pipeline_link(trigger.pipeline), " has succeeded"]


def pipeline_link(name: str) -> Markup:
    """Return a pipeline's name as a link to its page."""
    return element("a", visible(name), {"href": f"/pipelines/{name}"})


def in_words(times: CronTimes) -> str | None:
    """Return a plain expression in words, `every day at 02:30`; None for those that are clearer as they are written."""
    clock, day = _clock(times.parsed.minutes, times.parsed.hours), _days(times)
    if clock is None or day is None:
        return None
    return clock if day == "every day" and clock.startswith("every") else f"{day} {clock}"


def _clock(minutes: Collection[int], hours: Collection[int]) -> str | None:
    if len(minutes) * len(hours) <= _MOST_NAMED:
        return "at " + _listed([f"{hour:02d}:{minute:02d}" for hour in sorted(hours) for minute in sorted(minutes)])
    if len(minutes) == 1 and (step := _step(hours, 24)):
        return f"{'every hour' if step == 1 else f'every {step} hours'} at minute {min(minutes)}"
    if len(hours) == 24 and (step := _step(minutes, 60)):
        return "every minute" if step == 1 else f"every {step} minutes"
    return None


def _step(numbers: Collection[int], whole: int) -> int | None:
    """Return how far apart numbers are that go from 0 to the end of their range in even steps."""
    step = whole // len(numbers)
    return step if set(numbers) == set(range(0, whole, step)) else None


def _days(times: CronTimes) -> str | None:
    parsed = times.parsed
    weekdays = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
    either = not parsed.day_and  # due when one of both days matches, which takes more words than the expression
    if either or any(isinstance(day, tuple) for day in parsed.weekdays) or len(parsed.months) < 12:
        return None
    if len(parsed.days) == 31:
        named = _listed([_WEEKDAYS[day] for day in sorted(weekdays)])
        return "every day" if len(weekdays) == 7 else "Monday to Friday" if weekdays == _WORKING_DAYS else f"on {named}"
    if len(weekdays) < 7 or len(parsed.days) > _MOST_NAMED or min(parsed.days) < 1:
        return None
    days = _listed([str(day) for day in sorted(parsed.days)])
    return f"on day {days} of each month" if len(parsed.days) == 1 else f"on days {days} of each month"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def policies_in_words(policies: Policies) -> list[str]:
    """Return what the policies say, a sentence each."""
    late = "Late ticks" if not policies.grace_s else f"Ticks that nobody saw within {duration(policies.grace_s)}"
    told = [_OVERLAPS[policies.overlap], f"{late} {_MISFIRES[policies.misfire]}.", _retries(policies)]
    if policies.deadline_s is not None:
        told.append(f"A run must be done within {duration(policies.deadline_s)}, further attempts included.")
    if policies.jitter_s:
        told.append(f"Each tick waits up to {duration(policies.jitter_s)}, so that schedules of one time do not start together.")
    if policies.pause_after is not None:
        told.append(f"After {plural(policies.pause_after, 'failure')} in a row the schedule is paused.")
    return told


def _retries(policies: Policies) -> str:
    if not policies.retries:
        return "A run that fails or is lost is not tried again."
    times = "once" if policies.retries == 1 else f"{policies.retries} times"
    told = f"A run that fails or is lost is tried again {times}, after {duration(policies.backoff_s)}"
    return f"{told}." if policies.retries == 1 else f"{told} at first and twice as long each time, up to an hour."
