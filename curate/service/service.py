"""One service, put together: its settings, its database, where runs go on, and who looks after them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from curate.service.auth import make_token
from curate.service.launchers.base import Launcher
from curate.service.launchers.local import LocalLauncher
from curate.service.launchers.ray import RayLauncher
from curate.service.pipelines import Checker
from curate.service.schedules.ticker import Ticker
from curate.service.settings import ServiceSettings, secret_variables
from curate.service.state import Database, tables
from curate.service.watch import Watch

RUNS_AT_ONCE = {"machine": 1, "cluster": 16}


@dataclass(frozen=True)
class Service:
    """What requests work with."""

    settings: ServiceSettings
    database: Database
    checker: Checker
    launcher: Launcher
    watch: Watch
    ticker: Ticker


class Running:
    """Threads that look after runs and schedules as long as the service answers requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        loops = {"watch": service.watch.loop, "ticker": service.ticker.loop}
        self._threads = [threading.Thread(target=loop, name=name) for name, loop in loops.items()]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *exc: object) -> None:
        self._service.watch.stop()
        self._service.ticker.stop()
        for thread in self._threads:
            thread.join()


def make_service(settings: ServiceSettings) -> Service:
    """Open the database, bring its tables up to date, and put the parts together; nothing runs yet."""
    database = Database(settings.database_url)
    database.upgrade()
    checker = Checker(settings)
    launcher = _launcher(settings)
    slots = settings.runs_at_once or RUNS_AT_ONCE["cluster" if settings.cluster else "machine"]
    watch = Watch(database, launcher, checker, slots, lambda session, run: None)
    ticker = Ticker(database, checker, settings, on_run=watch.soon)
    return Service(settings, database, checker, launcher, watch, ticker)


def _launcher(settings: ServiceSettings) -> Launcher:
    if settings.cluster:
        return RayLauncher(settings.cluster)
    return LocalLauncher(settings.home, secret_variables(settings))


def first_token(service: Service) -> str | None:
    """Give out a token for an admin if there was never any, else None."""
    with service.database.writing() as session:
        if session.query(tables.Token).first() is not None:
            return None
        return make_token(session, "admin", "admin", None, "the first start")[0]
