"""The form that adds or changes a schedule: its fields as text, empty, as typed, or as a schedule fills them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC

from pydantic import BaseModel

from curate.service.schedules.spans import span
from curate.service.schedules.spec import AtTrigger, CronTrigger, FilesTrigger, FinishedTrigger, Policies
from curate.service.schedules.views import ScheduleOut

SPANS = ("grace_s", "backoff_s", "deadline_s", "jitter_s")
CHOICES = ("overlap", "misfire", "retries", "pause_after")
POLICIES = (*SPANS, *CHOICES)
OPTIONS = ("version", "workspace", "sets", "until", "workers")
ONE_VALUE = ("name", "pipeline", "version", "workspace", "until", "workers")
_DEFAULTS = Policies()


class Typed(BaseModel):
    """The fields of the form as text; `replaces` is the schedule that is changed, nothing for a new one."""

    replaces: str = ""
    name: str = ""
    pipeline: str = ""
    version: str = ""
    kind: str = "cron"
    expression: str = ""
    zone: str = "UTC"
    at: str = ""
    at_zone: str = "UTC"
    input: str = ""
    every_s: str = "1m"
    after: str = ""
    overlap: str = _DEFAULTS.overlap
    misfire: str = _DEFAULTS.misfire
    grace_s: str = span(_DEFAULTS.grace_s)
    retries: str = str(_DEFAULTS.retries)
    backoff_s: str = span(_DEFAULTS.backoff_s)
    deadline_s: str = ""
    jitter_s: str = span(_DEFAULTS.jitter_s)
    pause_after: str = ""
    workspace: str = ""
    sets: str = ""
    until: str = ""
    workers: str = ""


def is_opened(typed: Typed, wrong: Collection[str], fields: Collection[str]) -> bool:
    """Tell whether fields that are folded away at first say something, or something wrong."""
    new = Typed()
    return any(name in wrong or getattr(typed, name) != getattr(new, name) for name in fields)


def typed_of(schedule: ScheduleOut) -> Typed:
    """Return the form filled with a schedule."""
    policies, trigger = schedule.policies, schedule.trigger
    said = {name: _text(getattr(schedule, name)) for name in ONE_VALUE} | {name: _text(getattr(policies, name)) for name in CHOICES}
    spans = {name: getattr(policies, name) for name in SPANS}
    said |= {name: "" if seconds is None else span(seconds) for name, seconds in spans.items()}
    match trigger:
        case CronTrigger():
            said |= {"expression": trigger.expression, "zone": trigger.zone}
        case AtTrigger():
            said |= {"at": f"{trigger.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"}
        case FilesTrigger():
            said |= {"input": trigger.input, "every_s": span(trigger.every_s)}
        case FinishedTrigger():
            said |= {"after": trigger.pipeline}
    return Typed(replaces=schedule.name, kind=trigger.kind, sets="\n".join(schedule.sets), **said)


def _text(value: object) -> str:
    return "" if value is None else str(value)
