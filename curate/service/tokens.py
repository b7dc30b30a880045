"""Tokens from the command line: for whoever may read and write the database, and so needs no token."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import select

from curate.service import audit, auth
from curate.service.auth import Caller, Role
from curate.service.pipelines import NotFound
from curate.service.settings import ServiceSettings
from curate.service.state import Database, tables


def create(settings: ServiceSettings, name: str, role: Role, expires_at: datetime | None) -> str:
    """Give out a token and return its text."""
    with _opened(settings) as database, database.writing() as session:
        text, token = auth.make_token(session, name, role, expires_at, _operator().name)
        audit.note(session, _operator(), "token.create", name, id=token.id, role=role)
        return text


def lines(settings: ServiceSettings) -> Iterator[str]:
    """Yield a line for each token."""
    with _opened(settings) as database, database.reading() as session:
        for token in session.scalars(select(tables.Token).order_by(tables.Token.id)):
            yield f"{token.id:>5}  {token.role:<8}  {_state(token):<24}  {token.name}"


def revoke(settings: ServiceSettings, number: int) -> None:
    """Take back a token."""
    with _opened(settings) as database, database.writing() as session:
        token = session.get(tables.Token, number)
        if token is None:
            raise NotFound(f"no token {number}", "`curate serve token list` shows their numbers")
        auth.revoke(session, token)
        audit.note(session, _operator(), "token.revoke", token.name, id=token.id)


def _state(token: tables.Token) -> str:
    if token.revoked_at is not None:
        return f"revoked {token.revoked_at:%Y-%m-%d}"
    return f"until {token.expires_at:%Y-%m-%d}" if token.expires_at is not None else "no end"


def _operator() -> Caller:
    return Caller(f"{getpass.getuser()} (command line)", "admin", "command line")


@contextmanager
def _opened(settings: ServiceSettings) -> Iterator[Database]:
    database = Database(settings.database_url)
    database.upgrade()
    try:
        yield database
    finally:
        database.close()
