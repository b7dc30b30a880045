"""Draws what one seed of the benchmark works on: a pool of planted domains, the text of the models, and targets of known use.

Each domain of `pile_slices` is shuffled by the seed and cut in three: `train.jsonl`, what the models read (40 %); `crawl.jsonl`, the
pool to select from (40 %); and the rest, which only targets are made of. Rows have `id`, `text` and `site`, the domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tests.benchmarks.fidelity_corpus import DATA

SETS = ("pile_slices", "benchmarks", "instruct")
TRAIN, POOL = 0.4, 0.4
LONGEST = 3000  # characters of a document: else a few are a tenth of the pool
TOO_FEW = {"ubuntu_irc"}  # three documents
TARGET_DOCS, INSTRUCTIONS = 100, 600

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What the models should be good at, and the domains of the pool that are useful for it: said before anything was run."""

    useful: frozenset[str]
    benchmarks: tuple[str, ...] = ()  # questions; none = documents of the useful domains that are in neither training text nor pool


REPORTED = {
    "medicine": Target(frozenset({"pubmed_abstracts", "nih_exporter"}), ("pubmed_qa_labeled",)),
    "programs": Target(frozenset({"github", "stackexchange"}), ("humaneval", "mbpp")),
    "encyclopaedia": Target(frozenset({"wikipedia_(en)"}), ("boolq",)),
}
TUNING = {name: Target(frozenset({name})) for name in ("uspto_backgrounds", "hackernews", "enron_emails")}
TARGETS = REPORTED | TUNING


@dataclass(frozen=True)
class Pool:
    """The folder of a seed and its documents to select from, in the order of `crawl.jsonl`."""

    folder: Path
    rows: list[Row]

    @property
    def crawl(self) -> Path:
        return self.folder / "crawl.jsonl"

    @property
    def train(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def instructions(self) -> Path:
        return self.folder / "instructions.jsonl"

    def target(self, name: str) -> Path:
        """Return the file of a target's texts."""
        return self.folder / f"{name}.jsonl"

    def useful(self, ids: Iterable[str], target: Target) -> tuple[float, float]:
        """Return the share of useful characters and of useful documents among those of these ids."""
        known = {row["id"]: row for row in self.rows}
        chosen = [known[name] for name in ids]
        chars = np.array([len(row["text"]) for row in chosen])
        good = np.array([row["site"] in target.useful for row in chosen])
        return float(chars[good].sum() / chars.sum()), float(good.mean())


def missing() -> list[str]:
    """Return the sets that are not there."""
    return [name for name in SETS if not (DATA / name).is_dir()]


def draw(seed: int, folder: Path, targets: Mapping[str, Target]) -> Pool:
    """Write the files of a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(seed)
    pool = Pool(folder, parts["pool"])
    _write(pool.crawl, parts["pool"])
    _write(pool.train, parts["train"])
    _write(pool.instructions, _some(read("instruct"), INSTRUCTIONS, seed))
    questions = list(read("benchmarks")) if any(target.benchmarks for target in targets.values()) else []
    for name, target in targets.items():
        asked = [{"text": _asked(row)[:LONGEST]} for row in questions if row["benchmark"] in target.benchmarks]
        rest = [row for row in parts["rest"] if row["site"] in target.useful]
        _write(pool.target(name), _some(asked or rest, TARGET_DOCS, seed))
    return pool


def _parts(seed: int) -> dict[str, list[Row]]:
    """Return the documents of each part, every domain cut alike."""
    domains: dict[str, list[Row]] = {}
    for row in read("pile_slices"):
        if row["domain"] not in TOO_FEW:
            domains.setdefault(row["domain"], []).append({"id": row["id"], "text": row["text"][:LONGEST], "site": row["domain"]})
    dice = np.random.default_rng(seed)
    parts: dict[str, list[Row]] = {"train": [], "pool": [], "rest": []}
    for rows in domains.values():
        shuffled = [rows[i] for i in dice.permutation(len(rows)).tolist()]
        first, second = max(1, round(TRAIN * len(rows))), round((TRAIN + POOL) * len(rows))
        for name, part in zip(parts, (shuffled[:first], shuffled[first:second], shuffled[second:]), strict=True):
            parts[name] += part
    return {name: [part[i] for i in dice.permutation(len(part)).tolist()] for name, part in parts.items()}


def read(name: str) -> Iterator[Row]:
    """Yield the rows of a set."""
    with pa.input_stream(str(DATA / name / "docs.jsonl.zst"), compression="zstd") as stream:
        for line in stream.read().splitlines():
            yield orjson.loads(line)


def _asked(row: Row) -> str:
    """Return a question and its answer."""
    return f"{row['text']}\n{row.get('answer') or ''}".strip()


def _some(rows: Iterable[Row], count: int, seed: int) -> list[Row]:
    found = list(rows)
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:count].tolist()]


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
