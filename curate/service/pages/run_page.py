"""What the page of a run says: the part that changes while it goes on, and the facts beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from curate.report import notes, overview
from curate.report.funnel import ran
from curate.report.markup import Child, Markup, code, element
from curate.report.units import count, duration, plural
from curate.service.pages.badges import state
from curate.service.pages.hostile import visible
from curate.service.pages.render import moment
from curate.service.pages.run_graph import run_graph
from curate.service.pages.run_stages import stage_table
from curate.service.runs import ENDED
from curate.service.state import tables
from curate.service.state.types import now
from curate.service.views.runs import Run

_HEADLINES: Final = {
    "queued": "{} waits for its turn",
    "starting": "{} is about to begin",
    "running": "{} is running",
    "cancelled": "{} was cancelled",
    "lost": "{} was lost",
}
_REPORTED: Final = {"succeeded": "done"}


def live_part(run: Run, row: tables.Run, base: str, printed: str) -> dict[str, Any]:
    """Return what the template `live.html` shows of a run; `base` is the address of its page, `printed` what its process said."""
    report = run.report
    return {
        "name": row.id,
        "attempt": row.attempt,
        "ended": row.status in ENDED,
        "headline": headline(run, row),
        "standfirst": _standfirst(run, row),
        "facts": [("Status", state(row.status)), *_facts(run, row)],
        "warnings": notes.warnings(report),
        "graph": run_graph(run, base),
        "stages": stage_table(run, base),
        "waiting_for": _waiting_for(row),
        "funnel": overview.funnel(report) if any(ran(stage) for stage in report.get("stages") or ()) else None,
        "outputs": overview.outputs(report),
        "checks": overview.checks(report),
        "log": list(run.progress.log),
        "error": row.error or report.get("error"),
        "printed": printed,
    }


def headline(run: Run, row: tables.Run) -> str:
    """Return how a run stands as a headline."""
    if row.status in _HEADLINES:
        return _HEADLINES[row.status].format(row.pipeline)
    return overview.headline({**run.report, "pipeline": row.pipeline, "status": _REPORTED.get(row.status, row.status)})


def _standfirst(run: Run, row: tables.Run) -> str:
    """Return how far a run is, in a sentence of numbers."""
    stages = run.report.get("stages") or ()
    if row.status in ENDED and run.ended:
        return overview.standfirst(run.report)
    if not stages:
        return ""
    done = sum(stage.get("status") in ("done", "reused") for stage in stages)
    going = [str(stage["name"]) for stage in stages if stage.get("status") == "running"]
    parts = [f"{count(done)} of {plural(len(stages), 'stage')} complete", *(f"{name} is running" for name in going)]
    return " · ".join(parts)


def _facts(run: Run, row: tables.Run) -> list[tuple[str, Child]]:
    known: list[tuple[str, Child]] = [("Started", moment(row.started_at)), ("Duration", _spent(row))]
    known.append(("Asked for by", _asked_by(row)))
    if run.report.get("executor"):
        known.append(("Executor", str(run.report["executor"])))
    if row.sets:
        known.append(("Set", code(", ".join(row.sets))))
    return [*known, ("Workspace", code(row.workspace))]


def _asked_by(row: tables.Run) -> Markup:
    """Return who asked for a run; a schedule as a link to its page."""
    if row.schedule_id is None:
        return visible(row.created_by)
    return element("a", visible(row.created_by), {"href": f"/schedules/{row.created_by.removeprefix('schedule ')}"})


def _spent(row: tables.Run) -> str:
    return "–" if row.started_at is None else duration(round(((row.ended_at or now()) - row.started_at).total_seconds(), 1))


def _waiting_for(row: tables.Run) -> str:
    if row.status == "queued" and row.not_before is not None and row.not_before > now():
        return f"It is tried again {_at(row.not_before)}."
    return "It begins when the runs before it are done." if row.status == "queued" else "It is reading its inputs and making its plan."


def _at(when: datetime) -> str:
    return f"on {moment(when)}"
