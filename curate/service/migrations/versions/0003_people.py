"""People who sign in with an OpenID Connect provider; a session is a token's or a person's."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, PrimaryKeyConstraint, String, Text, UniqueConstraint

from curate.service.state.types import Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make their table, and let sessions name them."""
    op.create_table(
        "people",
        Column("id", Integer(), nullable=False),
        Column("issuer", Text(), nullable=False),
        Column("subject", String(length=255), nullable=False),
        Column("name", Text(), nullable=False),
        Column("role", String(length=16), nullable=False),
        Column("created_at", Moment(), nullable=False),
        Column("seen_at", Moment(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_people"),
        UniqueConstraint("issuer", "subject", name="uq_people_issuer_subject"),
    )
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("token_id", existing_type=Integer(), nullable=True)
        sessions.add_column(Column("person_id", Integer()))
        sessions.create_foreign_key("fk_sessions_person_id", "people", ["person_id"], ["id"])
