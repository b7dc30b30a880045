"""What the pages of schedules say: a line of the list, one schedule, what came of its ticks, and what its last run found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.report.markup import Child, Column, Markup, code, element, join, table
from curate.report.units import count
from curate.service.pages.badges import state
from curate.service.pages.hostile import visible
from curate.service.pages.render import ago, moment
from curate.service.pages.schedule_words import moment_in, pipeline_link, policies_in_words, when, zone_of
from curate.service.schedules.spec import CronTrigger
from curate.service.schedules.views import ScheduleOut, TickOut

_HISTORY = (
    Column("Outcome"),
    Column("Run"),
    Column("New files", numeric=True, minor=True),
    Column("Note", wide=True),
)
_INPUTS = (Column("Input"), Column("Files", numeric=True), Column("New", numeric=True))


def schedule_line(schedule: ScheduleOut) -> dict[str, Any]:
    """Return what the template `schedules.html` shows of one schedule."""
    return {
        "name": schedule.name,
        "pipeline": schedule.pipeline,
        "when": join(when(schedule.trigger)),
        "paused": schedule.paused,
        "next": join(_next(schedule)),
        "last": join(_outcome(schedule.last)) if schedule.last else None,
    }


def schedule_part(schedule: ScheduleOut, ticks: Sequence[TickOut]) -> dict[str, Any]:
    """Return what the template `schedule.html` shows of a schedule with a page of its history."""
    zone = zone_of(schedule.trigger)
    found = next((tick.inputs for tick in ticks if tick.inputs), None)
    return {
        "name": schedule.name,
        "pipeline": pipeline_link(schedule.pipeline),
        "when": join(when(schedule.trigger)),
        "paused": schedule.paused,
        "problem": schedule.problem,
        "facts": [(name, join(value)) for name, value in _facts(schedule)],
        "upcoming": _upcoming(schedule, zone),
        "inputs": _inputs(found) if found else None,
        "policies": policies_in_words(schedule.policies),
        "history": _history(schedule.name, ticks, zone),
    }


def _next(schedule: ScheduleOut) -> Child:
    """Return when it fires next, or is looked at next, by the clocks of its zone, and how long that is from now."""
    zone = zone_of(schedule.trigger)
    if schedule.next_fires is None:
        return "–"
    return [f"{moment_in(schedule.next_fires, zone)} {zone}", element("span", ago(schedule.next_fires), {"class": "below quiet"})]


def _facts(schedule: ScheduleOut) -> list[tuple[str, Child]]:
    version = "the newest version" if schedule.version is None else f"always version {schedule.version}"
    looks, zone = schedule.trigger.kind == "files", zone_of(schedule.trigger)
    facts: list[tuple[str, Child]] = [
        ("Pipeline", [pipeline_link(schedule.pipeline), ", ", version]),
        ("Next look" if looks else "Next", _next(schedule)),
        ("Last", [_outcome(schedule.last), f" {moment_in(schedule.last.due, zone)} {zone}"] if schedule.last else "never"),
    ]
    if isinstance(schedule.trigger, CronTrigger):
        facts.append(("Cron expression", code(schedule.trigger.expression)))
    if schedule.failures:
        facts.append(("Failures in a row", count(schedule.failures)))
    if schedule.workspace is not None:
        facts.append(("Workspace", code(schedule.workspace)))
    if schedule.sets:
        facts.append(("Set", code(", ".join(schedule.sets))))
    if schedule.until is not None:
        facts.append(("Until stage", code(schedule.until)))
    if schedule.workers is not None:
        facts.append(("Workers", count(schedule.workers)))
    return [*facts, ("Added", [moment(schedule.created_at), " by ", visible(schedule.created_by)])]


def _outcome(tick: TickOut) -> Markup:
    """Return what came of a tick, which leads to its run where it has one."""
    return state(tick.outcome) if tick.run_id is None else element("a", state(tick.outcome), {"href": f"/runs/{tick.run_id}"})


def _upcoming(schedule: ScheduleOut, zone: str) -> Markup:
    """Return the times to come, the next one first, by the clocks of the zone and in UTC."""
    zones = list(dict.fromkeys([zone, "UTC"]))
    moments = [schedule.next_due, *schedule.upcoming] if schedule.next_due and schedule.upcoming else []
    rows = [[moment_in(due, each) for each in zones] for due in moments]
    return table(f"The next times of {schedule.name}", [Column(each, wide=True) for each in zones], rows)


def _history(name: str, ticks: Sequence[TickOut], zone: str) -> Markup:
    return table(f"Ticks of {name}, newest first", [Column(f"Due, {zone}"), *_HISTORY], [_tick(tick, zone) for tick in ticks])


def _tick(tick: TickOut, zone: str) -> Sequence[Child]:
    new = sum(told.get("new", 0) for told in tick.inputs.values()) if tick.inputs else None
    return (
        element("span", moment_in(tick.due, zone), {"title": moment(tick.due)}),
        state(tick.outcome),
        None if tick.run_id is None else element("a", tick.run_id, {"href": f"/runs/{tick.run_id}"}),
        "–" if new is None else count(new),
        visible(tick.note or ""),
    )


def _inputs(inputs: Mapping[str, Any]) -> Markup:
    return table("Inputs as the last run found them", _INPUTS, [_input(name, told) for name, told in inputs.items()])


def _input(name: str, told: Mapping[str, Any]) -> Sequence[Child]:
    """Return an input with the names of new files below it, or with why it could not be listed."""
    if told.get("problem") is not None:
        return ([visible(name), element("span", visible(str(told["problem"])), {"class": "below quiet"})], "–", "–")
    examples: list[Child] = [[element("code", element("bdi", visible(path))), " "] for path in told["examples"]]
    rest = int(told["new"]) - len(examples)
    below = [*examples, f"and {count(rest)} more" if rest > 0 else None]
    return ([visible(name), element("span", below, {"class": "below quiet"})], count(told["files"]), count(told["new"]))
