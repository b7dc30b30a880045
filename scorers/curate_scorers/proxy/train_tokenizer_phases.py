"""The phases of `train_tokenizer`: what is trained on, what is held out, the training, and what held-out documents cost.

count     per shard: documents and bytes
choose    per shard: the texts to train on and those held out, by a seeded hash of the id
train     one task: the tokenizer
measure   per shard: held-out documents in tokens, bytes and words, and the sums by group
(write)   per shard: these measures
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, kernels
from curate.beside import Item
from curate.document import ID, TEXT, leaf
from curate.errors import OperatorError
from curate.hashing import chances
from curate.work import Place
from curate_scorers.lm_loss_model import package
from curate_scorers.proxy.tokenizer_files import CONFIG, TOKENIZER
from curate_scorers.proxy.tokenizer_patterns import PATTERNS

MEASURES = {"bytes": pa.int64(), "words": pa.int64(), "tokens": pa.int64()}
BATCH_ROWS = 256
UNKNOWN = "unknown"
LONG_PIECE = r"(?m:.{256})"  # to count the pairs of a longer one takes the square of its length


def count_shard(item: Item, place: Place) -> Item:
    """Count a shard's documents and the bytes of their texts."""
    counts = {"documents": 0, "bytes": 0}
    for docs in beside.read(item, place, [TEXT]):
        counts["documents"] += docs.num_rows
        counts["bytes"] += pc.sum(pc.binary_length(docs.column(TEXT))).as_py() or 0
    return counts


def choose_shard(item: Item, place: Place) -> Item:
    """Keep the texts of a shard that are trained on, and the documents that are held out with their groups."""
    groups = item["report_by"]
    schema = pa.schema({ID: pa.string(), TEXT: pa.large_string(), **dict.fromkeys(groups, pa.string())})
    trained, held = [schema.empty_table().select([TEXT])], [schema.empty_table()]
    for docs in beside.read(item, place, [TEXT, *groups]):
        docs = docs.filter(pc.greater(pc.fill_null(pc.binary_length(docs.column(TEXT)), 0), 0))
        chance = chances(docs.column(ID), item["seed"])
        columns = [docs.column(ID), docs.column(TEXT), *(pc.fill_null(leaf(docs, name).cast(pa.string()), UNKNOWN) for name in groups)]
        table = pa.table([column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)
        trained.append(table.select([TEXT]).filter(pa.array(chance < item["trained"])))
        held.append(table.filter(pa.array(chance >= 1 - item["held"])))
    tables = {"trained": pa.concat_tables(trained), "held": pa.concat_tables(held)}
    rows = {name: table.num_rows for name, table in tables.items()}
    size = pc.sum(pc.binary_length(tables["trained"].column(TEXT))).as_py() or 0
    return {"rows": rows, "bytes": size, "files": {name: place.write_table(name, table) for name, table in tables.items()}}


def train(item: Item, place: Place) -> Item:
    """Train a tokenizer and keep its files; return where they are and how many tokens it has."""
    tokenizers = package("tokenizers")
    pieces = tokenizers.pre_tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = pieces.Split(tokenizers.Regex(PATTERNS[item["pattern"]]), "isolated")
    cut = pieces.Split(tokenizers.Regex(LONG_PIECE), "isolated")
    letters = pieces.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pieces.Sequence([split, cut, letters])
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=item["size"],
        min_frequency=item["min_count"],
        special_tokens=item["special"],
        initial_alphabet=pieces.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_texts(item["files"], place), trainer)
    made.pre_tokenizer = pieces.Sequence([split, letters])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": item["special"][0], "clean_up_tokenization_spaces": False}
    config |= {"additional_special_tokens": item["special"][1:]} if len(item["special"]) > 1 else {}
    data = {TOKENIZER: made.to_str(pretty=True).encode(), CONFIG: orjson.dumps(config, option=orjson.OPT_INDENT_2)}
    for name, content in data.items():
        place.storage.write(f"{place.prefix}.{name}", content)
    return {"tokens": made.get_vocab_size(), "files": {name: f"{place.prefix}.{name}" for name in data}}


def measure_shard(item: Item, place: Place) -> Item:
    """Measure the held-out documents of a shard; return their sums as a whole and by group."""
    tokenizer = package("tokenizers").Tokenizer.from_buffer(place.storage.read(item["tokenizer"]))
    tokenizer.encode_special_tokens = True
    table = place.read_table(item["held"])
    found = [_measured(tokenizer, batch.column(TEXT)) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]
    numbers = np.concatenate([np.empty((0, len(MEASURES)), np.int64), *found])
    rows = pa.table([table.column(ID), *(pa.array(column) for column in numbers.T)], [ID, *MEASURES])
    sums = {name: _sums(table.column(name).to_pylist(), numbers) for name in item["report_by"]}
    return {"all": [table.num_rows, *numbers.sum(0).tolist()], "groups": sums, "rows": place.write_table("rows", rows)}


def write_shard(item: str, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the measures of held-out documents."""
    yield from place.read_table(item).to_batches()


def _texts(files: Sequence[str], place: Place) -> Iterator[list[str]]:
    for path in files:
        for batch in place.read_table(path).to_batches(max_chunksize=BATCH_ROWS):
            yield batch.column(TEXT).to_pylist()


def _measured(tokenizer: Any, texts: pa.Array) -> Any:
    """Return bytes, words and tokens of each text."""
    encoded = tokenizer.encode_batch_fast(texts.to_pylist(), add_special_tokens=False)
    _, words, _, _ = kernels.word_counts(kernels.words(kernels.texts(texts), ""))
    size = pc.binary_length(texts).to_numpy()
    return np.stack([size, words, [len(each.ids) for each in encoded]], axis=1).astype(np.int64)


def _sums(names: Sequence[str], numbers: Any) -> dict[str, list[int]]:
    """Return the number of documents of each group, and its measures added up."""
    found: dict[str, list[int]] = {}
    for name, row in zip(names, numbers.tolist(), strict=True):
        entry = found.setdefault(name, [0] * (1 + len(row)))
        for place, number in enumerate([1, *row]):
            entry[place] += number
    return found


def added(counted: Sequence[Mapping[str, list[int]]]) -> dict[str, list[int]]:
    """Return the sums of several shards, the largest group first."""
    total: dict[str, list[int]] = {}
    for sums in counted:
        for name, numbers in sums.items():
            total[name] = [a + b for a, b in zip(total.get(name, [0] * len(numbers)), numbers, strict=True)]
    return dict(sorted(total.items(), key=lambda entry: (-entry[1][1], entry[0])))


def costs(numbers: Sequence[int]) -> dict[str, Any]:
    """Return what a report says of sums: documents, bytes per token, tokens per word."""
    documents, size, words, tokens = numbers
    if not tokens:
        raise OperatorError("train_tokenizer: held-out documents without tokens", "report this: no text is empty")
    return {"documents": documents, "bytes per token": size / tokens, "tokens per word": tokens / words if words else None}
