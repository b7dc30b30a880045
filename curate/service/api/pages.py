"""The pages of runs: the list, one run and the part of it that changes, two runs side by side; and what can be done with a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.errors import DatasetError, PipelineError
from curate.report.units import count, duration
from curate.service import audit, pipelines, runs
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.page_route import PageRoute
from curate.service.api.viewing import Seen, Viewing, view
from curate.service.pages.compare_page import drop_tables, stage_rows
from curate.service.pages.render import HEADERS, page
from curate.service.pages.run_page import headline, live_part
from curate.service.remake import forget
from curate.service.state import tables
from curate.service.views.compare import pipeline_text, stage_pairs, text_difference
from curate.storage import join

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Words = Annotated[str, Query(max_length=500)]
_ON_A_PAGE = 50
_PRINTED_BYTES = 16 << 10


@router.get("/")
def first() -> RedirectResponse:
    """The first page is that of the runs."""
    return RedirectResponse("/runs", 303)


@router.get("/runs")
def list_runs(who: Viewer, service: ServiceHere, pipeline: Words = "", status: Words = "", after: Words = "") -> HTMLResponse:
    """The runs, newest first."""
    wanted = [status] if status in runs.STATUSES else []
    with service.database.reading() as session:
        found = runs.page(session, _ON_A_PAGE + 1, after or None, wanted, pipeline or None)
        names = pipelines.names(session)
    shown = found[:_ON_A_PAGE]
    chosen = {"pipeline": pipeline, "status": status}
    context = {
        "who": who,
        "place": "Runs",
        "runs": [_listed(row) for row in shown],
        "active": any(row.status not in runs.ENDED for row in shown),
        "pipelines": names,
        "statuses": runs.STATUSES,
        "chosen": chosen,
        "more": f"/runs?{urlencode({key: value for key, value in chosen.items() if value})}",
        "next": shown[-1].id if len(found) > _ON_A_PAGE else None,
    }
    return page("runs.html", context)


def _listed(row: tables.Run) -> dict[str, Any]:
    spent = "–" if not (row.started_at and row.ended_at) else duration(round((row.ended_at - row.started_at).total_seconds(), 1))
    same = {name: getattr(row, name) for name in ("id", "pipeline", "status", "started_at", "created_by")}
    return {**same, "kept": _kept(row.summary), "spent": spent}


def _kept(summary: Mapping[str, Any] | None) -> str:
    """Return how many documents came in at the first stage and went out at the last one."""
    stages = [stage for stage in (summary or {}).get("stages", {}).values() if stage["rows_in"]]
    return f"{count(stages[-1]['rows_out'])} of {count(stages[0]['rows_in'])}" if stages else "–"


@router.get("/runs/{run_id}")
def show_run(seen: Seen, service: ServiceHere) -> HTMLResponse:
    """The page of a run."""
    row = seen.row
    with service.database.reading() as session:
        before = runs.page(session, 1, row.id, pipeline=row.pipeline)
    more = {
        "address": seen.address,
        "stage_names": list(seen.run.stages),
        "has_report": seen.run.ended,
        "pipeline_page": f"/pipelines/{row.pipeline}?version={row.version.number}",
        "pipeline": row.pipeline,
        "previous": before[0].id if before else None,
    }
    return page("run.html", seen.context() | _live(seen, service) | more)


@router.get("/runs/{run_id}/live")
def show_live(seen: Seen, service: ServiceHere) -> Response:
    """The part of a run's page that changes, and whether it will change again."""
    answer = page("live.html", _live(seen, service))
    answer.headers["X-Run-Ended"] = "yes" if seen.row.status in runs.ENDED else "no"
    return answer


def _live(seen: Viewing, service: ServiceHere) -> dict[str, Any]:
    printed = service.launcher.log(seen.row.attempt_id, _PRINTED_BYTES)
    return live_part(seen.run, seen.row, seen.address, printed)


@router.get("/runs/{run_id}/report")
def show_report(seen: Seen) -> Response:
    """The report of a run, as it lies in its workspace: it brings a policy of its own, and needs no script."""
    path = join("runs", seen.run.run_id, "report.html")
    if seen.storage.info(path) is None:
        raise DatasetError(f"run {seen.row.id} has no report", "a run writes it at its end; one that was killed writes none")
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    return HTMLResponse(seen.storage.read(path), headers=HEADERS | {"Content-Security-Policy": policy})


@router.post("/runs/{run_id}/cancel")
def cancel_run(run_id: str, who: Operator, service: ServiceHere) -> RedirectResponse:
    """End a run."""
    with service.database.writing() as session:
        runs.cancel(session, runs.found_locked(session, run_id), who)
    service.watch.soon()
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/again")
def run_again(run_id: str, who: Operator, service: ServiceHere, stage: Annotated[str, Form()] = "") -> RedirectResponse:
    """Queue the same once more; what a stage and those after it have made is removed first, where one is named."""
    with service.database.writing() as session:
        row = runs.find(session, run_id)
        if stage:
            _check_free(session, row)
            forget(view(row, who).storage, row.attempt_id, stage)
            audit.note(session, who, "run.remake", row.id, stage=stage)
        new = runs.submit(session, row.version, runs.order_of(row), who).id
    service.watch.soon()
    return RedirectResponse(f"/runs/{new}", 303)


def _check_free(session: Session, row: tables.Run) -> None:
    """Raise `PipelineError` while another run works in the workspace: it may be reading what would be removed."""
    query = select(tables.Run.id).where(tables.Run.status.in_(runs.ACTIVE), tables.Run.workspace == row.workspace).limit(1)
    other = session.scalar(query)
    if other is not None:
        raise PipelineError(f"run {other} is at work in the same workspace", "wait until it has ended, or cancel it")


@router.get("/compare")
def compare_runs(
    who: Viewer, service: ServiceHere, a: Words = "", b: Words = "", run: Annotated[Sequence[str], Query(max_length=50)] = ()
) -> HTMLResponse:
    """Two runs side by side: `a` before, `b` after, or two of `run`, of which the older is before."""
    chosen = [a, b] if a and b else sorted(run)
    if len(chosen) != 2:
        raise PipelineError(f"{len(chosen)} runs are chosen, not two", "go back, and choose two runs in the list")
    with service.database.reading() as session:
        rows = [runs.find(session, name) for name in chosen]
    sides = [view(row, who) for row in rows]
    pairs = stage_pairs(sides[0].run.report, sides[1].run.report)
    texts = [pipeline_text(side.storage, side.run.run_id) for side in sides]
    context = {
        "who": who,
        "place": "Runs",
        "headline": f"Two runs: {' and '.join(dict.fromkeys(row.pipeline for row in rows))}",
        "before": _side(sides[0]),
        "after": _side(sides[1]),
        "stages": stage_rows(pairs),
        "drops": drop_tables(pairs),
        "difference": text_difference(texts[0], texts[1], (chosen[0], chosen[1])),
    }
    return page("compare.html", context)


def _side(seen: Viewing) -> dict[str, Any]:
    return {"name": seen.row.id, "status": seen.row.status, "told": headline(seen.run, seen.row)}
