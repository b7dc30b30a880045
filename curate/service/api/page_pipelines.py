"""The pages of pipelines: the list, the editor with the checker's mistakes in place, versions and what changed between them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.errors import PipelineError
from curate.recipes import recipe as recipe_text
from curate.recipes import recipes
from curate.service import pipelines, runs
from curate.service.api.callers import Operator, ServiceHere, Viewer
from curate.service.api.page_route import PageRoute
from curate.service.api.pipelines import Number, TextIn, listed
from curate.service.api.pipelines import save as save_pipeline
from curate.service.api.runs import RunIn, submit
from curate.service.auth import Caller
from curate.service.pages.render import page
from curate.service.service import Service
from curate.service.state import tables
from curate.service.views.compare import text_difference
from curate.service.views.words import words

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Words = Annotated[str, Query(max_length=500)]
Field = Annotated[str, Form()]
_VERSIONS, _RUNS = 100, 10
_EMPTY = "name: \ninputs:\n  crawl: { path: }\nstages:\n  clean:\n    from: crawl\n    operators:\n      - use: \n"


@router.get("/pipelines")
def list_pipelines(who: Viewer, service: ServiceHere, after: Words = "") -> HTMLResponse:
    """The pipelines by name, each with its last run."""
    found = listed(who, service, cursor=after or None)
    with service.database.reading() as session:
        told = [{"name": each.name, "version": each.version, "run": _last_run(session, each.name)} for each in found.items]
    return page("pipelines.html", {**_context(who), "pipelines": told, "next": found.next, "recipes": recipes()})


def _last_run(session: Session, name: str) -> tables.Run | None:
    return next(iter(runs.page(session, 1, pipeline=name)), None)


@router.get("/new")
def new_pipeline(who: Operator, service: ServiceHere, recipe: Words = "") -> HTMLResponse:
    """The editor with an empty page, or with a recipe."""
    text = recipe_text(recipe) if recipe else _EMPTY
    return page("pipeline.html", _context(who) | _editor(text, str(service.settings.folder), []) | _unsaved())


@router.post("/pipelines")
def save(who: Operator, service: ServiceHere, text: Field, folder: Field = "") -> Response:
    """Keep what the editor holds; a wrong text comes back with its mistakes."""
    plain = text.replace("\r\n", "\n")  # which is how browsers send line feeds
    try:
        kept = save_pipeline(TextIn(text=plain, folder=folder.strip() or None), who, service)
    except PipelineError as error:
        found = pipelines.mistakes(error)
        return page("pipeline.html", _context(who) | _editor(plain, folder, found) | _unsaved(), 422)
    return RedirectResponse(f"/pipelines/{kept.pipeline}?version={kept.number}&saved=yes", 303)


@router.get("/pipelines/{name}")
def show_pipeline(
    name: str, who: Viewer, service: ServiceHere, version: Annotated[Number | None, Query()] = None, saved: Words = ""
) -> HTMLResponse:
    """The editor with one version of a pipeline, the newest unless one is named."""
    with service.database.reading() as session:
        shown = pipelines.version_of(session, name, version)
        context = _context(who) | _editor(shown.text, shown.folder, []) | _saved(session, shown, service)
    return page("pipeline.html", context | {"saved": saved == "yes"})


@router.get("/pipelines/{name}/difference")
def show_difference(name: str, who: Viewer, service: ServiceHere, older: Number, newer: Number) -> HTMLResponse:
    """What changed from one version to another."""
    with service.database.reading() as session:
        texts = [pipelines.version_of(session, name, number).text for number in (older, newer)]
    lines = text_difference(texts[0], texts[1], (f"version {older}", f"version {newer}"))
    return page("difference.html", {**_context(who), "name": name, "older": older, "newer": newer, "lines": lines})


@router.post("/pipelines/{name}/run")
def run(
    name: str,
    who: Operator,
    service: ServiceHere,
    version: Annotated[Number, Form()],
    workspace: Field = "",
    sets: Field = "",
    limit: Field = "",
    retries: Annotated[int, Form(ge=0, le=100)] = 0,
) -> RedirectResponse:
    """Queue a run of a version, and go to its page."""
    chosen = [line.strip() for line in sets.splitlines() if line.strip()]
    asked = {"version": version, "workspace": workspace.strip() or None, "sets": chosen, "limit": _whole(limit), "retries": retries}
    order = RunIn.model_validate({"pipeline": name, **asked})
    return RedirectResponse(f"/runs/{submit(order, who, service).id}", 303)


@router.get("/words.json")
def offered(who: Viewer) -> dict[str, Any]:
    """What the editor offers while somebody writes."""
    return words()


def _whole(text: str) -> int | None:
    if text.strip() and (not text.strip().isdecimal() or not 0 < int(text) < 2**63):
        raise PipelineError(f"not a number of documents: {text[:40]!r}", "a whole number from 1 on, or nothing for all")
    return int(text) if text.strip() else None


def _context(who: Caller) -> dict[str, Any]:
    return {"who": who, "place": "Pipelines"}


def _editor(text: str, folder: str, found: list[pipelines.Mistake]) -> dict[str, Any]:
    lines = range(1, text.count("\n") + 2)
    return {"text": text, "folder": folder, "lines": lines, "mistakes": found, "wrong": {mistake.line for mistake in found}}


def _unsaved() -> dict[str, Any]:
    return {"name": "", "number": None, "saved": False}


def _saved(session: Session, shown: tables.PipelineVersion, service: Service) -> dict[str, Any]:
    """Return what the page says of a version beside its text."""
    query = select(tables.PipelineVersion.number, tables.PipelineVersion.created_at, tables.PipelineVersion.created_by)
    query = query.filter_by(pipeline_id=shown.pipeline_id).order_by(tables.PipelineVersion.number.desc()).limit(_VERSIONS)
    versions = session.execute(query).all()
    last = runs.page(session, _RUNS, pipeline=shown.pipeline.name)
    told = [{"id": each.id, "version": each.version.number, "status": each.status, "created_at": each.created_at} for each in last]
    same = {name: getattr(shown, name) for name in ("number", "created_at", "created_by")}
    return {
        **same,
        "name": shown.pipeline.name,
        "newest": versions[0].number,
        "versions": versions,
        "runs": told,
        "workspace": service.settings.workspace,
    }
