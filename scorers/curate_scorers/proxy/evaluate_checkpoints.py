"""Measures the checkpoints of one training and averages them item by item, which takes out much of a small model's noise.

A model is read from a folder. Each snapshot gets one of its own for as long as it is read, with links to the files of its model's folder,
or copies where those lie one by one in a workspace.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from curate.report.units import plural
from curate.shuffle import opened
from curate.storage import Storage, open_storage
from curate.work import Place
from curate_scorers import lm_loss_model
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy.evaluate_sets import Item
from curate_scorers.torch_models import Device, Dtype

WEIGHTS, SUFFIX = "model.safetensors", ".safetensors"
SNAPSHOT = "step-"
FOLDER = "curate-proxy-"


def averaged(models: Sequence[LanguageModel], name: str, item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the results of one training on a shard under one name: means over its checkpoints. It is told how far they are."""

    def told(number: int, model: LanguageModel) -> Iterator[pa.RecordBatch]:
        items = 0
        for batch in results.measured(model, name, item, place):
            items += batch.num_rows
            place.tell(f"{plural(items, 'item')} of `{item['source']}` under `{name}`, checkpoint {number} of {len(models)}")
            yield batch

    for batches in zip(*(told(number, model) for number, model in enumerate(models, 1)), strict=True):
        yield batches[0] if len(batches) == 1 else results.mean(batches)


def checkpoints(names: Iterable[str]) -> list[str]:
    """Return which files of a model hold weights to average: its last, and its snapshots, oldest first."""
    return [*sorted(name for name in names if name.startswith(SNAPSHOT) and name.endswith(SUFFIX)), WEIGHTS]


@functools.lru_cache(maxsize=1)  # the shards of a model come one after another
def models_of(folder: str, weights: tuple[str, ...], device: Device, dtype: Dtype) -> list[LanguageModel]:
    """Return the models in a folder with each of these files of weights."""
    return [_linked(Path(folder), each, device, dtype) for each in weights]


def _linked(folder: Path, weights: str, device: Device, dtype: Dtype) -> LanguageModel:
    if weights == WEIGHTS:
        return lm_loss_model.read_model(str(folder), device, dtype)
    with tempfile.TemporaryDirectory(prefix=FOLDER) as place:
        for path in folder.iterdir():
            if path.suffix != SUFFIX:
                Path(place, path.name).symlink_to(path.absolute())
        Path(place, WEIGHTS).symlink_to((folder / weights).absolute())
        return lm_loss_model.read_model(place, device, dtype)


@functools.lru_cache(maxsize=1)
def trained_models(files: tuple[tuple[str, str], ...], workspace: str) -> list[LanguageModel]:
    """Return the models of a training's checkpoints; `files` are names of files, and where each lies in the workspace."""
    return [_copied(dict(files), each, open_storage(workspace)) for each in checkpoints(name for name, _ in files)]


def _copied(files: Mapping[str, str], weights: str, storage: Storage) -> LanguageModel:
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        for name, path in files.items():
            if name != weights and name.endswith(SUFFIX):
                continue
            target = Path(folder, WEIGHTS if name == weights else name)
            with opened(storage.open_input, path) as source, target.open("wb") as out:
                shutil.copyfileobj(cast(Any, source), out, 4 << 20)
        return lm_loss_model.read_model(folder)
