"""`/login/oidc`: to the OpenID Connect provider of the settings, and back from it with a session."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from curate.service import people
from curate.service.api.callers import ServiceHere
from curate.service.api.page_route import PageRoute
from curate.service.api.sessions import Following, local_path, logged_in
from curate.service.auth import Forbidden, Unauthorized
from curate.service.oidc import Errand, Provider
from curate.service.pipelines import NotFound
from curate.service.service import Service

PATH = "/login/oidc"
COOKIE = "curate_errand"
SECONDS = 600  # to say who one is
router = APIRouter(prefix=PATH, include_in_schema=False, route_class=PageRoute)
Said = Annotated[str, Query(max_length=4096)]


@router.get("")
def leave(service: ServiceHere, following: Following = "/") -> RedirectResponse:
    """Lead to the provider."""
    address, errand = _provider(service).leave(local_path(following))
    answer = RedirectResponse(address, 303)
    answer.set_cookie(COOKIE, errand.text, SECONDS, path=PATH, secure=service.settings.secure, httponly=True, samesite="lax")
    return answer


@router.get("/done")
def arrive(request: Request, service: ServiceHere, state: Said = "", code: Said = "", error: Said = "") -> RedirectResponse:
    """Begin the session of somebody whom the provider sends back, and go on to the page that they wanted."""
    provider, errand = _provider(service), Errand.read(request.cookies.get(COOKIE, ""))
    if errand is None or not hmac.compare_digest(errand.state.encode(), state.encode()):
        raise Unauthorized("this sign-in did not begin in this browser, or too long ago", "begin it again")
    if error or not code:
        raise Unauthorized(f"the provider did not sign you in: {error or 'it sent no code'}", "begin again, or log in with a token")
    claims = provider.arrive(errand, code)
    cookie = _welcomed(service, claims, request.client.host if request.client else None)
    answer = logged_in(service, cookie, errand.next)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def _welcomed(service: Service, claims: Mapping[str, Any], address: str | None) -> str:
    """Return the cookie of a new session; raise `Forbidden` for somebody who has no role here."""
    settings = service.settings
    role = settings.oidc.role_of(claims) if settings.oidc is not None else None
    if role is None:
        with service.database.writing() as session:
            people.refuse(session, claims, address)
        raise Forbidden(f"{people.name_of(claims)} has no role in this service", "ask an admin: its settings give roles by claims")
    return service.database.change(lambda session: people.sign_in(session, claims, role, address, settings.session_hours))


def _provider(service: Service) -> Provider:
    if service.settings.oidc is None:
        raise NotFound("this service has no provider to sign in with", "log in with a token")
    return Provider(service.settings.oidc, f"{service.settings.url}{PATH}/done")
