"""Finds out who calls, for every route: by a bearer token, or by the cookie of a browser's session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from curate.service.auth import ANYBODY, Caller, Forbidden, Role, Unauthorized, caller_of_session, caller_of_token, check_csrf
from curate.service.service import Service
from curate.service.settings import is_loopback

COOKIE = "curate_session"
CSRF_HEADER = "X-CSRF-Token"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
SAFE = ("GET", "HEAD", "OPTIONS")


def service(request: Request) -> Service:
    """Return the service that a request is for."""
    found: Service = request.app.state.service
    return found


ServiceHere = Annotated[Service, Depends(service)]


def identified(request: Request, service: ServiceHere) -> Caller:
    """Return the caller; raise `Unauthorized` for nobody, `Forbidden` for a browser that was led here by another site."""
    address = request.client.host if request.client else None
    if service.settings.auth == "none":
        _check_host(request)
        check_origin(request)
        return replace(ANYBODY, address=address)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    cookie = request.cookies.get(COOKIE)
    with service.database.reading() as session:
        if scheme.lower() == "bearer":
            caller = caller_of_token(session, token.strip())
            service.uses.note(caller)
            return replace(caller, address=address)
        if cookie is None:
            raise Unauthorized("this needs a token", "log in, or send `Authorization: Bearer TOKEN`; `curate` takes it from CURATE_TOKEN")
        caller = replace(caller_of_session(session, cookie, service.settings.oidc is not None), address=address)
    check_origin(request)
    service.uses.note(caller)
    return caller


def need(role: Role) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that lets only callers of a role pass."""

    async def checked(request: Request, caller: Annotated[Caller, Depends(identified)]) -> Caller:
        if caller.csrf is not None and request.method not in SAFE:
            check_csrf(caller, await _csrf_word(request))
        request.state.caller = caller.name
        caller.need(role)
        return caller

    return checked


Viewer = Annotated[Caller, Depends(need("viewer"))]
Operator = Annotated[Caller, Depends(need("operator"))]
Admin = Annotated[Caller, Depends(need("admin"))]


def check_origin(request: Request) -> None:
    """Raise `Forbidden` for a request that a page of another site made the browser send."""
    origin = request.headers.get("Origin")
    ours = (request.headers.get("Host"), urlsplit(service(request).settings.url).netloc)
    if origin is not None and request.method not in SAFE and urlsplit(origin).netloc not in ours:
        raise Forbidden(f"the request comes from a page of {origin}", "send it from a page of this service")


def _check_host(request: Request) -> None:
    """Refuse names that another site's owner could have pointed at this machine."""
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    if not is_loopback(host):
        raise Forbidden(f"a service without tokens is called at a loopback address, not at `{host}`")


async def _csrf_word(request: Request) -> str | None:
    """Return the word that scripts send in a header, and forms in a field."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if CSRF_HEADER in request.headers or kind not in FORMS:
        return request.headers.get(CSRF_HEADER)
    return str((await request.form()).get("csrf", ""))
