"""The tables of the service.

Rows of `runs`, `audit` and `ticks` only ever grow in number; what a run did to its documents stands in the workspace. Secrets
are never kept: of tokens and sessions there is a hash, and of a webhook's key the name of a variable.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from curate.service.state.types import Json, Moment, now

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What tables have in common: the names of their constraints, and types by annotation."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar = {datetime: Moment, dict[str, Any]: Json, list[str]: Json, str: Text}


class Pipeline(Base):
    """A named pipeline; its text stands in its versions."""

    __tablename__ = "pipelines"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    versions: Mapped[list[PipelineVersion]] = relationship(back_populates="pipeline", order_by="PipelineVersion.number")


class PipelineVersion(Base):
    """One text of a pipeline, which is read only where it is asked for; `folder` is where its relative paths start."""

    __tablename__ = "pipeline_versions"
    __table_args__ = (UniqueConstraint("pipeline_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"))
    number: Mapped[int]
    text: Mapped[str] = mapped_column(deferred=True)
    folder: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    pipeline: Mapped[Pipeline] = relationship(back_populates="versions")


class Run(Base):
    """One run: what was asked for, where it goes on, and how it ended.

    Ids sort by time. Attempt 1 has the run's id in the workspace, attempt n `<id>.<n>`. `host` is where a local attempt runs,
    None on a cluster. `summary` is what `curate run --json` prints, `error` its message and hint.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "pipeline", "id"),
        Index(None, "pipeline", "ended_at"),
        Index(None, "schedule_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(200))
    version_id: Mapped[int] = mapped_column(ForeignKey("pipeline_versions.id"))
    workspace: Mapped[str]
    sets: Mapped[list[str]] = mapped_column(default=list)
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(String(16), default="queued")
    attempt: Mapped[int] = mapped_column(default=1)
    retries: Mapped[int] = mapped_column(default=0)
    retry_after_s: Mapped[float] = mapped_column(default=60.0)
    not_before: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    host: Mapped[str | None]
    cancelled_by: Mapped[str | None]
    stop_asked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    summary: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    schedule_id: Mapped[int | None] = mapped_column(ForeignKey("schedules.id"))
    version: Mapped[PipelineVersion] = relationship(lazy="joined", innerjoin=True)

    @property
    def attempt_id(self) -> str:
        """The name of the last attempt in the workspace."""
        return self.named(self.attempt)

    def named(self, attempt: int) -> str:
        """Return the name of an attempt in the workspace."""
        return self.id if attempt == 1 else f"{self.id}.{attempt}"


class Schedule(Base):
    """When a pipeline runs by itself: `trigger` says when, `policies` what to do when that is awkward, `seen` what it has run on."""

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"))
    version: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(16))
    trigger: Mapped[dict[str, Any]] = mapped_column(default=dict)
    policies: Mapped[dict[str, Any]] = mapped_column(default=dict)
    run: Mapped[dict[str, Any]] = mapped_column(default=dict)
    seen: Mapped[dict[str, Any]] = mapped_column(default=dict)
    paused: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0)
    next_due: Mapped[datetime | None] = mapped_column(index=True)
    last_due: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    pipeline: Mapped[Pipeline] = relationship()


class Tick(Base):
    """One moment at which a schedule was due, and what came of it; the unique pair makes it fire once."""

    __tablename__ = "ticks"
    __table_args__ = (UniqueConstraint("schedule_id", "due"), Index(None, "outcome"))

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedules.id"))
    due: Mapped[datetime]
    fired_at: Mapped[datetime] = mapped_column(default=now)
    outcome: Mapped[str] = mapped_column(String(16))
    note: Mapped[str | None]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    details: Mapped[dict[str, Any] | None]


class Token(Base):
    """Who may call, and what they may do; only the hash of the token is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Person(Base):
    """Somebody whom an OpenID Connect provider vouched for, with the role that they had when they last signed in."""

    __tablename__ = "people"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str] = mapped_column(String(255))
    name: Mapped[str]
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)


class BrowserSession(Base):
    """A browser that has shown a token, with which it ends, or that a person signed in with."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("tokens.id"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    token: Mapped[Token | None] = relationship(lazy="joined")
    person: Mapped[Person | None] = relationship(lazy="joined")


class Audit(Base):
    """Who changed what, when, from where."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str]
    address: Mapped[str | None]
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str]
    details: Mapped[dict[str, Any] | None]


class Idempotency(Base):
    """A submission that was given a key: the same key gives the same run."""

    __tablename__ = "idempotency"

    caller: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Webhook(Base):
    """An address that is told of events; `secret` refers to the key that signs, `env:CURATE_HOOK_…`."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]]
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str]


class Notice(Base):
    """Something that somebody must be told, by a webhook or by mail (no webhook), until they are or `attempts` run out."""

    __tablename__ = "notices"

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=now, index=True)
    done_at: Mapped[datetime | None]
    error: Mapped[str | None]
