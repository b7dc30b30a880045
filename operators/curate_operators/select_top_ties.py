"""Which of the documents whose score is the threshold itself are kept: the first ones by id, until the budget is reached.

Scores of few different values leave ties of any size, so no task holds them. `ties` sorts each shard's own by id and draws some ids;
`split` weighs the ties between drawn ids, and the budget is reached in one stretch of a thousandth or so; `collect` sends that
stretch through the shuffle; `cut` sorts it and finds the last id that is kept.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import shuffle
from curate.dataset import read_shard
from curate.document import ID
from curate.shuffle import Range, ShuffleFile
from curate.thresholds import Group, Mark, Weighed, advanced, binned, coded
from curate.work import Place, Work
from curate_operators.quantile_rounds import Item, summed, weighed

DRAWN, SPLITTERS = 64, 1000
TIED = pa.schema({"group": pa.string(), "id": pa.string(), "weight": pa.int64()})
STRETCH = pa.schema({"id": pa.string(), "weight": pa.int64()})


@dataclass(frozen=True)
class Cut:
    """The last id that is kept at the threshold, and how many documents of what weight are kept in all."""

    id: str
    docs: int
    weight: int


def cuts(work: Work, items: Sequence[Item], local: Sequence[str], marks: Sequence[Mark]) -> dict[Group, Cut]:
    """Return where the ties of each group are cut, for groups in which they are."""
    tied = {mark.group: mark for mark in marks if mark.reached and mark.target > 0 and mark.docs > 1}
    if not tied:
        return {}
    keys = [[group, mark.least] for group, mark in tied.items()]
    found = work.map("ties", tie_shard, [item | {"local": path, "keys": keys} for item, path in zip(items, local, strict=True)])
    paths, drawn = [result["ties"] for result in found if result["ties"]], _splitters([result["drawn"] for result in found])
    splitters = [[group, ids] for group, ids in drawn.items()]
    bins = summed(work, "sum_ties", work.map("split", split_shard, [{"ties": path, "splitters": splitters} for path in paths]))
    begun = [Mark(group, mark.target, mark.docs_before, mark.weight_before) for group, mark in tied.items()]
    stretches = advanced(begun, bins)
    bounds = [[stretch.group, *_bounds(drawn[stretch.group], stretch.least)] for stretch in stretches]
    sent = work.map("collect", collect_shard, [{"ties": path, "bounds": bounds} for path in paths])
    parts = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in sent])
    asked = [
        {"parts": [asdict(part) for part in group], "weight_before": stretch.weight_before, "target": stretch.target}
        for group, stretch in zip(parts, stretches, strict=True)
    ]
    results = work.map("cut", cut_group, asked)
    return {
        stretch.group: Cut(result["id"], stretch.docs_before + result["docs"], stretch.weight_before + result["weight"])
        for stretch, result in zip(stretches, results, strict=True)
    }


def _splitters(drawn: Sequence[Sequence[tuple[Group, list[str]]]]) -> dict[Group, list[str]]:
    """Return ids in order that cut each group's ties into stretches of about the same length."""
    groups = dict.fromkeys(group for found in drawn for group, _ in found)
    chosen: dict[Group, list[str]] = {}
    for group in groups:
        ids = list(dict.fromkeys(heapq.merge(*(ids for found in drawn for name, ids in found if name == group))))
        chosen[group] = ids if len(ids) <= SPLITTERS else [ids[i] for i in np.linspace(0, len(ids) - 1, SPLITTERS).astype(int)]
    return chosen


def _bounds(ids: Sequence[str], stretch: int) -> tuple[str | None, str | None]:
    """Return the ids that a stretch lies behind and reaches to; None where it has no end."""
    return (ids[stretch - 1] if stretch else None), (ids[stretch] if stretch < len(ids) else None)


def tie_shard(item: Item, place: Place) -> dict[str, Any]:
    """Keep the ids and weights of a shard's ties, in the order of their groups and ids."""
    docs = weighed(place.read_table(item["local"]))
    keys, limited = _by_code(docs.names, item["keys"])
    tied = docs.scored & limited[docs.codes] & (docs.keys == keys[docs.codes])
    if not tied.any():
        return {"ties": None, "drawn": []}
    groups = pa.array(docs.names, pa.string()).take(pa.array(docs.codes[tied]))
    table = pa.table([groups, _ids(item["documents"], place, tied), docs.weights[tied]], schema=TIED)
    table = table.sort_by([("group", "ascending"), ("id", "ascending")])
    drawn = [
        [group, list(dict.fromkeys(rows.column(ID).take(pa.array(_spread(rows.num_rows))).to_pylist()))] for group, rows in _by_group(table)
    ]
    return {"ties": place.write_table("ties", table), "drawn": drawn}


