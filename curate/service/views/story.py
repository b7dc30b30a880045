"""One document's story in a run, with what a person needs to judge it: limits beside measured values, edits, and the last text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT
from curate.explain import Event, changed_lines, explain, parents
from curate.service.views.limits import Limit, Limits

TEXT_CHARS = 50_000
_DIFF_CHARS = 20_000
_DIFF_LINES = 200


@dataclass(frozen=True)
class Chapter:
    """One event of a story; `limit` is what a dropped document broke, `changes` the lines that an edit took (-) and gave (+)."""

    event: Event
    limit: Limit | None = None
    changes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Story:
    """What became of a document. `text` is its last known one (cut at `TEXT_CHARS`) and `text_stage` the stage that left it."""

    doc_id: str
    chapters: list[Chapter]
    fate: str
    text: str | None = None
    text_bytes: int = 0
    text_stage: str = ""


def tell(datasets: Sequence[Dataset], doc_id: str, limits: Limits) -> Story:
    """Return a document's story, what came before it was made of another one included; without chapters, nobody has seen it."""
    events = explain(list(datasets), doc_id)
    own = list(events)
    for parent in parents(list(datasets), doc_id) if events else ():
        events = explain(list(datasets), parent) + events
    text, size, stage = _last_text(datasets, own, doc_id)
    return Story(doc_id, [_chapter(event, limits) for event in events], _fate(own), text, size, stage)


def _chapter(event: Event, limits: Limits) -> Chapter:
    if event.what == "dropped":
        return Chapter(event, limits.of(event.stage, str(event.details.get("step")), str(event.details.get("reason"))))
    if event.what == "edited":
        before, after = (str(event.details.get(side) or "")[:_DIFF_CHARS] for side in ("before", "after"))
        return Chapter(event, changes=list(_changes(before, after)))
    return Chapter(event)


def _changes(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Yield the changed lines of an edit with their signs, and a little of what stands around them."""
    lines = changed_lines(before, after, around=1)
    yield from islice(lines, _DIFF_LINES)
    if next(lines, None) is not None:
        yield " ", "…"


def _fate(events: Sequence[Event]) -> str:
    """Return how a document ended: the last thing that a stage of documents did with it."""
    ends = [event.what for event in events if event.what in ("kept", "dropped", "errored", "expanded")]
    return ends[-1] if ends else "unknown"


def _last_text(datasets: Sequence[Dataset], events: Sequence[Event], doc_id: str) -> tuple[str | None, int, str]:
    """Return the text, its size and the stage of the last dataset that kept the document with a text."""
    by_name = {dataset.name: dataset for dataset in datasets}
    for event in reversed(events):
        dataset = by_name[event.stage]
        if event.what == "kept" and TEXT in dataset.manifest.columns:
            index = next(i for i, shard in enumerate(dataset.manifest.shards) if shard.shard == event.shard)
            for batch in read_shard(dataset.storage, dataset.shard_path(index), [ID, TEXT]):
                found: Any = batch.column(TEXT).filter(pc.equal(batch.column(ID), doc_id))
                if len(found):
                    return pc.utf8_slice_codeunits(found, 0, TEXT_CHARS)[0].as_py(), pc.binary_length(found)[0].as_py() or 0, event.stage
    return None, 0, ""
