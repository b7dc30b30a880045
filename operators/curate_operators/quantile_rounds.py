"""The phases in which scores of a whole dataset come down to exact thresholds, for `select_top` and `calibrate`.

`measure` reads each shard's columns once and keeps 17 bytes per document: key, weight, state and group. Each round of `bins`
counts them by 16 more bits of the key, where thresholds may still be; `sum` adds the bins of many shards up, so that the driver
holds the bins of a few, however many shards there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside
from curate.document import TEXT, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.thresholds import ROUNDS, Group, Mark, Unit, Weighed, advanced, binned, coded, inside, intervals_of, keys_of, merged, weights_of
from curate.work import Place, Work

Item = dict[str, Any]
SCORED, NO_SCORE, NO_TOKENS = 0, 1, 2
MAX_GROUPS = 10_000
SHARDS_PER_SUM = 64


@dataclass(frozen=True)
class Ranking:
    """What documents are ordered by, what each weighs, and which of them compete with one another."""

    column: str
    highest: bool = True
    unit: Unit = "docs"
    tokens: str | None = None
    group_by: str | None = None

    @property
    def weighs(self) -> str | None:
        """The column that weights are taken from."""
        return None if self.unit == "docs" else self.tokens if self.unit == "tokens" else TEXT

    @property
    def paths(self) -> tuple[str, ...]:
        """The columns that are read, dotted paths included."""
        return tuple(dict.fromkeys(path for path in (self.column, self.weighs, self.group_by) if path is not None))

    def verify(self, use: str, schema: pa.Schema) -> None:
        """Raise `PipelineError` when columns that are there are not numbers, or no labels."""
        for path, kinds, wanted in (
            (self.column, (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal), "a number"),
            (self.tokens, (pa.types.is_integer,), "a whole number"),
            (self.group_by, (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean), "a label"),
        ):
            kind = _value_type(schema, path) if path is not None else None
            if kind is not None and not any(test(kind) for test in kinds):
                fields = f"name a field of it: {', '.join(f'{path}.{field.name}' for field in kind)}" if pa.types.is_struct(kind) else None
                raise PipelineError(f"{use}: column `{path}` is {kind}, not {wanted}", fields)


def _value_type(schema: pa.Schema, path: str) -> pa.DataType | None:
    kind = type_at(schema, path)
    return kind.value_type if kind is not None and pa.types.is_dictionary(kind) else kind


def measure_shard(item: Item, place: Place) -> dict[str, str]:
    """Keep a shard's keys, weights, states and groups, and their bins by the leading 16 bits."""
    ranking = Ranking(**item["ranking"])
    tables = [_measured(docs, ranking) for docs in beside.read(item, place, ranking.paths)]
    local = pa.concat_tables([_LOCAL.empty_table(), *tables]).combine_chunks()
    if pc.count_distinct(local.column("group")).as_py() > MAX_GROUPS:
        raise _too_many(ranking)
    return {"local": place.write_table("keys", local), "bins": place.write_table("bins", binned(weighed(local), 1))}


_LOCAL = pa.schema({"key": pa.uint64(), "weight": pa.int64(), "state": pa.uint8(), "group": pa.string()})


def _measured(docs: pa.RecordBatch, ranking: Ranking) -> pa.Table:
    keys, scored = keys_of(leaf(docs, ranking.column), ranking.highest)
    state = np.where(scored, SCORED, NO_SCORE).astype(np.uint8)
    given = leaf(docs, ranking.weighs) if ranking.weighs is not None else None
    weights = weights_of(given, ranking.unit, docs.num_rows)
    if ranking.unit == "tokens" and given is not None:
        state[given.is_null().to_numpy(zero_copy_only=False) & scored] = NO_TOKENS
        if (weights < 0).any():
            raise OperatorError(f"column `{ranking.tokens}` counts less than no tokens, such as {weights.min()}", "name a column of counts")
    group = leaf(docs, ranking.group_by).cast(pa.string()) if ranking.group_by is not None else pa.nulls(docs.num_rows, pa.string())
    return pa.table([keys, weights, state, group], schema=_LOCAL)


