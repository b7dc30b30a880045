"""`/api/v1/docs`: the OpenAPI document as a page for people."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from curate.service.api.callers import ServiceHere, Viewer
from curate.service.api.page_route import PageRoute
from curate.service.pages.api_page import api_part
from curate.service.pages.render import page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/api/v1/docs")
def show(request: Request, who: Viewer, service: ServiceHere) -> HTMLResponse:
    """Every route, and everything that goes in and comes out."""
    return page("api.html", {"who": who, "place": "API", "url": service.settings.url} | api_part(request.app.openapi()))
