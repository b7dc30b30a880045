"""Reads fastText's model files, dense (.bin) and quantised (.ftz), into arrays.

Everything is checked against the file's length before it is taken, so a file that was cut off, or is something else, ends in an
error. Quantised matrices are expanded: their product quantiser's centroids times the norm of each row.
"""

from __future__ import annotations

import functools
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import OperatorError
from curate.kernels.bag_of_rows import Floats, Int32s, Vocabulary, averages
from curate.kernels.label_losses import Loss, huffman_tree, label_scores
from curate.kernels.text_view import Int64s, Texts

MAGIC, CENTROIDS = 793_712_314, 256
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
SUPERVISED = 3
LONGEST = 1000  # characters of a part of a word, words of an n-gram: more would only ask for memory
HINT = "`model` is the path of a fastText .bin or .ftz file"


@dataclass(frozen=True)
class FastTextModel:
    """A classifier: `labels` without their prefix, in the model's order."""

    labels: tuple[str, ...]
    vocabulary: Vocabulary
    matrix: Floats
    output: Floats
    loss: Loss
    tree: Int32s | None

    @functools.cached_property
    def tables(self) -> tuple[Any, ...]:
        """Return the vocabulary as the kernel reads it."""
        return self.vocabulary.tables()

    def probabilities(self, column: pa.Array) -> tuple[Floats, Int64s]:
        """Return the probability of every label for every text, shape (texts, labels), and how many words a text has."""
        found, words = averages(Texts.of(column), self.tables, self.matrix)
        return label_scores(found, self.output, self.loss, self.tree), words


def read_model(path: Path, label_prefix: str = "__label__") -> FastTextModel:
    """Read a classifier; raise `OperatorError` when the file is missing, damaged, none of fastText's, or no classifier."""
    if not path.is_file():
        raise OperatorError(f"fastText model not found: {path}", HINT)
    reader = _Reader(path)
    if reader.size < 8:
        raise OperatorError(f"not a fastText model, or a damaged one: {path} has {reader.size} bytes", HINT)
    if reader.take("i4") != MAGIC:
        raise OperatorError(f"not a fastText model: {path}", HINT)
    version = reader.take("i4")
    names = ("dim", "ws", "epoch", "least", "negatives", "word_grams", "loss", "kind", "buckets", "min_chars", "max_chars", "rate")
    settings = {name: int(reader.take("i4")) for name in names}
    reader.take("f8")
    if settings["kind"] != SUPERVISED or settings["loss"] not in LOSSES:
        raise OperatorError(f"{path} has word vectors, it is no classifier", "train one with `train_fasttext` or `fasttext supervised`")
    if min(settings.values()) < 0 or max(settings["max_chars"], settings["word_grams"]) > LONGEST:
        raise OperatorError(f"fastText model {path} has settings that no training gives", "download it again")
    if version == 11 or settings["max_chars"] < settings["min_chars"]:
        settings["max_chars"] = 0  # classifiers of version 11 have parts of words switched off; no part is longer than the longest
    entries, words, labels = (int(reader.take("i4")) for _ in range(3))
    reader.take("i8")
    pruned = int(reader.take("i8"))
    found, counts = reader.entries(entries)
    pairs = reader.array("<i4", 2 * max(pruned, 0)).reshape(-1, 2)
    order = np.argsort(pairs[:, 0], kind="stable")
    kept = (pairs[order, 0].copy(), pairs[order, 1].copy()) if pruned >= 0 else None
    quantised = reader.flag()
    matrix = reader.quantised() if quantised else reader.dense()
    output = reader.quantised() if reader.flag() and quantised else reader.dense()
    reader.finish()
    rows = words + (settings["buckets"] if pruned < 0 else pruned)
    within = (pairs >= 0).all() and (pairs < (settings["buckets"], max(pruned, 1))).all()  # a kernel reads the rows that they name
    shapes = output.shape == (labels, settings["dim"]) and matrix.shape == (rows, settings["dim"])
    if min(words, labels - 1) < 0 or words + labels != entries or not shapes or not within:
        raise OperatorError(f"fastText model {path} contradicts itself", "download it again")
    if not np.isfinite(output).all() or not np.isfinite(matrix).all():
        raise OperatorError(f"fastText model {path} has numbers that are none (NaN): its training failed", "train it with a lower `lr`")
    loss: Any = LOSSES[settings["loss"]]
    vocabulary = Vocabulary(
        found, words, settings["buckets"], settings["min_chars"], settings["max_chars"], settings["word_grams"], label_prefix.encode(), kept
    )
    tree = huffman_tree(counts[words:]) if loss == "hs" else None
    prefix = label_prefix.encode()
    named = tuple(name.removeprefix(prefix).decode(errors="replace") for name in found[words:])
    return FastTextModel(named, vocabulary, matrix, output, loss, tree)


class _Reader:
    """Takes little-endian values from a file that is held in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        self.size = len(self._data)
        self._place = 0

    def array(self, kind: str, count: int) -> Any:
        size = np.dtype(kind).itemsize * count
        if count < 0 or self._place + size > self.size:
            raise self._damaged()
        found = np.frombuffer(self._data[self._place : self._place + size], kind)
        self._place += size
        return found

    def take(self, kind: str) -> Any:
        return self.array(f"<{kind}", 1)[0]

    def flag(self) -> bool:
        return bool(self.take("u1"))

    def entries(self, count: int) -> tuple[list[bytes], list[int]]:
        """Read words and labels: a string that ends in a zero byte, its count, its kind."""
        names, counts, place = [], [], self._place
        for _ in range(count):
            stop = self._data.find(b"\0", place)
            if stop < 0 or stop + 10 > self.size:
                raise self._damaged()
            names.append(self._data[place:stop])
            counts.append(int.from_bytes(self._data[stop + 1 : stop + 9], "little", signed=True))
            place = stop + 10
        self._place = place
        return names, counts

    def dense(self) -> Floats:
        rows, columns = int(self.take("i8")), int(self.take("i8"))
        found: Floats = self.array("<f4", rows * columns).reshape(rows, columns)
        return found

    def quantised(self) -> Floats:
        with_norms, rows, columns = self.flag(), int(self.take("i8")), int(self.take("i8"))
        codes = self.array("u1", int(self.take("i4")))
        matrix = self._expanded(codes, rows, columns)
        if not with_norms:
            return matrix
        norms = self.array("u1", rows)
        return matrix * self._expanded(norms, rows, 1)

    def _expanded(self, codes: Any, rows: int, columns: int) -> Floats:
        dim, parts, width, last = (int(self.take("i4")) for _ in range(4))
        centroids = self.array("<f4", dim * CENTROIDS)
        if dim != columns or len(codes) != rows * parts or (parts - 1) * width + last != dim:
            raise self._damaged()
        codes = codes.reshape(rows, parts)
        matrix = np.empty((rows, columns), np.float32)
        for part in range(parts):
            size = last if part == parts - 1 else width
            begun = part * CENTROIDS * width
            table = centroids[begun : begun + CENTROIDS * size].reshape(CENTROIDS, size)
            matrix[:, part * width : part * width + size] = table[codes[:, part]]
        return matrix

    def finish(self) -> None:
        if self._place != self.size:
            raise self._damaged()

    def _damaged(self) -> OperatorError:
        return OperatorError(
            f"fastText model {self._path} is damaged: {self.size:,} bytes are not what its headers say", "download it again"
        )