def _by_code(names: Sequence[Group], keys: Sequence[Sequence[Any]]) -> tuple[Any, Any]:
    """Return the key of each group by its code, and which groups have one."""
    found = {group: key for group, key in keys if key is not None}
    return np.array([found.get(name, 0) for name in names], np.uint64), np.array([name in found for name in names], bool)


def _ids(path: str, place: Place, chosen: Any) -> pa.ChunkedArray:
    parts, begun = [pa.array([], pa.string())], 0
    for batch in read_shard(place.storage, path, [ID]):
        rows = np.flatnonzero(chosen[begun : begun + batch.num_rows])
        parts.append(batch.column(ID).take(pa.array(rows)).cast(pa.string()))
        begun += batch.num_rows
    return pa.chunked_array(parts)


def _spread(rows: int) -> Any:
    return np.unique(np.linspace(0, rows - 1, min(rows, DRAWN)).astype(np.int64))


def _by_group(table: pa.Table) -> Iterator[tuple[Group, pa.Table]]:
    """Yield the rows of each group of a table that is in their order."""
    codes, names = coded(table.column("group"))
    first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))[: len(codes)]
    for start, stop in zip(first, np.append(first[1:], len(codes)), strict=False):
        yield names[codes[start]], table.slice(start, stop - start)


def split_shard(item: Item, place: Place) -> dict[str, str]:
    """Weigh a shard's ties between splitters; the number of the stretch is their key."""
    splitters, tables = dict(item["splitters"]), []
    for group, rows in _by_group(place.read_table(item["ties"])):
        ids = rows.column(ID).combine_chunks()
        edges = [_behind(ids, splitter) for splitter in splitters[group]]
        keys = np.searchsorted(edges, np.arange(len(ids)), side="right").astype(np.uint64)
        same = np.zeros(len(ids), np.int64)
        tables.append(binned(Weighed(keys, rows.column("weight").to_numpy(), same == 0, same, [group]), rounds=4))
    return {"bins": place.write_table("bins", pa.concat_tables(tables))}


def _behind(ids: pa.Array, splitter: str | None) -> int:
    """Return how many of ids in order are not behind a splitter."""
    return bisect_right(range(len(ids)), splitter, key=lambda i: ids[i].as_py()) if splitter is not None else 0


def collect_shard(item: Item, place: Place) -> dict[str, Any]:
    """Send the ties of each group's stretch on, a partition for each group."""
    bounds = {group: (number, low, high) for number, (group, low, high) in enumerate(item["bounds"])}
    batches = []
    for group, rows in _by_group(place.read_table(item["ties"])):
        number, low, high = bounds[group]
        ids = rows.column(ID).combine_chunks()
        start, stop = _behind(ids, low), _behind(ids, high) if high is not None else len(ids)
        stretch = rows.select(STRETCH.names).slice(start, stop - start).combine_chunks().cast(STRETCH)
        batches += [(np.full(batch.num_rows, number), batch) for batch in stretch.to_batches()]
    return asdict(place.write_shuffle(len(bounds), STRETCH, iter(batches)))


def cut_group(item: Item, place: Place) -> dict[str, Any]:
    """Find the id with which the budget is reached; documents with that very id are kept together."""
    rows = pa.Table.from_batches(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], STRETCH), STRETCH)
    rows = rows.sort_by([(ID, "ascending")])
    ids, reach = rows.column(ID).combine_chunks(), np.cumsum(rows.column("weight").to_numpy())
    at = int(np.searchsorted(item["weight_before"] + reach, item["target"]))
    last = ids[at].as_py()
    kept = _behind(ids, last)
    return {"id": last, "docs": kept, "weight": int(reach[kept - 1])}


def kept_at(docs: Weighed, choices: Sequence[Sequence[Any]]) -> tuple[Any, Any, pa.Array]:
    """Return which documents come before their group's threshold, which are at it, and the last id that is kept there (null = all are)."""
    keys, limited = _by_code(docs.names, [[group, key] for group, key, _ in choices])
    last = {group: id_ for group, _, id_ in choices}
    limits, has = keys[docs.codes], docs.scored & limited[docs.codes]
    ids = pa.array([last.get(name) for name in docs.names], pa.string()).take(pa.array(docs.codes))
    return has & (docs.keys < limits), has & (docs.keys == limits), ids
