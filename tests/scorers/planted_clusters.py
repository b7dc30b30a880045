"""Documents in clusters that are known: texts of the words of a kind, unit vectors around a centre, and distances to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset
from curate.pipeline import Input, Pipeline, Stage
from tests.engine import small

DIMENSIONS = 8
KINDS = ("oak elm ash fir yew bark leaf", "iron zinc lead gold tin rust", "owl jay wren kite crow nest", "menu login home search cart")
COMMON = ["the", "of", "and", "to", "in", "that", "is"]
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "url": pa.string(),
        "lang": pa.string(),
        "score": pa.float64(),
        "cluster": pa.int32(),
        "distance": pa.float32(),
        "vector": pa.list_(pa.float32(), DIMENSIONS),
    }
)
HERE: dict[str, Any] = {"cluster": "cluster", "distance": "distance", "vector": "vector"}
"""Parameters for documents that carry what `cluster` and `embed` make."""

Docs = list[dict[str, Any]]


def documents(sizes: Sequence[int], seed: int = 0, without: int = 0) -> Docs:
    """Return `sizes[c]` documents of cluster c, and some without a cluster, in a random order."""
    numbers = np.random.default_rng(seed)
    centres = np.linalg.qr(numbers.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    docs = [_document(c, n, centres[c], numbers) for c, size in enumerate(sizes) for n in range(size)]
    docs += [{"id": f"none-{n}", "text": "", "url": "https://empty.example/", "score": None} for n in range(without)]
    random.Random(seed).shuffle(docs)
    return docs


def _document(cluster: int, number: int, centre: Any, numbers: Any) -> dict[str, Any]:
    chance = random.Random(f"{cluster}/{number}")
    words = KINDS[cluster % len(KINDS)].split()
    lines = [" ".join(chance.choices(words, k=6) + chance.choices(COMMON, k=6)) for _ in range(3)]
    vector = centre + 0.1 * (1 + cluster) * numbers.normal(size=DIMENSIONS)
    unit = vector / np.linalg.norm(vector)
    return {
        "id": f"{cluster}-{number:04d}",
        "text": "\n".join([*lines, f"Line of kind {cluster}.", ""]),
        "url": f"https://www.site{number % (cluster + 1)}.example/{cluster}/{number}",
        "lang": "en" if number % 2 else None,
        "score": float(number) if number % 3 else None,
        "cluster": cluster,
        "distance": float(np.float32(1 - unit @ centre)),
        "vector": (unit * 3).astype(np.float32).tolist(),
    }


def made(folder: Path, docs: Docs, stages: dict[str, Stage], shards: int = 3, workers: int = 1) -> dict[str, Dataset]:
    """Return the datasets of a pipeline over documents in so many shards."""
    path = small.write_shards(folder / f"crawl-{shards}", docs, shards, SCHEMA)
    pipe = small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)
    planned, _ = small.run(pipe, folder / f"ws-{shards}-{workers}", workers)
    return {name: planned.dataset(name) for name in stages}


def failing(folder: Path, docs: Docs, stages: dict[str, Stage]) -> Pipeline:
    """Return a pipeline over documents that is meant to fail."""
    path = small.write_shards(folder / "crawl", docs, 1, SCHEMA)
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)
