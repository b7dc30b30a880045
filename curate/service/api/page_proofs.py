"""The pages of proofs: the effect of each recipe over time, and one judgement."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from curate import proofs as ledger
from curate.errors import CurateError
from curate.service.api.callers import ServiceHere, Viewer
from curate.service.api.page_route import PageRoute
from curate.service.pages.proofs_page import history_part, proof_part
from curate.service.pages.render import page
from curate.service.service import Service
from curate.service.state import tables
from curate.service.views.proofs import histories
from curate.storage import open_storage

router = APIRouter(prefix="/proofs", include_in_schema=False, route_class=PageRoute)
Words = Annotated[str, Query(max_length=2000)]
_MOST_WORKSPACES = 50


@router.get("")
def list_proofs(who: Viewer, service: ServiceHere, pipeline: Words = "") -> HTMLResponse:
    """The histories of all workspaces that runs of this service used."""
    found: list[dict[str, Any]] = []
    problems: list[CurateError] = []
    for workspace in _workspaces(service):
        try:
            found += [history_part(history, workspace) for history in histories(open_storage(workspace), pipeline)]
        except CurateError as error:  # a damaged proof hides those of its workspace, and no others
            problems.append(error)
    return page("proofs.html", {"who": who, "place": "Proofs", "histories": found, "problems": problems})


@router.get("/{name}")
def show_proof(name: str, who: Viewer, service: ServiceHere, workspace: Words) -> HTMLResponse:
    """One judgement."""
    service.checker.places.check(workspace, service.settings.folder)
    proof = ledger.find(open_storage(workspace), name)
    with service.database.reading() as session:
        run = session.get(tables.Run, str(proof["run"]).partition(".")[0])  # what follows a dot counts its attempts
    return page("proof.html", {"who": who, "place": "Proofs"} | proof_part(proof, f"/runs/{run.id}" if run else None))


def _workspaces(service: Service) -> list[str]:
    """Return the workspaces that runs used, that of the settings first."""
    with service.database.reading() as session:
        used = session.scalars(select(tables.Run.workspace).distinct().limit(_MOST_WORKSPACES))
        return list(dict.fromkeys([service.settings.workspace, *used]))
