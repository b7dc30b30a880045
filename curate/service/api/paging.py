"""Lists come in pages: `next` of one is `cursor` of the request for the following one, null on the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

Item = TypeVar("Item", bound=BaseModel)
Row = TypeVar("Row")
Size = Annotated[int, Query(ge=1, le=500, description="Items on a page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None


def cut(rows: Sequence[Row], size: int, key: Callable[[Row], Any]) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page out of one more than it holds, and the cursor of the next page."""
    return rows[:size], str(key(rows[size - 1])) if len(rows) > size else None
