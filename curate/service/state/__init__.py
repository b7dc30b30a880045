"""What the service remembers, in SQLite or PostgreSQL."""

from curate.service.state.database import Database

__all__ = ["Database"]