def weighed(local: pa.Table) -> Weighed:
    """Return what `measure_shard` kept."""
    codes, names = coded(local.column("group"))
    scored = local.column("state").to_numpy() == SCORED
    return Weighed(local.column("key").to_numpy(), local.column("weight").to_numpy(), scored, codes, names)


def bin_shard(item: Item, place: Place) -> dict[str, str]:
    """Count a shard's documents by more bits of their keys, in the bins that go on."""
    bins = {group: (np.array(least, np.uint64), np.array(most, np.uint64)) for group, least, most in item["intervals"]}
    docs = inside(weighed(place.read_table(item["local"])), bins)
    return {"bins": place.write_table("bins", binned(docs, item["rounds"]))}


def sum_bins(item: Item, place: Place) -> str:
    """Add up the bins of several shards."""
    return place.write_table("bins", merged([place.read_table(path) for path in item["bins"]]))


def summed(work: Work, phase: str, found: Sequence[dict[str, str]]) -> pa.Table:
    """Return the bins of all shards."""
    paths = [result["bins"] for result in found]
    items = [{"bins": paths[i : i + SHARDS_PER_SUM]} for i in range(0, len(paths), SHARDS_PER_SUM)]
    place = Place(work.storage, work.scratch)
    bins = merged([])
    for path in work.map(phase, sum_bins, items):
        bins = merged([bins, place.read_table(path)])
    return bins


def measured(work: Work, items: Sequence[Item], ranking: Ranking, sizes: Sequence[int]) -> tuple[list[str], pa.Table]:
    """Return where each shard's keys are kept, and the bins of all by their leading 16 bits."""
    found = work.map("measure", measure_shard, [item | {"ranking": asdict(ranking)} for item in items], sizes)
    bins = summed(work, "sum", found)
    if pc.count_distinct(bins.column("group"), mode="all").as_py() > MAX_GROUPS:
        raise _too_many(ranking)
    return [result["local"] for result in found], bins


def settled(work: Work, local: Sequence[str], marks: Sequence[Mark], bins: pa.Table, beside: Sequence[Mark] = ()) -> list[Mark]:
    """Return the marks, each with one key left, or with no document when its group has no scores.

    Marks `beside` them follow, as near to one key as the rounds have brought them that the others needed.
    """
    found = advanced([*marks, *beside], bins)
    for rounds in range(2, ROUNDS + 1):
        if not intervals_of(found[: len(marks)]):
            break
        bins_left = [[group, *(keys.tolist() for keys in pair)] for group, pair in intervals_of(found).items()]
        items = [{"local": path, "intervals": bins_left, "rounds": rounds} for path in local]
        found = advanced(found, summed(work, f"sum{rounds}", work.map(f"bins{rounds}", bin_shard, items)))
    return found


def totals(bins: pa.Table) -> dict[Group, dict[str, int]]:
    """Return documents, their weight, and how many have a score, of each group, in the order of their names."""
    sums = bins.group_by(["scored", "group"], use_threads=False).aggregate([("docs", "sum"), ("weight", "sum")]).to_pylist()
    found: dict[Group, dict[str, int]] = {}
    for row in sorted(sums, key=lambda row: (row["group"] is None, row["group"] or "")):
        group = found.setdefault(row["group"], {"docs": 0, "weight": 0, "scored": 0})
        group["docs"] += row["docs_sum"]
        group["weight"] += row["weight_sum"]
        group["scored"] += row["docs_sum"] if row["scored"] else 0
    return found


def write_json(item: Item, place: Place) -> str:
    """Write data as a JSON file and return its path in the storage."""
    path = f"{place.prefix}.file.json"
    with place.storage.open_output(path) as out:
        out.write(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE))
    return path


def _too_many(ranking: Ranking) -> OperatorError:
    return OperatorError(f"column `{ranking.group_by}` has more than {MAX_GROUPS:,} values", "group by a column of fewer: source, language")
