"""Indexes that the ticker's look every second needs: ticks that have not ended, and when runs of a pipeline ended."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_ticks_outcome", "ticks", ["outcome"])
    op.create_index("ix_runs_pipeline_ended_at", "runs", ["pipeline", "ended_at"])
