"""Exact thresholds out of core: the score at which the weights of documents, added up from one end, reach a target.

A score is a double. Its key is an unsigned 64-bit number in the same order, so that no comparison of doubles is left: bins are
the leading bits of keys, and rounds of 16 bits come down from 65,536 bins to one key. Each round needs a pass over keys and
weights, wherever they lie, and keeps only the bins:

| column  | is                                                                                  |
|---------|-------------------------------------------------------------------------------------|
| scored  | whether these documents have a score; those that have none lie in one bin of theirs |
| group   | the group that thresholds are found for; null is a group too                        |
| place   | the leading bits                                                                    |
| docs    | how many documents                                                                  |
| weight  | the sum of their weights                                                            |
| least   | the lowest key among them                                                           |
| most    | the highest                                                                         |

A mark is one target on its way. It is settled once all documents of its bin have the same key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROUNDS = 4
_BITS = 16
_SIGN = np.uint64(1 << 63)
Unit = Literal["docs", "chars", "bytes", "tokens"]
Group = str | None
Keys = np.ndarray[Any, np.dtype[np.uint64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Intervals = Mapping[Group, tuple[Keys, Keys]]
"""For each group, the lowest and the highest keys of the bins that go on; they do not overlap."""

BINS = pa.schema(
    {
        "scored": pa.bool_(),
        "group": pa.string(),
        "place": pa.uint64(),
        "docs": pa.int64(),
        "weight": pa.int64(),
        "least": pa.uint64(),
        "most": pa.uint64(),
    }
)


@dataclass(frozen=True)
class Mark:
    """A target and the bin in which it is reached: what comes before the bin, what lies in it, and the first key behind it."""

    group: Group
    target: int
    docs_before: int = 0
    weight_before: int = 0
    docs: int = 0
    weight: int = 0
    least: int = 0
    most: int = (1 << 64) - 1
    following: int | None = None
    reached: bool = True

    @property
    def settled(self) -> bool:
        """Whether one key is left."""
        return self.least == self.most


@dataclass(frozen=True)
class Weighed:
    """Keys and weights of documents; `codes` index the names of their groups."""

    keys: Keys
    weights: Numbers
    scored: Flags
    codes: Numbers
    names: Sequence[Group]

    def take(self, rows: Any) -> Weighed:
        """Return some of the documents."""
        return Weighed(self.keys[rows], self.weights[rows], self.scored[rows], self.codes[rows], self.names)


def keys_of(scores: pa.Array, highest: bool) -> tuple[Keys, Flags]:
    """Return the keys of numbers, in descending order of their values when `highest`, and which are neither null nor NaN."""
    floats = pc.fill_null(pc.cast(scores, pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False) + 0.0  # −0 is 0
    raw = floats.view(np.uint64)
    bits = np.where(raw & _SIGN, ~raw, raw | _SIGN)  # IEEE 754 in the order of its values
    return ~bits if highest else bits, ~np.isnan(floats)


def scores_of(keys: Keys, highest: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the numbers that have these keys."""
    bits = ~keys if highest else keys
    return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float64)


def score_of(key: int, highest: bool) -> float:
    """Return the number that has this key."""
    return float(scores_of(np.array([key], np.uint64), highest)[0])


def json_number(score: float) -> float | str:
    """Return a score as JSON can hold it: infinity is a word there, which `float` reads."""
    return score if np.isfinite(score) else str(score)


