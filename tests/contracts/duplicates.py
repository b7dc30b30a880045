"""A small corpus in which every kind of duplicate is planted, and every operator that marks duplicates, with its parameters.

There are three partitions, and pieces and blocks so small (`shrunken`) that a hundred documents pass through every phase.
"""

from __future__ import annotations

import os
import random
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate import shuffle
from curate.pipeline import Input, Output, Pipeline, Stage
from curate_operators import minhash_search
from curate_scorers import semantic_dedup_blocks
from tests.engine import small

TEXTS = {"id": pa.string(), "text": pa.large_string(), "url": pa.string(), "score": pa.int64(), "date": pa.string()}
SCHEMA = pa.schema(TEXTS | {"vector": pa.list_(pa.float32()), "topic": pa.int32(), "distance": pa.float32()})
DIMENSIONS = 16
PARTITIONS, PIECE_BYTES, BLOCK_BYTES = 3, 8192, 8192
EVERY: dict[str, dict[str, Any]] = {
    "exact": {"use": "exact_dedup", "params": {"keep": [{"highest": "score"}, "longest"]}},
    "by_url": {"use": "exact_dedup", "params": {"by": "url", "keep": {"latest": "date"}}},
    "near": {"use": "minhash_dedup", "params": {"similarity": 0.7}},
    "best": {"use": "minhash_dedup", "params": {"similarity": 0.8, "keep": [{"highest": "score"}, "longest"]}},
    "component": {"use": "minhash_dedup", "params": {"mode": "component", "bands": 14, "rows": 8}},
    "lines": {"use": "line_dedup", "params": {}},
    "of_site": {"use": "line_dedup", "params": {"by": "url", "unit": "paragraph", "min_words": 5}},
    "paragraphs": {"use": "paragraph_dedup", "params": {}},
    "filtered": {"use": "paragraph_dedup", "params": {"index": "bloom", "bloom_bytes": 1 << 14, "false_positive_rate": 0.001}},
    "menus": {"use": "boilerplate_lines", "params": {"min_documents": 3}},
    "substrings": {"use": "substring_dedup", "params": {}},
    "semantic": {"use": "semantic_dedup", "params": {"column": "vector", "cluster": "topic", "eps": 0.1}},
    "settled": {"use": "semantic_dedup", "params": {"column": "vector", "cluster": "topic", "eps": 0.1, "keep": "random", "greedy": True}},
}
ONE_EACH = ("exact", "best", "lines", "paragraphs", "menus", "substrings", "semantic")
"""One stage for each operator."""
INDEXED: dict[str, dict[str, Any]] = {
    "later": {"use": "minhash_dedup", "params": EVERY["best"]["params"], "from": ["crawl", "last"]},
    "grown": {"use": "minhash_index", "params": {}, "from": ["crawl", "later", "last"]},
}
"""What deduplicates against an index of earlier documents (`last`), and adds to it."""
OTHERS: dict[str, dict[str, Any]] = {
    "top": {"use": "select_top", "params": {"column": "score", "fraction": 0.4, "unit": "chars", "group_by": "date"}},
    "clusters": {"use": "cluster", "params": {"column": "vector", "k": 7, "train_sample": 60, "merge": {"count": 3}}},
    "calibration": {"use": "calibrate", "params": {"column": "score", "group_by": "date"}},
    "far": {"use": "prototypes", "params": {"column": "vector", "cluster": "topic", "keep_fraction": 0.6}},
}
"""What looks at whole corpora for other reasons, and must stand the same."""
NEW_PHASES: dict[str, tuple[str, ...]] = {"later": ("remember", "refill")}
"""The phases that only this stage has; in all others it does what `best` does."""


MEMORY = Path("/dev/shm")


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for a while, in memory where that can be: syncing files to a disk is most of what so small runs wait for."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="curate-", dir=MEMORY if usable else None) as folder:
        yield Path(folder)


