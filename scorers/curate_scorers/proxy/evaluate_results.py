"""What models are measured to be: a row for each item, and the means of each set.

| column            | type   | is                                                                                     |
|-------------------|--------|----------------------------------------------------------------------------------------|
| `id`              | string | `MODEL/SET/ITEM`                                                                       |
| `model`           | string | the model                                                                              |
| `set`             | string | the source, or `SOURCE/GROUP`                                                          |
| `item`            | string | the document or the question                                                           |
| `question`        | bool   | whether it is a question                                                               |
| `bits`, `bytes`   | double | what the text, or the right answer, costs, and its UTF-8 bytes                         |
| `tokens`          | double | its tokens                                                                             |
| `correct_prob`    | double | of a question: the right answer's probability per byte, 2^(−bits / bytes)              |
| `norm_correct_prob` | double | the right answer's share of the probability of all answers                           |
| `margin`          | double | `correct_prob` less that of the best wrong answer                                      |
| `right`           | double | 1 if the right answer has the highest probability, else 0                              |
| `right_per_byte`, `right_per_token` | double | the same of the probability per byte, and per token                  |

What compares answers is null where there is nothing to choose from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import read_shard
from curate.document import ID, TEXT
from curate.work import Place
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.proxy import benchmarks, evaluate, evaluate_sets
from curate_scorers.proxy.evaluate_sets import Item

MARKS = ("correct_prob", "norm_correct_prob", "margin", "right", "right_per_byte", "right_per_token")
NUMBERS = ("bits", "bytes", "tokens", *MARKS)
FIELDS = {
    "model": pa.string(),
    "set": pa.string(),
    "item": pa.string(),
    "question": pa.bool_(),
    **{name: pa.float64() for name in NUMBERS},
}
SCHEMA = pa.schema({ID: pa.string(), **FIELDS})
ACCURACY = {"right": "accuracy", "right_per_byte": "accuracy_per_byte", "right_per_token": "accuracy_per_token"}


def measured(model: LanguageModel, name: str, item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the results of a model on a shard of documents or questions."""
    for sets, batch in evaluate_sets.rows_of(item, place):
        columns = _questions(model, batch, item["source"]) if item["questions"] else _texts(model, batch)
        items = batch.column(ID).to_pylist()
        ids = [f"{name}/{one}/{each}" for one, each in zip(sets, items, strict=True)]
        told = {ID: ids, "model": [name] * len(ids), "set": list(sets), "item": items, "question": [item["questions"]] * len(ids)}
        numbers = {key: pa.array(values, pa.float64(), from_pandas=True) for key, values in columns.items()}
        yield pa.RecordBatch.from_pydict(told | numbers, SCHEMA)


def _texts(model: LanguageModel, batch: pa.RecordBatch) -> dict[str, Any]:
    texts = batch.column(TEXT).to_pylist()
    bits, tokens = evaluate.text_bits(model, texts)
    none = np.full(len(texts), np.nan)
    size = np.array([len(text.encode()) for text in texts], np.float64)
    return {"bits": bits, "bytes": size, "tokens": tokens.astype(np.float64), **dict.fromkeys(MARKS, none)}


def _questions(model: LanguageModel, batch: pa.RecordBatch, source: str) -> dict[str, Any]:
    asked = list(benchmarks.questions(batch, source))
    found = benchmarks.marks(asked, *evaluate.answer_bits(model, asked))
    return {name: getattr(found, name) for name in NUMBERS}


def means(item: Item, place: Place) -> dict[str, dict[str, dict[str, float]]]:
    """Return the measures of every set under every model, from the shards of results."""
    sums: dict[tuple[str, str, bool], dict[str, float]] = {}
    for shard in item["shards"]:
        for batch in read_shard(place.storage, shard):
            _add(sums, batch)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (model, name, question), total in sorted(sums.items()):
        found.setdefault(model, {})[name] = _means(total, question)
    return found


def _add(sums: dict[tuple[str, str, bool], dict[str, float]], batch: pa.RecordBatch) -> None:
    """Add a batch's numbers to the sums of its models and sets."""
    rows = pa.Table.from_batches([batch]).append_column("per_byte", pc.divide(batch.column("bits"), batch.column("bytes")))
    wanted = [*NUMBERS, "per_byte"]
    counted = [(name, kind) for name in wanted for kind in ("sum", "count")]
    for row in rows.group_by(["model", "set", "question"]).aggregate(counted).to_pylist():
        total = sums.setdefault((row["model"], row["set"], row["question"]), {})
        for name, kind in counted:
            key = f"{name}_{kind}"
            total[key] = total.get(key, 0.0) + (row[key] or 0)


def _means(total: Mapping[str, float], question: bool) -> dict[str, float]:
    """Return a set's measures: bits per byte of all its text, of questions the mean over them, as the field has it."""
    found = {"items": total["bits_count"]}
    if not question:
        return found | {"bits_per_byte": total["bits_sum"] / total["bytes_sum"]}
    found["bits_per_byte"] = total["per_byte_sum"] / total["per_byte_count"]
    for name in MARKS:
        if total[f"{name}_count"]:
            found[ACCURACY.get(name, name)] = total[f"{name}_sum"] / total[f"{name}_count"]
    return found


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]], models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return a report's rows: each set's measures, means over the models; with several, how much bits per byte differ between them."""
    rows = {}
    for name, first in found[models[0]].items():
        measures = {key: float(np.mean([found[model][name][key] for model in models])) for key in first}
        if len(models) > 1:
            measures["spread"] = float(np.std([found[model][name]["bits_per_byte"] for model in models], ddof=1))
        rows[name] = {key: int(value) if key == "items" else round(value, 5) for key, value in measures.items()}
    return rows
