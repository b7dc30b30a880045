"""What a person says about a schedule: what it runs, when, and by which policies. The API takes it as JSON.

name: nightly
pipeline: web_english
trigger: {kind: cron, expression: "30 2 * * *", zone: Europe/Berlin}
policies: {overlap: queue, retries: 2, deadline_s: 21600, pause_after: 3}
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from curate.service.moments import Moment
from curate.service.schedules.cron import CronTimes

_STRICT = ConfigDict(extra="forbid", frozen=True)
YEAR_S = 366 * 86400.0
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Overlap = Literal["skip", "queue", "cancel_older"]
Misfire = Literal["once", "all", "none"]


class CronTrigger(BaseModel):
    """At the times of a cron expression, as the clocks of a time zone show them."""

    model_config = _STRICT
    kind: Literal["cron"] = "cron"
    expression: str = Field(max_length=200, description="Five fields, or @hourly, @daily, @weekly, @monthly, @yearly.")
    zone: str = Field(default="UTC", max_length=60, description="An IANA name.")

    @property
    def times(self) -> CronTimes:
        """The times; raises `PipelineError` for an expression or a zone that is none."""
        return CronTimes(self.expression, self.zone)


class AtTrigger(BaseModel):
    """Once."""

    model_config = _STRICT
    kind: Literal["at"] = "at"
    at: Moment = Field(description="A time with its offset from UTC.")


class FilesTrigger(BaseModel):
    """When an input of the pipeline has files that the last successful run did not have."""

    model_config = _STRICT
    kind: Literal["files"] = "files"
    input: str = Field(max_length=200, description="The input's name in the pipeline.")
    every_s: float = Field(default=60.0, ge=1, le=86_400, description="Seconds between two looks.")


class FinishedTrigger(BaseModel):
    """When a run of another pipeline succeeded."""

    model_config = _STRICT
    kind: Literal["finished"] = "finished"
    pipeline: str = Field(max_length=200)


Trigger = Annotated[CronTrigger | AtTrigger | FilesTrigger | FinishedTrigger, Field(discriminator="kind")]


class Policies(BaseModel):
    """What becomes of a tick that is late, meets a run that still goes on, or fails."""

    model_config = _STRICT
    overlap: Overlap = Field(default="skip", description="When the schedule's last run still goes on: skip, queue, or cancel_older.")
    misfire: Misfire = Field(default="once", description="Ticks that nobody saw in time: one run for all of them, a run for each, or none.")
    grace_s: float = Field(default=60.0, ge=0, le=YEAR_S, description="Up to so many seconds late is in time.")
    retries: int = Field(default=0, ge=0, le=100, description="Further attempts after one that failed or was lost.")
    backoff_s: float = Field(
        default=60.0, ge=0, le=YEAR_S, description="Seconds before the first of them; each wait is twice the one before, up to an hour."
    )
    deadline_s: float | None = Field(default=None, gt=0, le=YEAR_S, description="Seconds until it must be done, further attempts included.")
    jitter_s: float = Field(default=0.0, ge=0, le=86_400, description="Ticks wait up to so many seconds, each its own.")
    pause_after: int | None = Field(default=None, ge=1, description="Ticks that fail in a row before the schedule is paused.")


class ScheduleSpec(BaseModel):
    """A schedule, as it is added: a pipeline that the service keeps, when it runs, and the options of `curate run`."""

    model_config = _STRICT
    name: str = Field(pattern=NAME)
    pipeline: str = Field(max_length=200)
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Always this version, not the newest.")
    trigger: Trigger
    policies: Policies = Policies()
    workspace: str | None = Field(default=None, max_length=2000, description="Instead of the service's own.")
    sets: tuple[str, ...] = Field(default=(), max_length=1000, description="Overrides such as clean.length.min_chars=300.")
    until: str | None = Field(default=None, max_length=200)
    workers: int | None = Field(default=None, ge=1, le=4096)


def dues(trigger: CronTrigger | AtTrigger, after: datetime) -> Iterator[datetime]:
    """Yield the moments later than `after` at which a trigger is due."""
    if isinstance(trigger, CronTrigger):
        yield from trigger.times.after(after)
    elif trigger.at > after:
        yield trigger.at.astimezone(UTC)
