"""`/login` and `/logout`: a browser shows a token once, and has a cookie from then on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from curate.service import auth
from curate.service.api.callers import COOKIE, ServiceHere, Viewer, check_origin
from curate.service.api.page_route import PageRoute
from curate.service.api.problems import PROBLEM
from curate.service.pages.render import page

router = APIRouter(tags=["callers"], responses=PROBLEM, include_in_schema=False, route_class=PageRoute)


@router.get("/login")
def ask(following: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> HTMLResponse:
    """The page that asks for a token."""
    return page("login.html", {"who": None, "place": "", "next": local_path(following), "error": None})


@router.post("/login")
def login(
    request: Request, service: ServiceHere, token: Annotated[str, Form()], following: Annotated[str, Form(alias="next")] = "/"
) -> RedirectResponse:
    """Begin a session, and go on to a page of this service."""
    check_origin(request)
    with service.database.writing() as session:
        cookie, _ = auth.open_session(session, token.strip(), service.settings.session_hours)
    answer = RedirectResponse(local_path(following), 303)
    answer.set_cookie(
        COOKIE, cookie, int(service.settings.session_hours * 3600), secure=service.settings.secure, httponly=True, samesite="lax"
    )
    return answer


@router.post("/logout")
def logout(request: Request, caller: Viewer, service: ServiceHere) -> RedirectResponse:
    """End the session."""
    with service.database.writing() as session:
        auth.close_session(session, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def local_path(path: str) -> str:
    """Return the path if it is one of this service, else that of its first page."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/"