def documents(count: int = 120, seed: int = 5) -> list[dict[str, Any]]:
    """Return documents of ten sites: a menu, paragraphs of their own, some of others'; every third is a copy, more or less changed."""
    dice = random.Random(seed)
    shared = [_words(dice, 30) for _ in range(count // 8)]
    found: list[dict[str, Any]] = []
    for number in range(count):
        site = number % 10
        own = [_words(dice, 40) for _ in range(3)] + [dice.choice(shared)]
        text = "\n\n".join([f"Menu of {site} | About us | Contact", *own])
        if number % 3 == 2:
            text = _changed(dice, found[dice.randrange(number)]["text"], number // 3 % 4 * 4)
        url = f"https://site{site}.example.com/{number if number % 7 else 0}"
        date = f"2026-{dice.randrange(1, 13):02}-01"
        found.append({"id": f"d{number:04}", "text": text, "url": url, "score": dice.randrange(4), "date": date})
    return [doc | embedded(doc["text"]) for doc in found]


def embedded(text: str) -> dict[str, Any]:
    """Return a vector of a text's words, so that changed copies are close, one of three topics, and a distance with ties."""
    hashes = [zlib.crc32(word.encode()) for word in text.split()]
    vector = [sum(1 if h >> i & 1 else -1 for h in hashes) for i in range(DIMENSIONS)]
    return {"vector": vector, "topic": sum(value > 0 for value in vector[:2]), "distance": len(text) % 8 / 8}


def _words(dice: random.Random, count: int) -> str:
    return " ".join(f"w{dice.randrange(4000)}" for _ in range(count))


def _changed(dice: random.Random, text: str, changes: int) -> str:
    words = text.split(" ")
    for _ in range(changes):
        words[dice.randrange(len(words))] = f"new{dice.randrange(1000)}"
    return " ".join(words)


def write(folder: Path, docs: list[dict[str, Any]], shards: int) -> Path:
    """Write documents as so many files, each a shard of a pipeline with `shard_bytes` 1."""
    for number in range(shards):
        rows = docs[len(docs) * number // shards : len(docs) * (number + 1) // shards]
        small.write_shard(folder / f"{number:03d}.parquet", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    return folder


def pipeline(path: Path, names: tuple[str, ...] = tuple(EVERY)) -> Pipeline:
    """Return a pipeline with these stages, and those that they read, over a folder that `write` filled."""
    known = EVERY | INDEXED | OTHERS
    read = [source for name in names for source in known[name].get("from", ())]
    chosen = [name for name in known if name in (*names, *read)]
    stages = {name: Stage(known[name].get("from", "crawl"), use=known[name]["use"], params=known[name]["params"]) for name in chosen}
    last = {"last": Input(artifact=str(index_beside(path)))} if "last" in read else {}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path)), **last}, shard_bytes=1)


def index_beside(path: Path) -> Path:
    """Return an index of earlier documents, of which every second one of `documents` is a copy with two words changed."""
    place = path.parent / f"{path.name}-index"
    if not place.exists():
        dice = random.Random(3)
        earlier = [doc | {"id": f"e{doc['id']}", "text": _changed(dice, doc["text"], 2)} for doc in documents()[::2]]
        crawl = Input(str(write(path.parent / f"{path.name}-earlier", earlier, 2)))
        dedup, index = (INDEXED[name] for name in ("later", "grown"))
        stages = {
            "dedup": Stage("crawl", use=dedup["use"], params=dedup["params"]),
            "index": Stage(["crawl", "dedup"], use=index["use"]),
        }
        outputs = {"index": Output(str(place), shard_bytes=1)}
        small.run(small.pipeline(path, stages, inputs={"crawl": crawl}, outputs=outputs, shard_bytes=1), path.parent / f"{path.name}-made")
    return place


def shrink(patch: pytest.MonkeyPatch, partitions: int = PARTITIONS, piece: int = PIECE_BYTES, block: int = BLOCK_BYTES) -> None:
    """Fix the number of partitions, and the sizes of pieces and blocks, in this process; they are the driver's choice alone."""
    patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
    patch.setattr(minhash_search, "PIECE_BYTES", piece)
    patch.setattr(minhash_search, "BLOCK_BYTES", block)
    patch.setattr(minhash_search, "AT_ONCE", 2)
    patch.setattr(semantic_dedup_blocks, "BLOCK_BYTES", block // 4)


@contextmanager
def shrunken(partitions: int = PARTITIONS, piece: int = PIECE_BYTES, block: int = BLOCK_BYTES) -> Iterator[None]:
    """Do so for a while."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, partitions, piece, block)
        yield
