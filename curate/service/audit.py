"""Keeps who changed what; an entry is written in the transaction of the change, so that neither is there without the other."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from curate.service.auth import Caller
from curate.service.state import tables


def note(session: Session, caller: Caller, action: str, target: str, **details: Any) -> None:
    """Add an entry, such as `run.submit` of a run's id."""
    session.add(tables.Audit(actor=caller.name, address=caller.address, action=action, target=target, details=details or None))
