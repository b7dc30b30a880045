"""The page of tokens, for admins: who may call, and what was changed by whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse

from curate.errors import PipelineError
from curate.service.api.callers import Admin, ServiceHere
from curate.service.api.page_route import PageRoute
from curate.service.api.pipelines import Number
from curate.service.api.tokens import TokenIn, create, listed, trail
from curate.service.api.tokens import revoke as revoke_token
from curate.service.auth import ROLES, Caller, Role
from curate.service.pages.render import page
from curate.service.service import Service

router = APIRouter(prefix="/tokens", include_in_schema=False, route_class=PageRoute)
_SHOWN = 200


@router.get("")
def show(who: Admin, service: ServiceHere) -> HTMLResponse:
    """The tokens, and the audit trail."""
    return page("tokens.html", _context(who, service) | {"made": None})


@router.post("")
def make(
    who: Admin, service: ServiceHere, name: Annotated[str, Form()], role: Annotated[Role, Form()], days: Annotated[str, Form()] = ""
) -> HTMLResponse:
    """Give out a token, and show it this once."""
    if not name.strip():
        raise PipelineError("a token needs a name", "say whom it is for")
    made = create(TokenIn(name=name.strip()[:200], role=role, expires_at=_expiry(days)), who, service)
    return page("tokens.html", _context(who, service) | {"made": made}, 201)


@router.post("/{token_id}/revoke")
def revoke(token_id: Number, who: Admin, service: ServiceHere) -> RedirectResponse:
    """Take a token back."""
    revoke_token(token_id, who, service)
    return RedirectResponse("/tokens", 303)


def _context(who: Caller, service: Service) -> dict[str, Any]:
    tokens, entries = listed(who, service, limit=_SHOWN), trail(who, service, limit=_SHOWN)
    return {"who": who, "place": "Tokens", "tokens": tokens.items, "entries": entries.items, "roles": ROLES, "now": datetime.now(UTC)}


def _expiry(days: str) -> datetime | None:
    if not days.strip():
        return None
    if not days.strip().isdecimal() or not 0 < int(days) <= 3650:
        raise PipelineError(f"not a number of days: {days[:20]!r}", "1 to 3650, or nothing for a token without an end")
    return datetime.now(UTC) + timedelta(days=int(days))
