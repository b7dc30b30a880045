"""What the page of a document's story says, chapter by chapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from curate.report.markup import Child, code, element, join
from curate.report.units import count, number, plural
from curate.service.pages.hostile import visible
from curate.service.pages.markdown import ticked
from curate.service.pages.stage_page import flat, limit_in_words, told
from curate.service.views.story import TEXT_CHARS, Chapter, Story

_ENDINGS = {
    "kept": "It is in the last dataset that it could reach.",
    "dropped": "It was dropped.",
    "errored": "It broke an operator, and was put aside.",
    "expanded": "Other documents were made of it.",
    "unknown": "Stages measured it, and none kept it.",
}
_SAID = frozenset({"step", "reason", "value", "kept_id", "similarity", "error", "before", "after", "documents"})


def story_part(story: Story, run_page: str) -> dict[str, Any]:
    """Return what the template `story.html` shows."""
    return {
        "doc_id": story.doc_id,
        "ending": _ENDINGS[story.fate],
        "chapters": list(_chapters(story, run_page)),
        "text": None if story.text is None else visible(story.text),
        "text_bytes": story.text_bytes,
        "text_stage": story.text_stage,
        "cut": story.text is not None and len(story.text) >= TEXT_CHARS,
        "shown_chars": TEXT_CHARS,
    }


def story_address(run_page: str, doc_id: str) -> str:
    """Return where a document's story is told; ids hold slashes and anything else, so that they stand in the query."""
    return f"{run_page}/documents?{urlencode({'id': doc_id}, quote_via=quote)}"


def _chapters(story: Story, run_page: str) -> Iterator[dict[str, Any]]:
    """Yield the chapters; of what is known of the document, each says what those before it did not."""
    said: dict[str, Child] = {}
    for chapter in story.chapters:
        told = _chapter(chapter, run_page)
        told["known"] = [(name, value) for name, value in told["known"] if said.get(name) != value]
        said |= dict(told["known"])
        yield told


def _chapter(chapter: Chapter, run_page: str) -> dict[str, Any]:
    event = chapter.event
    other = event.details.get("kept_id") if event.what == "dropped" else None
    return {
        "stage": event.stage,
        "what": event.what,
        "sentence": join(_sentence(chapter)),
        "rule": ticked(chapter.limit.rule) if chapter.limit and chapter.limit.rule else None,
        "other": other,
        "other_page": story_address(run_page, str(other)) if other is not None else None,
        "known": flat(event.details, _SAID if event.what in ("dropped", "errored", "edited", "expanded") else frozenset()),
        "changes": chapter.changes,
    }


def _sentence(chapter: Chapter) -> Child:
    details = chapter.event.details
    match chapter.event.what:
        case "dropped":
            return _dropped(chapter)
        case "errored":
            return ["at ", code(str(details.get("step"))), ": ", visible(str(details.get("error")))]
        case "edited":
            before, after = (len(str(details.get(side) or "")) for side in ("before", "after"))
            return ["by ", code(str(details.get("step"))), f": {plural(before, 'character')} became {count(after)}"]
        case "expanded":
            return f"{plural(int(details.get('documents') or 0), 'document')} were made of it"
    return None


def _dropped(chapter: Chapter) -> Child:
    """Return why a document went: the reason, what was measured, and the limit that this broke."""
    details = chapter.event.details
    said: list[Child] = ["by ", code(str(details.get("step"))), ": ", element("b", visible(str(details.get("reason"))))]
    if details.get("value") is not None:
        said += [". Measured ", element("b", told(details["value"]))]
    if details.get("similarity") is not None:
        said += [". Similarity ", element("b", number(float(details["similarity"])))]
    limit = limit_in_words(chapter.limit)
    return [*said, "; ", limit, "."] if limit else [*said, "."]