def weights_of(docs: pa.Array | None, unit: Unit, rows: int) -> Numbers:
    """Return what documents weigh: one each, or the length of their texts, or the tokens that a column counts; null weighs 0."""
    if unit == "docs" or docs is None:
        return np.ones(rows, np.int64)
    lengths = docs if unit == "tokens" else pc.utf8_length(docs) if unit == "chars" else pc.binary_length(docs)
    return np.asarray(pc.fill_null(pc.cast(lengths, pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)


def coded(labels: pa.Array | pa.ChunkedArray) -> tuple[Numbers, list[Group]]:
    """Return the number of each label, and the labels; null is the last of them."""
    encoded = pc.cast(labels, pa.string()).dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    names: list[Group] = [*encoded.dictionary.to_pylist(), None]
    codes = pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), names


def binned(docs: Weighed, rounds: int) -> pa.Table:
    """Return the bins of documents by so many rounds of leading bits."""
    shift = np.uint64(64 - _BITS * rounds)
    places = np.where(docs.scored, docs.keys >> shift, np.uint64(0))
    order = np.lexsort((docs.keys, docs.codes, docs.scored))
    scored, codes, places, keys = docs.scored[order], docs.codes[order], places[order], docs.keys[order]
    changes = (scored[1:] != scored[:-1]) | (codes[1:] != codes[:-1]) | (places[1:] != places[:-1])
    first = np.flatnonzero(np.concatenate([[True], changes]))[: len(keys)]
    last = np.append(first[1:], len(keys))[: len(first)]
    weight = np.add.reduceat(docs.weights[order], first) if len(first) else np.zeros(0, np.int64)
    names = pa.array(docs.names, pa.string()).take(pa.array(codes[first]))
    return pa.table([scored[first], names, places[first], last - first, weight, keys[first], keys[last - 1]], schema=BINS)


def merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Add bins up, in the order of groups and places."""
    sums: list[Any] = [("docs", "sum"), ("weight", "sum"), ("least", "min"), ("most", "max")]
    table = pa.concat_tables([BINS.empty_table(), *tables]).combine_chunks()
    added = table.group_by(["scored", "group", "place"], use_threads=False).aggregate(sums).rename_columns(BINS.names).cast(BINS)
    return added.sort_by([("scored", "ascending"), ("group", "ascending"), ("place", "ascending")])


def inside(docs: Weighed, intervals: Intervals) -> Weighed:
    """Return the documents that lie in bins that go on."""
    order = np.argsort(docs.codes, kind="stable")
    edges = np.searchsorted(docs.codes[order], np.arange(len(docs.names) + 1))
    chosen = []
    for code, name in enumerate(docs.names):
        rows = order[edges[code] : edges[code + 1]]
        if name in intervals and len(rows):
            least, most = intervals[name]
            place = np.searchsorted(least, docs.keys[rows], side="right") - 1
            chosen.append(rows[docs.scored[rows] & (place >= 0) & (docs.keys[rows] <= most[place])])
    return docs.take(np.concatenate(chosen) if chosen else np.zeros(0, np.int64))


def intervals_of(marks: Iterable[Mark]) -> dict[Group, tuple[Keys, Keys]]:
    """Return the bins of the marks that are not settled."""
    found: dict[Group, set[tuple[int, int]]] = defaultdict(set)
    for mark in marks:
        if not mark.settled and mark.docs:
            found[mark.group].add((mark.least, mark.most))
    bins = {group: np.array(sorted(pairs), np.uint64).T for group, pairs in found.items()}
    return {group: (pairs[0], pairs[1]) for group, pairs in bins.items()}


def scored_groups(bins: pa.Table) -> Iterator[tuple[Group, dict[str, Any]]]:
    """Yield each group's bins of documents with scores, as a column each."""
    table = bins.filter(bins.column("scored"))
    codes, names = coded(table.column("group"))
    columns = {name: table.column(name).to_numpy() for name in BINS.names[2:]}
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        if len(rows):
            yield name, {key: values[rows] for key, values in columns.items()}


def advanced(marks: Sequence[Mark], bins: pa.Table) -> list[Mark]:
    """Return the marks, each in the one of these bins in which it is reached, or in its last one when it is not."""
    found = dict(scored_groups(bins))
    return [mark if mark.group not in found or mark.settled else _advanced(mark, found[mark.group]) for mark in marks]


def _advanced(mark: Mark, bins: Mapping[str, Any]) -> Mark:
    start, stop = (int(np.searchsorted(bins["least"], np.uint64(key), side=side)) for key, side in _edges(mark))
    if start == stop:
        return mark
    weights, docs = bins["weight"][start:stop], bins["docs"][start:stop]
    reach = mark.weight_before + np.cumsum(weights)
    at = int(np.searchsorted(reach, mark.target))
    reached, at = at < len(reach), min(at, len(reach) - 1)
    following = int(bins["least"][start + at + 1]) if at + 1 < len(reach) else mark.following
    return replace(
        mark,
        docs_before=mark.docs_before + int(docs[:at].sum()),
        weight_before=mark.weight_before + int(weights[:at].sum()),
        docs=int(docs[at]),
        weight=int(weights[at]),
        least=int(bins["least"][start + at]),
        most=int(bins["most"][start + at]),
        following=following,
        reached=mark.reached and reached,
    )


def _edges(mark: Mark) -> tuple[tuple[int, Literal["left"]], tuple[int, Literal["right"]]]:
    return (mark.least, "left"), (mark.most, "right")
