"""Tells people and programs what happened: written down in the transaction of what happened, delivered until it arrives.

A notice may arrive twice, if a service dies between delivering it and writing that down; its `id` is then the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from curate.errors import CurateError
from curate.service.state import Database, tables
from curate.service.state.types import now

EVENTS: Final = ("run.succeeded", "run.failed", "run.gated", "run.cancelled", "run.lost", "schedule.missed", "schedule.paused")
MAILED: Final = ("run.failed", "run.gated", "run.lost", "schedule.missed", "schedule.paused")
LOOK_S = 2.0
LEASE = timedelta(minutes=2)  # how long one service has to deliver before another tries
WAITS_S = (60, 300, 1800, 7200, 21600, 43200)  # after each failure; then it is given up
_AT_ONCE = 20
_log = logging.getLogger(__name__)
Deliver = Callable[[tables.Notice, tables.Webhook | None], None]


def announce(session: Session, event: str, payload: dict[str, Any], mailing: bool) -> None:
    """Write down that an event is to be told to every webhook that wants it, and by mail if it is one for people."""
    for webhook in session.scalars(select(tables.Webhook)):
        if event in webhook.events:
            session.add(tables.Notice(webhook_id=webhook.id, event=event, payload=payload))
    if mailing and event in MAILED:
        session.add(tables.Notice(webhook_id=None, event=event, payload=payload))


def of_run(run: tables.Run, url: str) -> dict[str, Any]:
    """Return what is told of a run that has ended."""
    return {
        "run": run.id,
        "pipeline": run.pipeline,
        "version": run.version.number,
        "status": run.status,
        "attempt": run.attempt,
        "created_by": run.created_by,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "error": run.error,
        "url": f"{url}/runs/{run.id}",
    }


class Post:
    """Delivers notices; any number of services may do so on one database."""

    def __init__(self, database: Database, deliver: Deliver) -> None:
        self._database = database
        self._deliver = deliver
        self._stopped = threading.Event()

    def loop(self) -> None:
        """Deliver what is due, every few seconds, until `stop`."""
        while not self._stopped.is_set():
            try:
                self.step(now())
            except (CurateError, SQLAlchemyError, OSError):
                _log.exception("could not deliver notices")
            self._stopped.wait(LOOK_S)

    def stop(self) -> None:
        """End the loop."""
        self._stopped.set()

    def step(self, moment: datetime) -> None:
        """Try once to deliver each notice that is due."""
        for notice, webhook in self._claimed(moment):
            try:
                self._deliver(notice, webhook)
            except (CurateError, OSError) as error:
                self._noted(notice, moment, error)
            else:
                self._noted(notice, moment, None)

    def _claimed(self, moment: datetime) -> Sequence[tuple[tables.Notice, tables.Webhook | None]]:
        with self._database.writing() as session:
            due = select(tables.Notice).where(tables.Notice.due_at <= moment).order_by(tables.Notice.due_at).limit(_AT_ONCE)
            claimed = list(session.scalars(due.with_for_update(skip_locked=True)))
            for notice in claimed:
                notice.due_at = moment + LEASE
                notice.attempts += 1
            return [(notice, session.get(tables.Webhook, notice.webhook_id) if notice.webhook_id else None) for notice in claimed]

    def _noted(self, notice: tables.Notice, moment: datetime, error: Exception | None) -> None:
        with self._database.writing() as session:
            row = session.get(tables.Notice, notice.id)
            if row is None:
                return  # its webhook was removed
            row.error = str(error)[:1000] if error is not None else None
            if error is None:
                row.done_at, row.due_at = moment, None
            else:
                _log.warning("notice %d was not delivered: %s", notice.id, error)
                row.due_at = moment + timedelta(seconds=WAITS_S[row.attempts - 1]) if row.attempts <= len(WAITS_S) else None
