"""`curate schedule add`: what a person types becomes the schedule that the API takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from curate.cli import options, schedule_text
from curate.cli.remote import connected, named, seen_by_service, sent
from curate.client import Client
from curate.client_schedules import NewSchedule
from curate.errors import PipelineError
from curate.service.moments import in_calendar
from curate.service.schedules.spans import seconds_of

Command = TypeVar("Command", bound=Callable[..., Any])


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a duration such as 90s, 5m, 6h or 2d; a plain number is seconds."""
    try:
        return None if value is None else seconds_of(value)
    except PipelineError as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from None


def _duration(*names: str, told: str) -> Callable[[Command], Command]:
    return click.option(*names, callback=_seconds, metavar="DURATION", help=told)


@click.command()
@click.argument("name")
@click.argument("pipeline")
@options.service
@click.option("--cron", metavar="EXPRESSION", help="At these times: five fields, or @hourly, @daily, @weekly, @monthly, @yearly.")
@click.option("--at", metavar="TIME", help="Once: 2026-12-01T02:00 in --zone, or with an offset, 2026-12-01T02:00+01:00.")
@click.option("--zone", metavar="NAME", help="Whose clocks --cron and --at go by, such as Europe/Berlin. [default: UTC]")
@click.option("--files", metavar="INPUT", help="When this input of the pipeline has files that the last success had not.")
@_duration("--every", told="How often --files looks. [default: 1m]")
@click.option("--after", metavar="PIPELINE", help="When a run of this pipeline has succeeded.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "cancel_older"]),
    help="When the last run still goes on: skip the tick, let it wait, or cancel that run. [default: skip]",
)
@click.option(
    "--misfire",
    type=click.Choice(["once", "all", "none"]),
    help="Ticks that nobody saw in time: one run for all of them, a run for each, or none. [default: once]",
)
@_duration("--grace", "grace_s", told="How late is in time. [default: 1m]")
@click.option("--retries", type=click.IntRange(min=0), help="Further attempts of a run that failed or was lost. [default: 0]")
@_duration("--back-off", "backoff_s", told="The wait before the first of them; it doubles, up to 1h. [default: 1m]")
@_duration("--deadline", "deadline_s", told="How long a run may take, further attempts included. [default: any time]")
@_duration("--jitter", "jitter_s", told="Ticks wait up to so long, each its own time. [default: 0s]")
@click.option("--pause-after", type=click.IntRange(min=1), help="Pause when so many ticks in a row failed. [default: never]")
@click.option("--version", type=click.IntRange(min=1), help="Always this version of the pipeline, not the newest.")
@options.sets
@click.option("--until", metavar="STAGE", help="Run this stage and what it needs; no checks, no outputs.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes of a run. [default: the service's own]")
@click.option("--workspace", "-w", envvar="CURATE_WORKSPACE", metavar="DIR|URL", help="Not the service's own. [env: CURATE_WORKSPACE]")
@click.option("--replace", is_flag=True, help="Put it in the place of the schedule of that name, whose history goes on.")
def add(name: str, pipeline: str, url: str, replace: bool, **chosen: Any) -> None:
    """Add the schedule NAME for PIPELINE: a name that the service knows, or a YAML file, which it keeps as the newest version.

    \b
    Examples:
      curate schedule add nightly pipeline.yaml --cron "30 2 * * *" --zone Europe/Berlin --retries 2 --pause-after 3
      curate schedule add tonight web_english --at 2026-12-01T02:00
      curate schedule add dumps web_english --files crawl --every 5m --overlap queue
      curate schedule add second web_german --after web_english
    """
    trigger = _trigger(chosen)
    client = connected(url)
    schedule: NewSchedule = {
        "name": name,
        "pipeline": _kept(client, pipeline, chosen["version"]),
        "version": chosen["version"],
        "trigger": trigger,
        "policies": {key: chosen[key] for key in schedule_text.POLICIES if chosen[key] is not None},
        "workspace": seen_by_service(chosen["workspace"]) if chosen["workspace"] else None,
        "sets": list(chosen["sets"]),
        "until": chosen["until"],
        "workers": chosen["workers"],
    }
    click.echo(schedule_text.headline(client.schedules.add(schedule, replace)))


def _trigger(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return when it runs, as the API takes it."""
    kinds = [kind for kind in ("cron", "at", "files", "after") if chosen[kind] is not None]
    if len(kinds) != 1:
        raise PipelineError("a schedule has one of `--cron`, `--at`, `--files` and `--after`", "the help of this command has examples")
    kind, value = kinds[0], chosen[kinds[0]]
    if chosen["zone"] is not None and kind not in ("cron", "at"):
        raise PipelineError(f"`--{kind}` goes without `--zone`", "it has no times")
    if chosen["every"] is not None and kind != "files":
        raise PipelineError(f"`--{kind}` goes without `--every`", "that says how often `--files` looks")
    if kind == "cron":
        return {"kind": kind, "expression": value, "zone": chosen["zone"] or "UTC"}
    if kind == "at":
        return {"kind": kind, "at": _moment(value, chosen["zone"])}
    if kind == "files":
        return {"kind": kind, "input": value} | ({} if chosen["every"] is None else {"every_s": chosen["every"]})
    return {"kind": "finished", "pipeline": value}


def _moment(text: str, zone: str | None) -> str:
    """Return a time with its offset; one without is a time of the zone's clocks, the first of two in a doubled hour."""
    try:
        moment = in_calendar(datetime.fromisoformat(text))
    except ValueError:
        raise PipelineError(f"not a time: {text}", "such as 2026-12-01T02:00, or 2026-12-01T02:00+01:00") from None
    if moment.tzinfo is None:
        return _local(moment, zone or "UTC").isoformat()
    if zone is not None:
        raise PipelineError(f"`--at {text}` has an offset, and goes without `--zone`", "leave one of them out")
    return moment.isoformat()


def _local(clock: datetime, zone: str) -> datetime:
    try:
        moment = clock.replace(tzinfo=ZoneInfo(zone))
    except (KeyError, ValueError, OSError):  # an unknown key, one that leaves the folder, one that is a folder
        raise PipelineError(f"no time zone {zone!r}", "an IANA name such as Europe/Berlin or UTC") from None
    if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != clock:
        raise PipelineError(f"the clocks of {zone} skip {clock.isoformat()}", "name a time before or after the gap")
    return moment


def _kept(client: Client, pipeline: str, version: int | None) -> str:
    """Return the pipeline's name in the service, which a file is given to first."""
    if not pipeline.endswith((".yaml", ".yml")):
        return pipeline
    if version is not None:
        raise PipelineError("`--version` goes without a file", "a file is kept as the newest version; say the pipeline's name instead")
    text, folder = sent(pipeline)
    with named(pipeline):
        kept = client.save(text, folder)
    click.echo(f"{pipeline} is version {kept['number']} of {kept['pipeline']}", err=True)
    return str(kept["pipeline"])
