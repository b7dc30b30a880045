"""The pages of a run's datasets: one stage, its documents, its drops, its quarantined rows, and the story of a document."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from curate.report.markup import join
from curate.service.api.page_route import PageRoute
from curate.service.api.viewing import Seen, Viewing
from curate.service.pages.ledger_page import choices, chosen, drop_rows, error_rows
from curate.service.pages.markdown import ticked
from curate.service.pages.render import page
from curate.service.pages.rows_page import document
from curate.service.pages.stage_page import limit_in_words, stage_part
from curate.service.pages.story_page import story_part
from curate.service.views import rows
from curate.service.views.runs import finished, open_stage
from curate.service.views.story import tell

router = APIRouter(prefix="/runs/{run_id}", include_in_schema=False, route_class=PageRoute)
Words = Annotated[str, Query(max_length=500)]


@router.get("/stages/{stage}")
def show_stage(seen: Seen, stage: str) -> HTMLResponse:
    """The page of a dataset."""
    told = seen.run.stage(stage)
    planned = seen.run.stages[stage]
    dataset = open_stage(seen.storage, planned)
    part = stage_part(told, planned["columns"], seen.limits, _address(seen, stage))
    more = {"kind": told["kind"], "error": told.get("error"), "has_rows": dataset is not None and dataset.rows > 0}
    return page("stage.html", _context(seen, stage) | part | more)


@router.get("/stages/{stage}/documents")
def show_documents(seen: Seen, stage: str, q: Words = "", after: Words = "") -> HTMLResponse:
    """A page of a dataset's rows, all or those with some words."""
    dataset = seen.dataset(stage)
    found = rows.documents(dataset, q, rows.place(after))
    more = f"{_address(seen, stage)}/documents" + (f"?{urlencode({'q': q})}" if q else "")
    shown = [document(row, q, seen.address) for row in found.rows]
    about = {"query": q, "rows": shown, "total": dataset.rows, "kind": dataset.manifest.kind}
    return page("documents.html", _context(seen, stage) | about | _following(more, found))


@router.get("/stages/{stage}/drops")
def show_drops(seen: Seen, stage: str, step: Words = "", reason: Words = "", of: Words = "", after: Words = "") -> HTMLResponse:
    """A page of dropped documents, all or those of one step and reason."""
    step, reason = chosen(of) if of else (step, reason)
    dataset, limits = seen.dataset(stage), seen.limits
    found = rows.drops(dataset, step, reason, rows.place(after))
    limit = limits.of(stage, step, reason) if reason else None
    counts = dataset.manifest.counts
    about = {
        "what": "drops",
        "title": f"Dropped in {stage}" + (f" by {step}" if step else "") + (f": {reason}" if reason else ""),
        "reasons": choices(counts, step, reason),
        "total": counts.rows_dropped,
        "limit": join(limit_in_words(limit)),
        "rule": ticked(limit.rule) if limit and limit.rule else None,
        "rows": drop_rows(stage, found.rows, limits, seen.address),
    }
    more = f"{_address(seen, stage)}/drops?{urlencode({'step': step, 'reason': reason})}"
    return page("ledger.html", _context(seen, stage) | about | _following(more, found))


@router.get("/stages/{stage}/errors")
def show_errors(seen: Seen, stage: str, after: Words = "") -> HTMLResponse:
    """A page of quarantined rows."""
    found = rows.errors(seen.dataset(stage), rows.place(after))
    about = {"what": "quarantined rows", "title": f"Quarantined in {stage}", "rows": error_rows(stage, found.rows, seen.address)}
    return page("ledger.html", _context(seen, stage) | about | _following(f"{_address(seen, stage)}/errors", found))


@router.get("/documents")
def show_story(seen: Seen, id: Annotated[str, Query(max_length=4000)]) -> HTMLResponse:
    """The story of one document."""
    story = tell(finished(seen.run, seen.storage), id.strip(), seen.limits)
    return page("story.html", seen.context() | story_part(story, seen.address), 200 if story.chapters else 404)


def _address(seen: Viewing, stage: str) -> str:
    return f"{seen.address}/stages/{stage}"


def _context(seen: Viewing, stage: str) -> dict[str, Any]:
    return seen.context() | {"stage": stage, "address": _address(seen, stage)}


def _following(more: str, found: rows.Page) -> dict[str, Any]:
    return {"more": more, "next": found.next, "stopped": found.stopped}
