"""Small packed corpora, as `pack` writes them, of made-up words: a language that a tiny model learns in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate_scorers.proxy.packed import Packed, Part

TINY = "32x2"
LENGTH, VOCABULARY, EOS = 32, 100, 0


class Files(dict[str, bytes]):
    """Keeps a training's files in memory; `dies_after` writes of a checkpoint it raises, as a process dies between two instructions."""

    dies_after: int | None = None

    def write(self, name: str, data: bytes) -> None:
        self[name] = data
        if name == "checkpoint" and self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after == 0:
                self.dies_after = None
                raise KeyboardInterrupt

    def read(self, name: str) -> bytes | None:
        return self.get(name)


def sentences(dice: np.random.Generator, count: int) -> list[Any]:
    """Return documents in which each token is one of three that follow the one before, the end token behind them."""
    follows = np.random.default_rng(7).integers(1, VOCABULARY, (VOCABULARY, 3))
    found = []
    for size in dice.integers(3, LENGTH, count).tolist():
        tokens = [1]
        while len(tokens) < size:
            tokens.append(int(follows[tokens[-1], dice.integers(3)]))
        found.append(np.array([*tokens, EOS], np.uint16))
    return found


def rows_of(documents: list[Any]) -> list[list[Any]]:
    """Return documents row by row, each as full as it comes."""
    rows: list[list[Any]] = [[]]
    for document in documents:
        if sum(map(len, rows[-1])) + len(document) > LENGTH:
            rows.append([])
        rows[-1].append(document)
    return rows


def part_of(rows: list[list[Any]]) -> Part:
    """Return rows as a part of a packed corpus."""
    tokens = np.full((len(rows), LENGTH), EOS, np.uint16)
    for row, documents in zip(tokens, rows, strict=True):
        joined = np.concatenate(documents)
        row[: len(joined)] = joined
    lengths = np.array([len(document) for row in rows for document in row], np.int32)
    return Part(tokens, np.cumsum([0, *map(len, rows)]).astype(np.int64), lengths)


def corpus(documents: int = 300, parts: int = 2, seed: int = 1) -> Packed:
    """Return a packed corpus in memory."""
    rows = rows_of(sentences(np.random.default_rng(seed), documents))
    edges = [round(k * len(rows) / parts) for k in range(parts + 1)]
    made = [part_of(rows[start:stop]) for start, stop in zip(edges, edges[1:], strict=False)]
    return Packed(VOCABULARY, LENGTH, sum(int(part.lengths.sum()) for part in made), EOS, made, [])


def write(folder: Path, packed: Packed, **spoilt: Any) -> list[str]:
    """Write a packed corpus and return the names of its files; `spoilt` entries of `pack.json` are put over the right ones."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"format": 1, "vocab_size": VOCABULARY, "length": LENGTH, "rows": packed.rows, "tokens": packed.tokens, "eos": EOS}
    (folder / "pack.json").write_bytes(orjson.dumps(told | spoilt))
    for number, part in enumerate(packed.parts):
        for kind in ("tokens", "first", "lengths"):
            np.save(folder / f"{kind}-{number:05d}.npy", getattr(part, kind))
    return sorted(path.name for path in folder.iterdir())
