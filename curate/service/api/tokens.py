"""`/api/v1/tokens`, `/api/v1/me` and `/api/v1/audit`: who may call, and what they changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from curate.service import audit, auth
from curate.service.api.callers import Admin, ServiceHere, Viewer
from curate.service.api.paging import Page, Size, newest
from curate.service.api.pipelines import Number
from curate.service.api.problems import PROBLEM
from curate.service.auth import Role
from curate.service.moments import Moment
from curate.service.pipelines import NotFound
from curate.service.state import tables

router = APIRouter(tags=["callers"], responses=PROBLEM)
After = Annotated[Number | None, Query(description="`next` of the page before.")]


class CallerOut(BaseModel):
    """Who the service takes the caller for."""

    name: str
    role: Role


class TokenIn(BaseModel):
    """Whom a token is for, and what it lets them do; without an end it lasts until it is revoked."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    role: Role
    expires_at: Moment | None = None


class TokenOut(BaseModel):
    """A token without its text."""

    id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewTokenOut(TokenOut):
    """A token with its text, which is never shown again."""

    token: str


class EntryOut(BaseModel):
    """One entry of the audit trail."""

    id: int
    time: datetime
    actor: str
    address: str | None
    action: str
    target: str
    details: dict[str, Any] | None


@router.get("/me")
def me(caller: Viewer) -> CallerOut:
    """Say who the caller is, and what they may do."""
    return CallerOut(name=caller.name, role=caller.role)


@router.get("/tokens")
def listed(caller: Admin, service: ServiceHere, limit: Size = 50, cursor: After = None) -> Page[TokenOut]:
    """List tokens, newest first."""
    with service.database.reading() as session:
        rows, following = newest(session, select(tables.Token), limit, cursor)
    return Page(items=[TokenOut(**_fields(token)) for token in rows], next=following)


@router.post("/tokens", status_code=201)
def create(body: TokenIn, caller: Admin, service: ServiceHere) -> NewTokenOut:
    """Give out a token."""
    with service.database.writing() as session:
        text, token = auth.make_token(session, body.name, body.role, body.expires_at, caller.name)
        audit.note(session, caller, "token.create", token.name, id=token.id, role=token.role)
        return NewTokenOut(token=text, **_fields(token))


@router.delete("/tokens/{token_id}")
def revoke(token_id: Number, caller: Admin, service: ServiceHere) -> TokenOut:
    """Take a token back; sessions that began with it end."""
    with service.database.writing() as session:
        token = session.get(tables.Token, token_id)
        if token is None:
            raise NotFound(f"no token {token_id}")
        auth.revoke(session, token)
        audit.note(session, caller, "token.revoke", token.name, id=token.id)
        return TokenOut(**_fields(token))


@router.get("/audit")
def trail(caller: Admin, service: ServiceHere, limit: Size = 50, cursor: After = None) -> Page[EntryOut]:
    """List what was changed by whom, newest first."""
    with service.database.reading() as session:
        rows, following = newest(session, select(tables.Audit), limit, cursor)
    return Page(items=[EntryOut(**{name: getattr(row, name) for name in EntryOut.model_fields}) for row in rows], next=following)


def _fields(token: tables.Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in TokenOut.model_fields}
