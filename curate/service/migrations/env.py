"""Runs migrations on the connection that `Database.upgrade` holds, inside its transaction."""

from alembic import context

from curate.service.state.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()
