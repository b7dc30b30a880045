"""Measures the checkpoints of one training and averages them item by item, which takes out much of a small model's noise.

The files of a training lie one by one in the workspace; a model is read from a folder, so that they are copied into one, read, and
forgotten.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curate.shuffle import opened
from curate.storage import Storage, open_storage
from curate.work import Place
from curate_scorers import lm_loss_model
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy.evaluate_sets import Item

WEIGHTS = "model.safetensors"
SNAPSHOT = "step-"


def averaged(files: Mapping[str, str], name: str, item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield a training's results on a shard, means over its last weights and its snapshots; `files` says where each file lies."""
    models = _models(tuple(sorted(files.items())), place.storage.url)
    streams = [results.measured(model, name, item, place) for model in models]
    for batches in zip(*streams, strict=True):
        yield batches[0] if len(batches) == 1 else _mean(batches)


def _mean(batches: tuple[pa.RecordBatch, ...]) -> pa.RecordBatch:
    """Return rows whose numbers are the means of the same rows' numbers."""
    first = batches[0]
    columns = []
    for field in first.schema:
        if pa.types.is_floating(field.type):
            values = np.mean([batch.column(field.name).to_numpy(zero_copy_only=False) for batch in batches], axis=0)
            columns.append(pa.array(values, field.type, from_pandas=True))
        else:
            columns.append(first.column(field.name))
    return pa.RecordBatch.from_arrays(columns, schema=first.schema)


@functools.lru_cache(maxsize=1)  # the shards of a training come one after another
def _models(files: tuple[tuple[str, str], ...], workspace: str) -> list[LanguageModel]:
    """Return the models of a training, that with its last weights first."""
    weights = [WEIGHTS, *sorted(name for name, _ in files if name.startswith(SNAPSHOT))]
    return [_model(dict(files), each, open_storage(workspace)) for each in weights]


def _model(files: Mapping[str, str], weights: str, storage: Storage) -> LanguageModel:
    with tempfile.TemporaryDirectory(prefix="curate-proxy-") as folder:
        for name, path in files.items():
            if name != weights and name.endswith(".safetensors"):
                continue
            target = Path(folder, WEIGHTS if name == weights else name)
            with opened(storage.open_input, path) as source, target.open("wb") as out:
                shutil.copyfileobj(cast(Any, source), out, 4 << 20)
        return lm_loss_model.read_model(folder)
