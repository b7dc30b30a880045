"""`/login` and `/logout`: a browser shows a token once, and has a cookie from then on. `sign_in` is the other way to one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from curate.service import auth
from curate.service.api.callers import COOKIE, ServiceHere, Viewer, check_origin
from curate.service.api.page_route import PageRoute, login_page
from curate.service.api.problems import PROBLEM
from curate.service.service import Service

router = APIRouter(tags=["callers"], responses=PROBLEM, include_in_schema=False, route_class=PageRoute)
Following = Annotated[str, Query(alias="next", max_length=2000)]


@router.get("/login")
def ask(request: Request, following: Following = "/") -> HTMLResponse:
    """The page that asks for a token, or leads to the provider."""
    return login_page(request, local_path(following))


@router.post("/login")
def login(
    request: Request, service: ServiceHere, token: Annotated[str, Form()], following: Annotated[str, Form(alias="next")] = "/"
) -> RedirectResponse:
    """Begin a session, and go on to a page of this service."""
    check_origin(request)
    with service.database.writing() as session:
        cookie = auth.open_session(session, token.strip(), service.settings.session_hours)
    return logged_in(service, cookie, following)


@router.post("/logout")
def logout(request: Request, caller: Viewer, service: ServiceHere) -> RedirectResponse:
    """End the session."""
    with service.database.writing() as session:
        auth.close_session(session, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def logged_in(service: Service, cookie: str, following: str) -> RedirectResponse:
    """Return the answer that gives a browser its session, and leads it to a page of this service."""
    answer = RedirectResponse(local_path(following), 303)
    seconds = int(service.settings.session_hours * 3600)
    answer.set_cookie(COOKIE, cookie, seconds, secure=service.settings.secure, httponly=True, samesite="lax")
    return answer


def local_path(path: str) -> str:
    """Return the path if it is one of this service, else that of its first page."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/"
