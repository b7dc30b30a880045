"""One service, put together: its settings, its database, where runs go on, and who looks after them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from curate.service import audit, mail, webhooks
from curate.service.auth import Caller, make_token
from curate.service.launchers.base import Launcher
from curate.service.launchers.local import LocalLauncher
from curate.service.launchers.ray import RayLauncher
from curate.service.metrics import Metrics
from curate.service.notices import Deliver, Post, announce, of_run
from curate.service.pipelines import Checker
from curate.service.schedules.ticker import Ticker
from curate.service.settings import ServiceSettings, secret_variables
from curate.service.state import Database, tables
from curate.service.uses import Uses
from curate.service.watch import Watch

RUNS_AT_ONCE = {"machine": 1, "cluster": 16}
FIRST = Caller("the first start", "admin", "first start")


@dataclass(frozen=True)
class Service:
    """What requests work with."""

    settings: ServiceSettings
    database: Database
    checker: Checker
    launcher: Launcher
    watch: Watch
    ticker: Ticker
    post: Post
    uses: Uses
    metrics: Metrics


class Running:
    """Threads that look after runs and schedules, deliver notices and write uses, as long as the service answers requests."""

    def __init__(self, service: Service) -> None:
        self._loops = (service.watch, service.ticker, service.post, service.uses)
        self._threads = [threading.Thread(target=part.loop, name=type(part).__name__.lower()) for part in self._loops]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *exc: object) -> None:
        for part in self._loops:
            part.stop()
        for thread in self._threads:
            thread.join()


def make_service(settings: ServiceSettings) -> Service:
    """Open the database, bring its tables up to date, and put the parts together; nothing runs yet."""
    database = Database(settings.database_url)
    database.upgrade()
    checker = Checker(settings)
    launcher = _launcher(settings)
    slots = settings.runs_at_once or RUNS_AT_ONCE["cluster" if settings.cluster else "machine"]
    metrics = Metrics(database)

    def ended(session: Session, run: tables.Run) -> None:
        announce(session, f"run.{run.status}", of_run(run, settings.url), mailing=settings.mail is not None)
        metrics.ended(run)

    watch = Watch(database, launcher, checker, slots, ended)
    ticker = Ticker(database, checker, settings, on_run=watch.soon)
    post = Post(database, _deliver(settings))
    return Service(settings, database, checker, launcher, watch, ticker, post, Uses(database), metrics)


def _deliver(settings: ServiceSettings) -> Deliver:
    def deliver(notice: tables.Notice, webhook: tables.Webhook | None) -> None:
        if webhook is not None:
            webhooks.post(notice, webhook, settings.hooks_allow)
        elif settings.mail is not None:
            mail.send(notice, settings.mail)

    return deliver


def _launcher(settings: ServiceSettings) -> Launcher:
    if settings.cluster:
        return RayLauncher(settings.cluster)
    return LocalLauncher(settings.home, secret_variables(settings))


def first_token(service: Service, keep: Callable[[str], None]) -> None:
    """Give out a token for an admin if there was never any; it counts once `keep` has it."""
    with service.database.writing() as session:
        if session.query(tables.Token).first() is None:
            text, token = make_token(session, "admin", "admin", None, FIRST.name)
            audit.note(session, FIRST, "token.create", token.name, id=token.id, role=token.role)
            keep(text)
