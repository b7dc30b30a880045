"""Routes of pages: what they raise becomes a page for people, and whoever is not logged in is led to do so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from curate.errors import CurateError, PipelineError
from curate.service.api.callers import SAFE, service
from curate.service.api.problems import status_of
from curate.service.auth import Unauthorized
from curate.service.pages.render import page

LOGIN = "/login"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route that answers errors with pages."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthorized as error:
                return _unauthorized(request, error)
            except RequestValidationError as error:
                return problem_page(PipelineError(_told(error)), 422)
            except CurateError as error:
                return problem_page(error, status_of(error))

        return handled


def problem_page(error: CurateError, status: int) -> Response:
    """Return the page of an error."""
    return page("problem.html", {"who": None, "place": "", "title": HTTPStatus(status).phrase, "error": error}, status)


def login_page(request: Request, following: str = "/", error: CurateError | None = None, status: int = 200) -> HTMLResponse:
    """Return the page that asks who comes, and why it has to ask again; afterwards they see `following`."""
    oidc = service(request).settings.oidc
    provider = oidc.name if oidc is not None else None
    return page("login.html", {"who": None, "place": "", "next": following, "error": error, "provider": provider}, status)


def _unauthorized(request: Request, error: Unauthorized) -> Response:
    """Lead to the login, and from there to where the caller wanted to go; a login that failed says why."""
    if request.url.path == LOGIN or request.url.path.startswith(f"{LOGIN}/"):
        return login_page(request, error=error, status=401)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "") if request.method in SAFE else "/"
    return RedirectResponse(f"{LOGIN}?{urlencode({'next': wanted})}", 303)


def _told(error: RequestValidationError) -> str:
    return "\n".join(f"`{'.'.join(str(part) for part in entry['loc'][1:])}`: {entry['msg']}" for entry in error.errors())
