"""Chooses a few documents of each kind of difference, and fetches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset
from curate.diff_causes import Causes
from curate.diff_read import shard_rows
from curate.document import ID, leaf

EXCERPT_CHARS = 200
BEFORE_CHARS = 20  # shown before the first difference
Numbers = np.ndarray[Any, np.dtype[Any]]


class Chosen(NamedTuple):
    """A document: the hash it was chosen by, and its places in the old and the new corpus (−1 = not there)."""

    rank: int
    old: int
    new: int


class Samples:
    """Keeps the documents of each kind with the lowest hashes of their ids: an even choice that does not depend on their order."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._chosen: dict[str, list[Chosen]] = {}

    def offer(self, kind: str, ranks: Numbers, old: Numbers | None, new: Numbers | None) -> None:
        """Consider documents of one kind."""
        best = np.argsort(ranks, kind="stable")[: self._size].tolist()
        found = [Chosen(int(ranks[i]), _at(old, i), _at(new, i)) for i in best]
        self._chosen[kind] = sorted([*self._chosen.get(kind, []), *found])[: self._size]

    def told(self, old: Dataset, new: Dataset, column: str, causes: Causes) -> dict[str, list[dict[str, Any]]]:
        """Return {kind: [{"id", "excerpt" or "before" and "after", and what removed it}]}."""
        before = dict(_fetched(old, [c.old for chosen in self._chosen.values() for c in chosen], column))
        after = dict(_fetched(new, [c.new for chosen in self._chosen.values() for c in chosen], column))
        told = {
            "added": [{ID: after[c.new][0], "excerpt": _cut(after[c.new][1])} for c in self._chosen["added"]],
            "removed": [{ID: before[c.old][0], "excerpt": _cut(before[c.old][1])} for c in self._chosen["removed"]],
            "changed": [{ID: after[c.new][0], **_both(before[c.old][1], after[c.new][1])} for c in self._chosen["changed"]],
        }
        evidence = causes.evidence([entry[ID] for entry in told["removed"]]) if told["removed"] else {}
        told["removed"] = [entry | evidence.get(entry[ID], {}) for entry in told["removed"]]
        return told


def _at(places: Numbers | None, row: int) -> int:
    return -1 if places is None else int(places[row])


def _fetched(dataset: Dataset, places: Sequence[int], column: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (place, (id, value)) of a few rows, reading only the shards that hold them."""
    wanted = np.unique([place for place in places if place >= 0]).astype(np.int64)
    ends = np.cumsum([shard.data.rows for shard in dataset.manifest.shards])
    for shard in np.unique(np.searchsorted(ends, wanted, side="right")).tolist():
        start = int(ends[shard]) - dataset.manifest.shards[shard].data.rows
        for batch in shard_rows(dataset, shard, [ID, column]):
            inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
            found = batch.take(pa.array(inside - start))
            values = map(_text, leaf(found, column).to_pylist())
            yield from zip(inside.tolist(), zip(found.column(ID).to_pylist(), values, strict=True), strict=True)
            start += batch.num_rows


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= EXCERPT_CHARS else f"{text[:EXCERPT_CHARS]}…"


def _both(before: str, after: str) -> dict[str, str]:
    """Return both texts from shortly before the first difference on."""
    start = max(0, _shared(before, after) - BEFORE_CHARS)
    lead = "…" if start else ""
    return {"before": lead + _cut(before[start:]), "after": lead + _cut(after[start:])}


def _shared(before: str, after: str) -> int:
    """Return how many characters both texts begin with."""
    return next((i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), min(len(before), len(after)))
