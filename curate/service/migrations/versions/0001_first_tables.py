"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Double, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, String, Text, UniqueConstraint

from curate.service.state.types import Json, Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    _pipelines()
    _runs()
    _callers()
    _notices()


def _pipelines() -> None:
    op.create_table(
        "pipelines",
        Column("id", Integer(), nullable=False),
        Column("name", String(length=200), nullable=False),
        Column("created_at", Moment(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_pipelines"),
        UniqueConstraint("name", name="uq_pipelines_name"),
    )
    op.create_table(
        "pipeline_versions",
        Column("id", Integer(), nullable=False),
        Column("pipeline_id", Integer(), nullable=False),
        Column("number", Integer(), nullable=False),
        Column("text", Text(), nullable=False),
        Column("folder", Text(), nullable=False),
        Column("sha256", String(length=64), nullable=False),
        Column("created_at", Moment(), nullable=False),
        Column("created_by", Text(), nullable=False),
        ForeignKeyConstraint(["pipeline_id"], ["pipelines.id"], name="fk_pipeline_versions_pipeline_id"),
        PrimaryKeyConstraint("id", name="pk_pipeline_versions"),
        UniqueConstraint("pipeline_id", "number", name="uq_pipeline_versions_pipeline_id_number"),
    )


def _runs() -> None:
    op.create_table(
        "schedules",
        Column("id", Integer(), nullable=False),
        Column("name", String(length=200), nullable=False),
        Column("pipeline_id", Integer(), nullable=False),
        Column("version", Integer()),
        Column("kind", String(length=16), nullable=False),
        Column("trigger", Json, nullable=False),
        Column("policies", Json, nullable=False),
        Column("run", Json, nullable=False),
        Column("seen", Json, nullable=False),
        Column("paused", Text()),
        Column("failures", Integer(), nullable=False),
        Column("next_due", Moment()),
        Column("last_due", Moment()),
        Column("removed_at", Moment()),
        Column("created_at", Moment(), nullable=False),
        Column("created_by", Text(), nullable=False),
        ForeignKeyConstraint(["pipeline_id"], ["pipelines.id"], name="fk_schedules_pipeline_id"),
        PrimaryKeyConstraint("id", name="pk_schedules"),
        UniqueConstraint("name", name="uq_schedules_name"),
    )
    op.create_index("ix_schedules_next_due", "schedules", ["next_due"])
    op.create_table(
        "runs",
        Column("id", String(length=64), nullable=False),
        Column("pipeline", String(length=200), nullable=False),
        Column("version_id", Integer(), nullable=False),
        Column("workspace", Text(), nullable=False),
        Column("sets", Json, nullable=False),
        Column("options", Json, nullable=False),
        Column("status", String(length=16), nullable=False),
        Column("attempt", Integer(), nullable=False),
        Column("retries", Integer(), nullable=False),
        Column("retry_after_s", Double(), nullable=False),
        Column("not_before", Moment()),
        Column("deadline", Moment()),
        Column("host", Text()),
        Column("cancelled_by", Text()),
        Column("stop_asked_at", Moment()),
        Column("created_at", Moment(), nullable=False),
        Column("created_by", Text(), nullable=False),
        Column("started_at", Moment()),
        Column("ended_at", Moment()),
        Column("exit_code", Integer()),
        Column("summary", Json),
        Column("error", Json),
        Column("schedule_id", Integer()),
        ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name="fk_runs_schedule_id"),
        ForeignKeyConstraint(["version_id"], ["pipeline_versions.id"], name="fk_runs_version_id"),
        PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_pipeline_id", "runs", ["pipeline", "id"])
    op.create_index("ix_runs_schedule_id_id", "runs", ["schedule_id", "id"])
    op.create_index("ix_runs_status_id", "runs", ["status", "id"])
    op.create_table(
        "ticks",
        Column("id", Integer(), nullable=False),
        Column("schedule_id", Integer(), nullable=False),
        Column("due", Moment(), nullable=False),
        Column("fired_at", Moment(), nullable=False),
        Column("outcome", String(length=16), nullable=False),
        Column("note", Text()),
        Column("run_id", String(length=64)),
        Column("details", Json),
        ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_ticks_run_id"),
        ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name="fk_ticks_schedule_id"),
        PrimaryKeyConstraint("id", name="pk_ticks"),
        UniqueConstraint("schedule_id", "due", name="uq_ticks_schedule_id_due"),
    )
    op.create_index("ix_ticks_run_id", "ticks", ["run_id"])


def _callers() -> None:
    op.create_table(
        "tokens",
        Column("id", Integer(), nullable=False),
        Column("name", String(length=200), nullable=False),
        Column("hash", String(length=64), nullable=False),
        Column("role", String(length=16), nullable=False),
        Column("created_at", Moment(), nullable=False),
        Column("created_by", Text(), nullable=False),
        Column("expires_at", Moment()),
        Column("revoked_at", Moment()),
        Column("last_used_at", Moment()),
        PrimaryKeyConstraint("id", name="pk_tokens"),
        UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "sessions",
        Column("hash", String(length=64), nullable=False),
        Column("token_id", Integer(), nullable=False),
        Column("csrf", String(length=64), nullable=False),
        Column("created_at", Moment(), nullable=False),
        Column("expires_at", Moment(), nullable=False),
        ForeignKeyConstraint(["token_id"], ["tokens.id"], name="fk_sessions_token_id"),
        PrimaryKeyConstraint("hash", name="pk_sessions"),
    )
    op.create_table(
        "audit",
        Column("id", Integer(), nullable=False),
        Column("time", Moment(), nullable=False),
        Column("actor", Text(), nullable=False),
        Column("address", Text()),
        Column("action", String(length=64), nullable=False),
        Column("target", Text(), nullable=False),
        Column("details", Json),
        PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "idempotency",
        Column("caller", String(length=64), nullable=False),
        Column("key", String(length=200), nullable=False),
        Column("digest", String(length=64), nullable=False),
        Column("run_id", String(length=64), nullable=False),
        Column("created_at", Moment(), nullable=False),
        ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_idempotency_run_id"),
        PrimaryKeyConstraint("caller", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def _notices() -> None:
    op.create_table(
        "webhooks",
        Column("id", Integer(), nullable=False),
        Column("url", Text(), nullable=False),
        Column("events", Json, nullable=False),
        Column("secret", Text(), nullable=False),
        Column("created_at", Moment(), nullable=False),
        Column("created_by", Text(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "notices",
        Column("id", Integer(), nullable=False),
        Column("webhook_id", Integer()),
        Column("event", String(length=64), nullable=False),
        Column("payload", Json, nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("due_at", Moment()),
        Column("done_at", Moment()),
        Column("error", Text()),
        ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_notices_webhook_id", ondelete="CASCADE"),
        PrimaryKeyConstraint("id", name="pk_notices"),
    )
    op.create_index("ix_notices_due_at", "notices", ["due_at"])
