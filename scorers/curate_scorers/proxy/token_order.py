"""Brings the tokens of all documents into one random order: by a seeded hash of the id, in partitions of bounded size.

The order is the same for any number of workers and any layout of shards, so what is made of it is, too.

    count    per shard: documents and tokens
    send     per shard: its tokens into the shuffle, in the smallest type that holds the vocabulary
    receive  per partition: its documents in order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, shuffle
from curate.beside import Item
from curate.dataset import Dataset
from curate.document import ID, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.pipeline_graph import REFERENCE
from curate.protocols import Operator
from curate.report.units import plural
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work
from curate_scorers.proxy.tokenize import Tokenize
from curate_scorers.proxy.tokenizer_files import Tokenizer

PART_BYTES = 128 << 20  # of tokens in a file; a task holds about four times as much
SOURCES = "TOKENS"

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """Documents in order: their tokens lie in `values` from `begin` on, `length` of each."""

    ids: pa.Array
    values: npt.NDArray[Any]
    begin: Integers
    length: Integers


def verify_column(use: str, schema: pa.Schema, path: str) -> None:
    """Raise `PipelineError` when a column holds no tokens."""
    kind = type_at(schema, path)
    if kind is None or (is_list(kind) and pa.types.is_integer(kind.value_type)):
        return
    inside = [f"`{path}.{one.name}`" for one in kind if is_list(one.type)] if pa.types.is_struct(kind) else []
    hint = f"name {inside[0]}" if inside else "name the column that `tokenize` made: `tokens.tokens.ids`"
    raise PipelineError(f"{use}: column `{path}` is {kind}, not a list of tokens", hint)


def verify_tokenizer(use: str, tokenizer: str, column: str, stages: Mapping[str, Sequence[Operator]]) -> None:
    """Raise `PipelineError` when the stage that a column comes from tokenises with that of another stage than `tokenizer` names."""
    stage = column.partition(".")[0]
    makers = [each.tokenizer for each in stages.get(stage, ()) if isinstance(each, Tokenize)]
    if makers and tokenizer not in makers and all(name.startswith(REFERENCE) for name in (tokenizer, *makers)):
        told = f"{use}: `{stage}` makes its tokens with `{makers[0]}`, not with `{tokenizer}`"
        raise PipelineError(told, "give the tokenizer that made the tokens")


def is_list(kind: pa.DataType) -> bool:
    """Tell whether values of a type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def partitions(use: str, inputs: Sequence[Dataset], column: str, tokenizer: Tokenizer, seed: int, work: Work) -> tuple[list[Item], Item]:
    """Send all tokens into their order; return what `receive` needs for each partition, and the counts of all documents."""
    shared = {"column": column, "size": tokenizer.size, "seed": seed, "use": use}
    items = [item | shared for item in beside.shard_items(use, inputs, SOURCES)]
    sizes = [shard.data.bytes for shard in inputs[0].manifest.shards]
    counts: Item = {"documents": 0, "tokens": 0, "empty": 0}
    for counted in work.map("count", count_shard, items, sizes):
        counts = {name: counts[name] + counted[name] for name in counts}
    if not counts["tokens"]:
        hint = "look at what is left of the corpus, and whether it was tokenised"
        raise OperatorError(f"{use}: {plural(counts['documents'], 'document')} without a single token", hint)
    number = -(-counts["tokens"] * tokenizer.dtype.itemsize // PART_BYTES)
    files = work.map("send", send_shard, [item | {"partitions": number} for item in items], sizes)
    parts = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in files])
    return [shared | {"parts": [asdict(part) for part in group]} for group in parts], counts


def count_shard(item: Item, place: Place) -> Item:
    """Count a shard's documents, their tokens, and the documents that have none."""
    counts = {"documents": 0, "tokens": 0, "empty": 0}
    for docs in beside.read(item, place, [item["column"]]):
        lengths = _lengths(leaf(docs, item["column"]))
        counts["documents"] += len(lengths)
        counts["tokens"] += int(lengths.sum())
        counts["empty"] += int(np.count_nonzero(lengths == 0))
    return counts


def send_shard(item: Item, place: Place) -> Item:
    """Send the documents of a shard that have tokens into the shuffle."""
    return asdict(place.write_shuffle(item["partitions"], _schema(item), _sent(item, place)))


def receive(item: Item, place: Place) -> Documents:
    """Return the documents of a partition in their order."""
    batches = list(shuffle.read(place.storage, [Range(**part) for part in item["parts"]], _schema(item)))
    table = pa.Table.from_batches(batches, _schema(item)).combine_chunks()
    order = pc.sort_indices(table.select(["order", ID]), [("order", "ascending"), (ID, "ascending")])
    tokens = table.column("tokens").combine_chunks()
    lengths = _lengths(tokens)
    begins = np.cumsum(lengths) - lengths
    ids = table.column(ID).combine_chunks().take(order)
    return Documents(ids, tokens.flatten().to_numpy(), begins[order.to_numpy()], lengths[order.to_numpy()])


def _sent(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    schema = _schema(item)
    for docs in beside.read(item, place, [item["column"]]):
        lists = leaf(docs, item["column"])
        full = _lengths(lists) > 0
        ids, lists = docs.column(ID).cast(pa.string()).filter(pa.array(full)), lists.filter(pa.array(full))
        _check(item, ids, lists)
        order = hash64(ids, item["seed"])
        where = ((order >> np.uint64(32)) * np.uint64(item["partitions"])) >> np.uint64(32)  # ranges of the order
        yield where, pa.RecordBatch.from_arrays([pa.array(order), ids, lists.cast(schema.field("tokens").type)], schema=schema)


def _check(item: Mapping[str, Any], ids: pa.Array, lists: pa.Array) -> None:
    """Raise `OperatorError` for tokens that the vocabulary does not have."""
    flat = lists.flatten()
    ends = pc.min_max(flat).as_py()
    if flat.null_count == 0 and (not len(flat) or 0 <= ends["min"] <= ends["max"] < item["size"]):
        return
    odd = pc.fill_null(pc.invert(pc.and_(pc.greater_equal(flat, 0), pc.less(flat, item["size"]))), True).index(True).as_py()
    row = int(np.searchsorted(np.cumsum(_lengths(lists)), odd, side="right"))
    told = f"document `{ids[row]}` has token {flat[odd]}, and the tokenizer has {item['size']:,}"
    raise OperatorError(f"{item['use']}: {told}", "give the tokenizer that made the tokens")


def _schema(item: Mapping[str, Any]) -> pa.Schema:
    token = pa.uint16() if item["size"] <= 1 << 16 else pa.uint32()
    return pa.schema({"order": pa.uint64(), ID: pa.string(), "tokens": pa.large_list(token)})


def _lengths(lists: pa.Array) -> Integers:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), np.int64)
