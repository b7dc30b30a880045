"""What the page of a dataset's documents says of each: its columns, and its text, or what is around the words that were searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.document import ID, TEXT
from curate.service.pages.hostile import found, visible
from curate.service.pages.stage_page import flat
from curate.service.pages.story_page import story_address

_SHOWN_CHARS = 1200
_LINE_CHARS = 600


def document(row: Mapping[str, Any], query: str, run_page: str) -> dict[str, Any]:
    """Return what the template `documents.html` shows of one row."""
    text = row.get(TEXT)
    cut = text if text is None or len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
    return {
        "id": row[ID],
        "story": story_address(run_page, str(row[ID])),
        "columns": flat(row, frozenset({ID, TEXT})),
        "text": None if cut is None else visible(cut, _LINE_CHARS),
        "snippets": found(text or "", query),
    }
