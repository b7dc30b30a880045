"""When tokens were used last: kept in memory and written now and then, so that no request waits for it or fails by it."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from curate.errors import CurateError
from curate.service.auth import Caller
from curate.service.state import Database, tables
from curate.service.state.types import now

WRITE_S = 60.0
_log = logging.getLogger(__name__)


class Uses:
    """The uses of tokens that one service saw; a service that is killed forgets those of its last minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: dict[int, datetime] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def note(self, caller: Caller) -> None:
        """Note that a caller's token is used now; a caller without one is nobody's."""
        if caller.token_id is not None:
            with self._lock:
                self._last[caller.token_id] = now()

    def loop(self) -> None:
        """Write every minute, and once more after `stop`."""
        while not self._stopped.wait(WRITE_S):
            self.write()
        self.write()

    def stop(self) -> None:
        """End the loop."""
        self._stopped.set()

    def write(self) -> None:
        """Write what was noted; what cannot be written is kept for the next time."""
        with self._lock:
            noted, self._last = self._last, {}
        try:
            self._put(noted)
        except (CurateError, SQLAlchemyError, OSError) as error:
            _log.warning("could not write when tokens were used: %s", error)
            with self._lock:
                self._last = noted | self._last

    def _put(self, noted: dict[int, datetime]) -> None:
        if not noted:
            return
        with self._database.writing() as session:
            for token_id, moment in sorted(noted.items()):  # in one order, or two services could wait for each other
                last = tables.Token.last_used_at
                older = or_(last.is_(None), last < moment)  # another service may have seen a later use
                session.execute(update(tables.Token).where(tables.Token.id == token_id, older).values(last_used_at=moment))
