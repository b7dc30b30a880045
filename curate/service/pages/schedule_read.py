"""Reads the form of a schedule: the schedule that it says, or what is wrong with which field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from curate.errors import PipelineError
from curate.service.moments import in_calendar
from curate.service.pages.schedule_form import CHOICES, ONE_VALUE, SPANS, Typed
from curate.service.pipelines import Mistake
from curate.service.schedules.cron import CronTimes, zone_named
from curate.service.schedules.spans import seconds_of
from curate.service.schedules.spec import ScheduleSpec

Wrong = dict[str, Mistake]
_NAMES = "letters, digits, `.`, `_` and `-`, of which the first is a letter or a digit"


def spec_of(typed: Typed) -> tuple[ScheduleSpec | None, Wrong]:
    """Return the schedule that was typed, or None and what is wrong, by the names of fields."""
    wrong: Wrong = {}
    said: dict[str, Any] = {name: getattr(typed, name).strip() or None for name in ONE_VALUE}
    said |= {"sets": [line.strip() for line in typed.sets.splitlines() if line.strip()]}
    try:
        spec = ScheduleSpec.model_validate({**said, "trigger": _trigger(typed, wrong), "policies": _policies(typed, wrong)})
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            wrong.setdefault(_field(entry["loc"]), _mistake(entry))
        return None, wrong
    return (None if wrong else spec), wrong


def _trigger(typed: Typed, wrong: Wrong) -> dict[str, Any]:
    match typed.kind:
        case "at":
            return {"kind": "at", "at": _at(typed, wrong)}
        case "files":
            return {"kind": "files", "input": typed.input.strip() or None, **_span(typed, "every_s", wrong)}
        case "finished":
            return {"kind": "finished", "pipeline": typed.after or None}
    said = {"expression": typed.expression.strip(), "zone": typed.zone.strip()}
    with _noted(wrong, "zone"):
        zone_named(said["zone"])
    with _noted(wrong, "expression"):
        CronTimes(said["expression"])
    return {"kind": typed.kind, **said}


def _at(typed: Typed, wrong: Wrong) -> datetime | None:
    """Return the moment at which clocks of the zone show the time, the first of two in a doubled hour."""
    zone = zone_named("UTC")
    with _noted(wrong, "at_zone"):
        zone = zone_named(typed.at_zone.strip())
    with _noted(wrong, "at"):
        clock = _clock(typed.at)
        moment = clock if clock.tzinfo else clock.replace(tzinfo=zone)
        if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != clock.replace(tzinfo=None):
            raise PipelineError(f"the clocks of {zone} skip {typed.at}", "name a time before or after the gap")
        return moment
    return None


def _clock(text: str) -> datetime:
    try:
        return in_calendar(datetime.fromisoformat(text.strip()).replace(microsecond=0))
    except ValueError:
        raise PipelineError(f"not a time: {text[:40]!r}", "such as 2026-12-01T02:30") from None


def _policies(typed: Typed, wrong: Wrong) -> dict[str, Any]:
    said: dict[str, Any] = {name: getattr(typed, name).strip() for name in CHOICES if getattr(typed, name).strip()}
    for name in SPANS:
        said |= _span(typed, name, wrong)
    return said


def _span(typed: Typed, name: str, wrong: Wrong) -> dict[str, float]:
    """Return the seconds of a field by its name; nothing for an empty one, which has its default."""
    text = getattr(typed, name)
    with _noted(wrong, name):
        return {name: seconds_of(text)} if text.strip() else {}
    return {}


@contextmanager
def _noted(wrong: Wrong, field: str) -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        wrong[field] = Mistake(None, error.message, error.hint)


def _field(loc: tuple[int | str, ...]) -> str:
    """Return the field that a place in the schedule was typed into."""
    if loc[:2] == ("trigger", "finished"):
        return "after"
    return next((str(part) for part in reversed(loc) if part in Typed.model_fields), "kind")


def _mistake(entry: Mapping[str, Any]) -> Mistake:
    if entry["input"] is None:
        return Mistake(None, "this is needed")
    if entry["type"] == "string_pattern_mismatch":
        return Mistake(None, f"not a name for a schedule: {entry['input'][:40]!r}", _NAMES)
    message = str(entry["msg"])
    return Mistake(None, message[:1].lower() + message[1:])
