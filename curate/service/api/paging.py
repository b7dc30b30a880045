"""Lists come in pages: `next` of one is `cursor` of the request for the following one, null on the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.orm import Session

from curate.service.state import tables

Item = TypeVar("Item", bound=BaseModel)
Row = TypeVar("Row")
Numbered = TypeVar("Numbered", tables.Token, tables.Audit, tables.Notice)
Size = Annotated[int, Query(ge=1, le=500, description="Items on a page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None


def cut(rows: Sequence[Row], size: int, key: Callable[[Row], Any]) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page out of one more than it holds, and the cursor of the next page."""
    return rows[:size], str(key(rows[size - 1])) if len(rows) > size else None


def newest(session: Session, query: Select[Numbered], size: int, cursor: int | None) -> tuple[Sequence[Numbered], str | None]:
    """Return a page of the rows that a query finds, the highest `id` first, and the cursor of the next page."""
    [table] = [described["entity"] for described in query.column_descriptions]
    if cursor is not None:
        query = query.where(table.id < cursor)
    return cut(list(session.scalars(query.order_by(table.id.desc()).limit(size + 1))), size, lambda row: row.id)
