"""Who calls, and what they may do: tokens for programs, sessions for browsers that have shown a token or whose person signed in.

A token is 256 random bits; the database has its SHA-256, which is enough for what nobody can guess. Roles are nested:
viewers read, operators submit and cancel, admins give out tokens as well.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.errors import CurateError, PipelineError
from curate.service.state import tables
from curate.service.state.types import now

Role = Literal["viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
PREFIX = "curate_"


class Unauthorized(CurateError):
    """The caller did not say who they are, or not truly."""


class Forbidden(CurateError):
    """The caller is known, and may not do this."""


@dataclass(frozen=True)
class Caller:
    """Who calls. `key` tells callers apart; `csrf` is the word that pages of a browser's session must send back."""

    name: str
    role: Role
    key: str
    address: str | None = None
    csrf: str | None = None
    token_id: int | None = None

    def may(self, role: Role) -> bool:
        """Tell whether the caller's role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def need(self, role: Role) -> None:
        """Raise `Forbidden` unless the caller may act as `role`."""
        if not self.may(role):
            raise Forbidden(f"this needs the role `{role}`, and {self.name} is a {self.role}", "ask an admin for another token")


ANYBODY = Caller("anybody on this machine", "admin", "anybody")


def make_token(session: Session, name: str, role: Role, expires_at: datetime | None, author: str) -> tuple[str, tables.Token]:
    """Give out a token; the text is shown this once."""
    if expires_at is not None and expires_at <= now():
        raise PipelineError(f"the token would have expired already: {expires_at.isoformat()}")
    text = PREFIX + secrets.token_urlsafe(32)
    token = tables.Token(name=name, hash=hashed(text), role=role, created_by=author, expires_at=expires_at)
    session.add(token)
    session.flush()
    return text, token


def revoke(session: Session, token: tables.Token) -> None:
    """Take a token back, and the sessions that began with it."""
    token.revoked_at = token.revoked_at or now()
    session.query(tables.BrowserSession).filter_by(token_id=token.id).delete()


def caller_of_token(session: Session, text: str) -> Caller:
    """Return who a token belongs to; raise `Unauthorized`, in the same words whatever is wrong with it."""
    return _caller(_token(session, text))


def _token(session: Session, text: str) -> tables.Token:
    token = session.scalar(select(tables.Token).filter_by(hash=hashed(text)))
    if token is None or not _lives(token):
        raise Unauthorized("the token is not known, has expired or was revoked", "`curate serve token create` makes one")
    return token


def open_session(session: Session, text: str, hours: float) -> str:
    """Begin the session of a browser that shows a token; return its cookie."""
    token = _token(session, text)
    ends = now() + timedelta(hours=hours)
    return _begin(session, min(ends, token.expires_at or ends), token=token)


def open_session_of(session: Session, person: tables.Person, hours: float) -> str:
    """Begin the session of a browser whose person signed in; return its cookie."""
    return _begin(session, now() + timedelta(hours=hours), person=person)


def _begin(session: Session, ends: datetime, **whose: tables.Token | tables.Person) -> str:
    cookie = secrets.token_urlsafe(32)
    session.add(tables.BrowserSession(hash=hashed(cookie), csrf=secrets.token_urlsafe(24), expires_at=ends, **whose))
    return cookie


def caller_of_session(session: Session, cookie: str, people: bool) -> Caller:
    """Return who a browser's session belongs to; raise `Unauthorized`, for people too when none may sign in any more."""
    found = session.get(tables.BrowserSession, hashed(cookie))
    if found is not None and found.expires_at > now():
        if found.token is not None and _lives(found.token):
            return _caller(found.token, found.csrf)
        if found.person is not None and people:
            return caller_of_person(found.person, found.csrf)
    raise Unauthorized("the session has ended", "log in again")


def caller_of_person(person: tables.Person, csrf: str | None = None) -> Caller:
    """Return somebody who signed in as a caller."""
    return Caller(person.name, _role(person.role), f"person:{person.id}", csrf=csrf)


def close_session(session: Session, cookie: str) -> None:
    """End a browser's session."""
    session.query(tables.BrowserSession).filter_by(hash=hashed(cookie)).delete()


def check_csrf(caller: Caller, said: str | None) -> None:
    """Raise `Forbidden` unless a request that a browser's cookie vouches for brings the word of its page."""
    if caller.csrf is not None and not hmac.compare_digest(caller.csrf.encode(), (said or "").encode()):
        raise Forbidden("the request does not come from a page of this service", "reload the page and try again")


def hashed(text: str) -> str:
    """Return what is kept of a token or a cookie."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _lives(token: tables.Token) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now())


def _caller(token: tables.Token, csrf: str | None = None) -> Caller:
    return Caller(token.name, _role(token.role), f"token:{token.id}", csrf=csrf, token_id=token.id)


def _role(name: str) -> Role:
    return next(role for role in ROLES if role == name)
