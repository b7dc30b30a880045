"""Marks documents whose text, address or any other column is the same as that of another one.

Emits attributes, one row per document, in its order:

| column     | type   | is                                                                        |
|------------|--------|---------------------------------------------------------------------------|
| id         | string | the document                                                              |
| keep       | bool   | whether it stays                                                          |
| cluster    | string | the document that stays of those that are equal; null if it has no equal  |
| kept_id    | string | the document that stays in its place, null if `keep`                      |
| similarity | double | 1.0 for a duplicate, null if `keep`                                       |
| reason     | string | `duplicate`, null if `keep`                                               |

Three phases. `hash` reads each shard once and keeps 16 bytes per document, its 128-bit key, and 8 for each rule of `keep`. The
best document of each key in the shard goes through the shuffle, so a key that half of the corpus shares costs one row per
shard. `decide` finds each key's best shard. `mark` writes the attributes. A document whose column is null repeats nothing and
always stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT, leaf
from curate.errors import DatasetError
from curate.protocols import DatasetOperator
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work
from curate_operators import copy_order, removal_guard
from curate_operators.exact_dedup_keys import Form, Keys, grouped, looked_up, value_keys
from curate_operators.web_address_forms import TRACKING

ANSWER = pa.schema({"high": pa.uint64(), "low": pa.uint64(), "shard": pa.uint32(), "id": pa.string()})
"""What a shard is told of a key that other shards have too: the shard and the id of the document that stays."""

FORMS: Mapping[str, Form] = {TEXT: "layout", "url": "address"}


@dataclass(frozen=True)
class ExactDedup(DatasetOperator):
    """Marks exact duplicates and keeps one of each, the first unless `keep` says otherwise.

    ## What it does
    Documents whose column `by` is equal in the form `compare` are duplicates; `keep` says which of them stays. Nothing is
    removed here: `apply` on a later stage does that, with the kept document and the similarity as evidence.

    ## Why
    Exact copies are the cheapest duplicates to find and the most common in crawls (mirrors, reprints, error pages).

    ## Example
        dedup: {from: clean, use: exact_dedup}
        by_address:
          from: clean
          use: exact_dedup
          params: {by: url, keep: [{prefer: {source: [wiki, web]}}, {latest: date}]}
        corpus: {from: [clean, dedup, by_address], apply: [dedup, by_address]}

    ## Parameters
    - `by`: the column to compare, such as `text`, `url` or `meta.host`; where it is null the document always stays.
    - `compare`: `layout` ignores case and how much white space there is; `words` ignores punctuation too, and the differences
      that Unicode calls compatible (NFKC: ligatures, full-width letters), except in texts of nothing but punctuation;
      `address` compares web addresses in one form (`web_address_forms.py`); `exact` ignores nothing. Null is `layout` for the
      column `text`, `address` for `url`, and `exact` for all others.
    - `keep`: `first`, `longest`, `shortest`, `{highest: COLUMN}`, `{lowest: COLUMN}`, `{latest: COLUMN}`, `{earliest: COLUMN}`,
      `{prefer: {COLUMN: [A, B]}}`, or a list of these, each deciding where those before it leave a tie. The dataset's order
      decides at last.
    - `tracking`: parameters of addresses that do not count, for `address`; `*` stands for any end of the name.
    - `ignore_scheme`, `ignore_www`: whether `https` is `http`, and `www.example.com` is `example.com`, for `address`.
    - `max_removed_ratio_per_source`: a warning when more than this share of a source's documents goes; `{ratio: 0.5, column: url,
      min_documents: 100, otherwise: fail}` judges another column (addresses by host), or ends the run; null = off.

    ## Source
    Equality of 128-bit xxh3 hashes; two different texts collide with probability 2⁻¹²⁸ per pair.
    """

    version: ClassVar[int] = 2
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    by: str = "text"
    compare: Form | None = None
    keep: str | dict[str, Any] | list[str | dict[str, Any]] = "first"
    tracking: tuple[str, ...] = TRACKING
    ignore_scheme: bool = True
    ignore_www: bool = False
    max_removed_ratio_per_source: float | dict[str, Any] | None = 0.5

    def __post_init__(self) -> None:
        copy_order.parse(self.keep)
        removal_guard.parse(self.max_removed_ratio_per_source)

    def reads(self) -> tuple[str, ...]:
        rules = [rule.column for rule in copy_order.parse(self.keep)]
        return tuple(dict.fromkeys([self.by, *rules, *removal_guard.columns(self.max_removed_ratio_per_source)]))

    def verify(self, schema: pa.Schema) -> None:
        for rule in copy_order.parse(self.keep):
            rule.verify(schema)

    def adds(self) -> Mapping[str, pa.DataType]:
        text = pa.string()
        return {"keep": pa.bool_(), "cluster": text, "kept_id": text, "similarity": pa.float64(), "reason": text}

    def keys(self, docs: pa.RecordBatch) -> Keys:
        """Return the key of each document."""
        form = self.compare or FORMS.get(self.by, "exact")
        return value_keys(leaf(docs, self.by), docs.column(ID), form, (self.tracking, self.ignore_scheme, self.ignore_www))

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents = inputs[0]
        paths = [documents.shard_path(i) for i in range(len(documents.manifest.shards))]
        sizes = [shard.data.bytes for shard in documents.manifest.shards]
        rules = len(copy_order.parse(self.keep))
        partitions = shuffle.partitions_for(documents.rows, row_bytes=64 + 8 * rules)
        items = [{"path": path, "shard": i, "operator": asdict(self), "partitions": partitions} for i, path in enumerate(paths)]
        hashed = work.map("hash", hash_shard, items, sizes)
        parts = shuffle.ranges(work.storage, [ShuffleFile(**result["shuffle"]) for result in hashed])
        groups = [{"parts": [asdict(part) for part in group], "shards": len(paths), "rules": rules} for group in parts]
        answers = shuffle.ranges(work.storage, [ShuffleFile(**result) for result in work.map("decide", decide_partition, groups)])
        marks = [
            {"path": path, "shard": i, "by": self.by, "local": hashed[i]["local"], "parts": [asdict(part) for part in answers[i]]}
            for i, path in enumerate(paths)
        ]
        work.write_shards(mark_shard, marks, sizes)
        removal_guard.judge(self.max_removed_ratio_per_source, "exact_dedup", documents, work)


def sent(rules: int) -> pa.Schema:
    """Return what passes through the shuffle: the best document of each key in each shard, and how good it is by each rule."""
    return pa.schema([*ANSWER, *(pa.field(f"rank{i}", pa.uint64()) for i in range(rules))])


def hash_shard(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Hash one shard's documents; keep all keys locally, send the best of each key into the shuffle."""
    operator = ExactDedup(**item["operator"] | {"tracking": tuple(item["operator"]["tracking"])})
    rules = copy_order.parse(operator.keep)
    heads = list(dict.fromkeys([ID, *(path.partition(".")[0] for path in operator.reads())]))
    keys, ranks, ids = [Keys.empty()], [np.empty((len(rules), 0), np.uint64)], [pa.array([], pa.string())]
    for batch in read_shard(place.storage, item["path"], heads):
        keys.append(operator.keys(batch))
        ranks.append(np.array([rule.rank(batch) for rule in rules], np.uint64).reshape(len(rules), batch.num_rows))
        ids.append(batch.column(ID).cast(pa.string()))
    key, rank = Keys.joined(keys), np.concatenate(ranks, axis=1)
    best, _ = grouped(key, rank)
    columns = {"high": key.high, "low": key.low} | {f"rank{i}": rank[i] for i in range(len(rules))}
    chosen = {name: values[best] for name, values in columns.items()}
    chosen |= {"shard": np.full(len(best), item["shard"], np.uint32), "id": pa.concat_arrays(ids).take(pa.array(best))}
    rows = pa.RecordBatch.from_pydict(chosen, sent(len(rules)))
    file = place.write_shuffle(item["partitions"], rows.schema, iter([(key.high[best] % np.uint64(item["partitions"]), rows)]))
    return {"local": place.write_table("keys", pa.table(columns)), "shuffle": asdict(file)}


def decide_partition(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Find the best document of each key, and tell every shard that has the key if there is more than one."""
    schema = sent(item["rules"])
    rows = list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], schema))
    table = pa.Table.from_batches(rows, schema).combine_chunks()
    key = Keys(table.column("high").to_numpy(), table.column("low").to_numpy())
    best, group = grouped(key, _ranks(table, item["rules"]))  # rows lie in the order of their shards, so that ties go to the first
    shared = np.flatnonzero(np.bincount(group, minlength=len(best))[group] > 1)
    winner = pa.array(best[group[shared]])
    answer = pa.RecordBatch.from_pydict(
        {
            "high": key.high[shared],
            "low": key.low[shared],
            "shard": table.column("shard").take(winner).combine_chunks(),
            "id": table.column("id").take(winner).combine_chunks(),
        },
        ANSWER,
    )
    told = table.column("shard").to_numpy()[shared].astype(np.int64)
    return asdict(place.write_shuffle(item["shards"], ANSWER, iter([(told, answer)])))


def mark_shard(item: dict[str, Any], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    local = place.read_table(item["local"])
    key = Keys(local.column("high").to_numpy(), local.column("low").to_numpy())
    best, group = grouped(key, _ranks(local, local.num_columns - 2))
    told = shuffle.read(place.storage, [Range(**part) for part in item["parts"]], ANSWER)
    answers = pa.Table.from_batches(told, ANSWER).combine_chunks()
    ids = pa.concat_arrays([b.column(ID) for b in read_shard(place.storage, item["path"], [ID])] or [pa.array([], pa.string())])
    if len(ids) != len(key.high):
        raise DatasetError(f"{item['path']} changed: {len(ids)} rows, {len(key.high)} were hashed", "run again")
    answer = looked_up(Keys(key.high[best], key.low[best]), Keys(answers.column("high").to_numpy(), answers.column("low").to_numpy()))
    marks = _marked(ids, best, group, _elsewhere(answers, answer, item["shard"]))
    if item["by"] != ID:
        copy_order.verify_others(ids, marks.column("kept_id"), item["path"])
    yield marks


def _elsewhere(answers: pa.Table, answer: Any, shard: int) -> tuple[Any, pa.Array]:
    """Return for each key of a shard whether others have it, and the id that stays there, null where it is this shard's."""
    shared = answer >= 0
    winner = answers.column("shard").take(pa.array(answer, mask=~shared)).fill_null(shard).to_numpy()
    return shared, answers.column("id").take(pa.array(answer, mask=winner == shard)).combine_chunks()


def _marked(ids: pa.Array, best: Any, group: Any, elsewhere: tuple[Any, pa.Array]) -> pa.RecordBatch:
    shared, foreign = elsewhere
    stays = pc.coalesce(foreign, ids.take(pa.array(best))).take(pa.array(group))
    here = foreign.is_null().to_numpy(zero_copy_only=False)
    keep = here[group] & (best[group] == np.arange(len(ids)))
    alone = ~shared & (np.bincount(group, minlength=len(best)) == 1)
    kept, none = pa.array(keep), pa.scalar(None, pa.string())
    return pa.RecordBatch.from_pydict(
        {
            "id": ids,
            "keep": kept,
            "cluster": pc.if_else(pa.array(alone[group]), none, stays),
            "kept_id": pc.if_else(kept, none, stays),
            "similarity": pa.array(np.ones(len(keep)), mask=keep),
            "reason": pc.if_else(kept, none, "duplicate"),
        }
    )


def _ranks(table: pa.Table, rules: int) -> list[Any]:
    return [table.column(f"rank{i}").to_numpy() for i in range(rules)]
