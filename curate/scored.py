"""Gathers what the report shows of a stage's scores while rows pass: distributions by group, and the documents at both ends.

    statistics()  {"scores_by": {column: {score: {value of the column: {bin: n}}}}}, bins as in `curate.histogram`
    samples()     {"tails": {score: {"lowest": [{"id", "url", "value", "excerpt"}], "highest": […]}}}

Both are the same for any batch size and order. Of a column with many values those with the lowest hashes are told apart, so that every
shard chooses the same ones. Parts of shards are added up with `add_nested`, `fold_scores` and `merge_tails`. A batch costs two
look-ups per value, and nothing per group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT, leaf_as
from curate.hashing import hash64
from curate.histogram import SCORE_EDGES, named, score_bins
from curate.manifest import add_nested

TAILS = "tails"
SCORES_BY = "scores_by"
GROUPS = 64  # values of a column that are told apart, those with the lowest hashes; the others are `OTHER`
OTHER = "other"
TAILED = 6  # scores with documents at their ends: a scorer of many measures would fill the receipts
KEPT = 3  # documents at each end
EXCERPT_CHARS = 300

Rows = npt.NDArray[np.int64]
Entry = tuple[float, int, dict[str, Any]]
_SIDES = (("lowest", 1.0), ("highest", -1.0))


class Scored:
    """Takes every document once, with all its columns, whether it stays or goes."""

    def __init__(self, scores: Sequence[str], report_by: Sequence[str]) -> None:
        self._scores = tuple(scores)
        self._names: dict[str, dict[str, int]] = {column: {} for column in report_by}
        self._counts: dict[tuple[str, str], Rows] = {}
        self._tails: dict[tuple[str, str], list[Entry]] = {}

    def add(self, docs: pa.RecordBatch) -> None:
        """Take the documents of a batch; scores that it does not have yet are left out."""
        groups: dict[str, Rows] = {}
        for number, score in enumerate(self._scores):
            given = leaf_as(docs, score, pa.float64())
            if given is None:
                continue
            values = np.asarray(pc.fill_null(given, np.nan).to_numpy(zero_copy_only=False), np.float64)
            groups = groups or self._groups(docs)
            finite = np.isfinite(values)
            bins = score_bins(values[finite])
            for column, rows in groups.items():
                self._count((column, score), rows[finite], bins)
            if number < TAILED:
                self._extend(score, values, docs)
        for column in groups:
            self._fold(column)

    def statistics(self) -> dict[str, Any]:
        """Return the histograms by column, score and value; a column with one value says no more than the whole does."""
        found: dict[str, Any] = {}
        for (column, score), counts in self._counts.items():
            names = sorted(self._names[column].items())
            known = {name: named(counts[row].tolist()) for name, row in names if row < len(counts)}
            found.setdefault(column, {})[score] = {name: histogram for name, histogram in known.items() if histogram}
        return {SCORES_BY: found} if found else {}

    def samples(self) -> dict[str, Any]:
        """Return the documents at both ends of each score, the utmost first."""
        found: dict[str, Any] = {}
        for (score, side), entries in self._tails.items():
            if entries:
                found.setdefault(score, {})[side] = [entry for *_, entry in entries]
        return {TAILS: found} if found else {}

    def _groups(self, docs: pa.RecordBatch) -> dict[str, Rows]:
        """Return each document's row of counts, by column."""
        found = {}
        for column, names in self._names.items():
            words = leaf_as(docs, column, pa.string())
            if words is not None:
                encoded = pc.fill_null(words, "").dictionary_encode()
                rows = [names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()]
                found[column] = np.array(rows, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
        return found

    def _fold(self, column: str) -> None:
        """Count values beyond `GROUPS` as `OTHER`."""
        names = self._names[column]
        if len(names) <= GROUPS:
            return
        chosen = _chosen(names)
        self._names[column] = {name: row for row, name in enumerate((*chosen, OTHER))}
        target = np.array([self._names[column].get(name, len(chosen)) for name in names])
        for key, counts in self._counts.items():
            if key[0] == column:
                folded = np.zeros((GROUPS, len(SCORE_EDGES)), np.int64)
                np.add.at(folded, target[: len(counts)], counts)
                self._counts[key] = folded

    def _count(self, key: tuple[str, str], rows: Rows, bins: Rows) -> None:
        width, height = len(SCORE_EDGES), len(self._names[key[0]])
        counts = np.bincount(rows * width + bins, minlength=height * width).reshape(height, width)
        if (before := self._counts.get(key)) is not None:
            counts[: len(before)] += before
        self._counts[key] = counts

    def _extend(self, score: str, values: npt.NDArray[np.float64], docs: pa.RecordBatch) -> None:
        """Put documents that lie further out than those known into their place; ties by the hash of the id."""
        for side, sign in _SIDES:
            tail = self._tails.setdefault((score, side), [])
            limit = tail[-1][0] if len(tail) == KEPT else np.inf
            signed = sign * values
            near = np.flatnonzero((signed <= limit) & np.isfinite(signed))
            if not len(near):
                continue
            if len(near) > KEPT:
                near = near[signed[near] <= np.partition(signed[near], KEPT - 1)[KEPT - 1]]
            ranks = hash64(docs.column(ID).take(pa.array(near)))
            for k in np.lexsort((ranks, signed[near]))[:KEPT].tolist():
                row, place = int(near[k]), (float(signed[near[k]]), int(ranks[k]))
                if len(tail) < KEPT or place < tail[-1][:2]:
                    tail.append((*place, _entry(docs, row, float(values[row]))))
                    tail.sort(key=lambda entry: entry[:2])
                    del tail[KEPT:]


def fold_scores(statistics: dict[str, Any]) -> None:
    """Count values beyond `GROUPS` as `OTHER`, in place: after each shard's statistics were added."""
    for scores in statistics.get(SCORES_BY, {}).values():
        names = dict.fromkeys(name for groups in scores.values() for name in groups)
        if len(names) > GROUPS:
            chosen = set(_chosen(names))
            for groups in scores.values():
                for name in [name for name in groups if name not in chosen and name != OTHER]:
                    add_nested(groups.setdefault(OTHER, {}), groups.pop(name))


def _chosen(names: Iterable[str]) -> list[str]:
    """Return the values that are told apart: of any set that has them, these have the lowest hashes."""
    known = [name for name in names if name != OTHER]
    return [known[k] for k in np.argsort(hash64(pa.array(known, pa.string())), kind="stable")[: GROUPS - 1].tolist()]


def merge_tails(into: dict[str, Any], other: Mapping[str, Any], keep: int = KEPT) -> None:
    """Add the tails of another shard: the utmost stay, and of equal ones those of the shard before."""
    for score, sides in other.items():
        mine = into.setdefault(score, {})
        for side, sign in _SIDES:
            entries = [*mine.get(side, []), *sides.get(side, [])]
            mine[side] = sorted(entries, key=lambda entry: sign * float(entry["value"]))[:keep]


def _entry(docs: pa.RecordBatch, row: int, value: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": docs.column(ID)[row].as_py(), "value": value}
    if "url" in docs.schema.names:
        entry["url"] = docs.column("url")[row].as_py()
    if TEXT in docs.schema.names:
        entry["excerpt"] = pc.utf8_slice_codeunits(docs.column(TEXT).slice(row, 1), 0, EXCERPT_CHARS)[0].as_py()
    return entry
