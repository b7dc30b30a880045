"""Schedules and their ticks as people read them: times stand in the zone that a schedule goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from curate.report.units import clip, duration, plural, printable
from curate.service.schedules.spans import span

REASON_CHARS, NOTE_CHARS = 40, 80
POLICIES = ("overlap", "misfire", "grace_s", "retries", "backoff_s", "deadline_s", "jitter_s", "pause_after")

Found = Mapping[str, Any]


def headline(schedule: Found) -> str:
    """Return one line: when it runs, and when next."""
    return f"{schedule['name']} runs {schedule['pipeline']}: {_when(schedule['trigger'])}" + (
        f", next {_next(schedule)}" if schedule["next_due"] else ""
    )


def rows(schedules: Iterable[Found]) -> list[list[str]]:
    """Return a table of schedules, its head first."""
    table = [["schedule", "pipeline", "when", "next", "last"]]
    for schedule in schedules:
        last = schedule["last"]
        ended = f"{last['outcome']} {_time(last['due'], schedule['trigger'])}" if last else ""
        table.append([schedule["name"], printable(schedule["pipeline"]), _when(schedule["trigger"]), _next(schedule), ended])
    return table


def facts(schedule: Found) -> list[list[str]]:
    """Return a table of what one schedule says, and how it stands."""
    trigger, last = schedule["trigger"], schedule["last"]
    version = f"version {schedule['version']}" if schedule["version"] else "the newest version"
    told = {
        "schedule": schedule["name"],
        "pipeline": f"{printable(schedule['pipeline'])}, {version}",
        "when": _when(trigger),
        "paused": printable(schedule["paused"] or ""),
        "next": f"{_next(schedule)}{_delayed(schedule)}" if schedule["next_due"] else "",
        "then": ", ".join(_time(moment, trigger) for moment in schedule["upcoming"]),
        "problem": printable(schedule["problem"] or ""),
        "last": " ".join(cell for cell in _tick(last, trigger) if cell) if last else "",
        "failures": f"{schedule['failures']} in a row" if schedule["failures"] else "",
        **_policies(schedule["policies"]),
        "set": printable(" ".join(schedule["sets"])),
        **{name: str(schedule[name] or "") for name in ("until", "workers", "workspace")},
        "added": f"{_time(schedule['created_at'], {})} by {printable(schedule['created_by'])}",
    }
    return [[name, value] for name, value in told.items() if value]


def ticks(found: Iterable[Found], trigger: Found) -> list[list[str]]:
    """Return a table of ticks, its head first."""
    return [["due", "outcome", "run", ""], *(_tick(tick, trigger) for tick in found)]


def _tick(tick: Found, trigger: Found) -> list[str]:
    notes = [tick["note"] or "", *(_input(name, found) for name, found in (tick["inputs"] or {}).items())]
    note = clip(printable("; ".join(filter(None, notes))), NOTE_CHARS)
    return [_time(tick["due"], trigger), tick["outcome"], tick["run_id"] or "", note]


def _input(name: str, found: Found) -> str:
    return f"{name}: " + (found["problem"] if "problem" in found else f"{found['new']:,} new of {plural(found['files'], 'file')}")


def _when(trigger: Found) -> str:
    """Return a trigger in words."""
    if trigger["kind"] == "cron":
        return f"{trigger['expression']} {trigger['zone']}"
    if trigger["kind"] == "at":
        return f"once, {_time(trigger['at'], trigger)}"
    if trigger["kind"] == "files":
        return f"new files of {printable(trigger['input'])}, every {span(trigger['every_s'])}"
    return f"after {printable(trigger['pipeline'])}"


def _next(schedule: Found) -> str:
    if schedule["paused"] is not None:
        return clip(printable(f"paused: {schedule['paused']}"), REASON_CHARS)
    return _time(schedule["next_due"], schedule["trigger"]) if schedule["next_due"] else ""


def _delayed(schedule: Found) -> str:
    delay = datetime.fromisoformat(schedule["next_fires"]) - datetime.fromisoformat(schedule["next_due"])
    return f", {duration(delay.total_seconds())} later by its jitter" if delay else ""


def _policies(policies: Found) -> dict[str, str]:
    retries, deadline_s, pause_after = policies["retries"], policies["deadline_s"], policies["pause_after"]
    return {
        "overlap": policies["overlap"],
        "misfire": f"{policies['misfire']}, when more than {span(policies['grace_s'])} late",
        "retries": f"{retries}, the first after {span(policies['backoff_s'])}" if retries else "",
        "deadline": span(deadline_s) if deadline_s else "",
        "jitter": f"up to {span(policies['jitter_s'])}" if policies["jitter_s"] else "",
        "pauses": f"after {plural(pause_after, 'tick')} in a row that failed" if pause_after else "",
    }


def _time(text: str, trigger: Found) -> str:
    """Return a moment as the clocks of a cron trigger's zone show it, else in UTC; seconds where there are any."""
    moment = datetime.fromisoformat(text).astimezone(_zone(trigger))
    seconds = f":{moment:%S}" if moment.second else ""
    return f"{moment:%Y-%m-%d %H:%M}{seconds} {moment:%Z}"


def _zone(trigger: Found) -> tzinfo:
    try:
        return ZoneInfo(trigger["zone"])
    except KeyError:  # a trigger that goes by no clocks, or a machine that does not know the zone
        return UTC
