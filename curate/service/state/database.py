"""Opens the database, brings its tables up to date, and gives out transactions.

One rule makes both databases safe for several writers: what is changed is first read with `FOR UPDATE SKIP LOCKED`
inside `writing`. PostgreSQL locks those rows; SQLite has no such clause, and takes the one lock of the file instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from curate.errors import PipelineError, TransientError, WorkspaceError

MIGRATIONS = Path(__file__).parents[1] / "migrations"
BUSY_S = 20
_SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_POSTGRES_FULL = "53100"
Made = TypeVar("Made")


class Database:
    """One database, for all threads of a process."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(self.engine.execution_options(writing=True), expire_on_commit=False)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that changes nothing."""
        with _full_disk_told(), self._reading() as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is kept when the block ends, and forgotten when it raises; `WorkspaceError` where there is no room for it."""
        with _full_disk_told(), self._writing.begin() as session:
            yield session

    def change(self, make: Callable[[Session], Made]) -> Made:
        """Make a change in a transaction; once more if another replica was faster with a row that there may be once only."""
        try:
            with self.writing() as session:
                return make(session)
        except IntegrityError:
            with self.writing() as session:
                return make(session)

    @staticmethod
    def take_turn(session: Session, name: str) -> None:
        """Wait until no other transaction has the turn of that name, and keep it to the end of this one.

        For decisions on what many rows say together, which no row's lock protects. On SQLite every writer has its turn anyway.
        """
        if session.connection().dialect.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})

    def upgrade(self) -> None:
        """Bring the tables up to date; of several processes that start together, one does it."""
        try:
            with self.writing() as session:
                self.take_turn(session, "migrations")
                command.upgrade(_configured(session.connection()), "head")
        except OperationalError as error:
            raise TransientError(f"the database does not answer: {_reason(error)}", "is it there, and may this user use it?") from None

    def verify_current(self) -> None:
        """Raise unless the database answers and its tables are those that this version knows."""
        with self._reading() as session:
            found = MigrationContext.configure(session.connection()).get_current_revision()
        wanted = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        if found != wanted:
            raise WorkspaceError(f"the database has tables of version {found}, not {wanted}", "`curate serve` brings them up to date")

    def close(self) -> None:
        """Give its connections back."""
        self.engine.dispose()


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not _says_full(error.orig):
            raise
        hint = "free some space where the database lies, and try again; runs that go on are not touched"
        raise WorkspaceError("no space left for the database of the service: nothing was changed", hint) from error


def _says_full(error: BaseException | None) -> bool:
    """Tell whether SQLite (which calls a write that the disk refuses an I/O error) or PostgreSQL says that there is no room."""
    return getattr(error, "sqlite_errorname", "") in _SQLITE_FULL or getattr(error, "sqlstate", "") == _POSTGRES_FULL


def _reason(error: OperationalError) -> str:
    return str(error.orig).splitlines()[0]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise PipelineError(
            "the database's address cannot be read", "such as sqlite:////srv/service.db or postgresql://host/name"
        ) from None
    try:
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            address = parsed.set(drivername="postgresql+psycopg")
            return create_engine(address, pool_pre_ping=True, pool_size=10, max_overflow=20, connect_args={"connect_timeout": 5})
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise PipelineError(f"no driver for this database: {error}", "install curate with its extra `serve`") from None
    raise PipelineError(f"not a database that the service works with: {parsed.get_backend_name()}", "SQLite or PostgreSQL")


def _sqlite(url: Any) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=10, max_overflow=30, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def opened(connection: Any, record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves: the driver would begin them too late
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _configured(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
