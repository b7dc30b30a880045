"""People whom an OpenID Connect provider vouches for: kept when they sign in, with the role that they have then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.service import audit, auth
from curate.service.auth import Caller, Role
from curate.service.state import tables
from curate.service.state.types import now


def sign_in(session: Session, claims: Mapping[str, Any], role: Role, address: str | None, hours: float) -> str:
    """Keep somebody as their provider tells of them now, and begin a session of theirs; return its cookie."""
    issuer, subject = str(claims["iss"]), str(claims["sub"])
    person = session.scalar(select(tables.Person).filter_by(issuer=issuer, subject=subject).with_for_update())
    if person is None:
        person = tables.Person(issuer=issuer, subject=subject)
        session.add(person)
    person.name, person.role, person.seen_at = name_of(claims), role, now()
    session.flush()
    caller = auth.caller_of_person(person)
    audit.note(
        session, Caller(caller.name, role, caller.key, address), "person.login", person.name, issuer=issuer, subject=subject, role=role
    )
    return auth.open_session_of(session, person, hours)


def refuse(session: Session, claims: Mapping[str, Any], address: str | None) -> None:
    """Note that somebody signed in who has no role here."""
    name = name_of(claims)
    nobody = Caller(name, "viewer", "nobody", address)
    audit.note(session, nobody, "person.refuse", name, issuer=claims["iss"], subject=claims["sub"])


def name_of(claims: Mapping[str, Any]) -> str:
    """Return what to call somebody: an e-mail address that the provider has verified, or what else it calls them."""
    verified = claims.get("email") if claims.get("email_verified") is True else None
    return str(verified or claims.get("preferred_username") or claims.get("name") or claims["sub"])[:200]
