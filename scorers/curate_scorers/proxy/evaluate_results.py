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
| `bits_at`         | list of double | `bits` at each checkpoint that is averaged, oldest first                       |
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
    "bits_at": pa.list_(pa.float64()),
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
        yield pa.RecordBatch.from_pydict(told | numbers | {"bits_at": [[bits] for bits in columns["bits"]]}, SCHEMA)


def mean(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the results of a training from those of its checkpoints on the same items: numbers are means, `bits_at` has all."""
    first = batches[0]
    columns = []
    for each in first.schema:
        arrays = [batch.column(each.name) for batch in batches]
        values = [array.to_numpy(zero_copy_only=False) for array in arrays]
        if each.name == "bits_at":
            columns.append(pa.array([list(np.concatenate(one)) for one in zip(*values, strict=True)], each.type))
        elif each.name in NUMBERS:
            columns.append(pa.array(np.mean(values, axis=0), each.type, from_pandas=True))
        else:
            columns.append(arrays[0])
    return pa.RecordBatch.from_arrays(columns, schema=first.schema)


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
    import polars as pl  # here, since declaring an operator imports nothing heavy

    sums: dict[Any, dict[str, Any]] = {}
    for shard in item["shards"]:
        for batch in read_shard(place.storage, shard):
            for key, rows in pl.DataFrame(batch).group_by("model", "set", "question", maintain_order=True):
                total = sums.setdefault(key, {})
                for name, value in _sums(rows).items():
                    total[name] = total.get(name, 0) + value
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (model, name, question), total in sorted(sums.items()):
        found.setdefault(model, {})[name] = _means(total, question)
    return found


def _sums(rows: Any) -> dict[str, Any]:
    """Return sums over a model's results on items of one set; those that end with `_at` are arrays, a number for each checkpoint."""
    bits = np.stack(rows["bits_at"].to_list())  # items × checkpoints
    size = rows["bytes"].to_numpy()
    found = {"items": len(rows), "bytes": size.sum(), "bits_at": bits.sum(axis=0), "per_byte_at": (bits / size[:, None]).sum(axis=0)}
    return found | {name: rows[name].sum() for name in MARKS} | {f"{name}_count": rows[name].count() for name in MARKS}


def _means(total: Mapping[str, Any], question: bool) -> dict[str, float]:
    """Return a set's measures: bits per byte of all its text, of questions the mean over them, as the field has it."""
    at = total["per_byte_at"] / total["items"] if question else total["bits_at"] / total["bytes"]
    found = {"items": total["items"], "bits_per_byte": float(at.mean())}
    if len(at) > 1:
        found["noise"] = float(at.std(ddof=1))
    for name in MARKS:
        if total[f"{name}_count"]:
            found[ACCURACY.get(name, name)] = total[name] / total[f"{name}_count"]
    return found


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]], models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return a report's rows: each set's measures, means over the models.

    With checkpoints, `noise` is the standard deviation of bits per byte over those of a model (of several: pooled); with several models,
    `spread` is that over the models, and `signal_to_noise` the spread over the noise (Heineman et al., 2025).
    """
    rows = {}
    for name, first in found[models[0]].items():
        measures = {key: float(np.mean([found[model][name][key] for model in models])) for key in first if key != "noise"}
        if noises := [found[model][name]["noise"] for model in models if "noise" in found[model][name]]:
            measures["noise"] = float(np.sqrt(np.mean(np.square(noises))))
        if len(models) > 1:
            measures["spread"] = float(np.std([found[model][name]["bits_per_byte"] for model in models], ddof=1))
            if measures.get("noise"):
                measures["signal_to_noise"] = measures["spread"] / measures["noise"]
        rows[name] = {key: int(value) if key == "items" else round(value, 5) for key, value in measures.items()}
    return rows
