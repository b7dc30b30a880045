"""Reads what `pack` writes: rows of tokens, and which pieces of documents lie in each.

    pack.json             format, vocab_size, length, rows, tokens, eos
    tokens-00000.npy …    uint16 or uint32, rows × length, padding behind what is used; mapped, never loaded
    first-00000.npy …     int64, rows + 1: where the pieces of each row begin in `lengths`
    lengths-00000.npy …   int32: tokens of each piece, in order
    tokenizer.json …      the tokenizer that made the tokens

A piece is a document, or a part of a long one. What a model sees of it begins with the end token, as documents do for `lm_loss`, and
lacks its last token, which nothing follows: all its tokens are predicted, each once, and a row needs no more room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.errors import DatasetError, OperatorError
from curate.files import local_file

DESCRIPTION = "pack.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
FORMAT = 1


@dataclass(frozen=True)
class Pieces:
    """Pieces one after another: the token that each position sees, the one that follows, its place, and each piece's length."""

    inputs: Any
    targets: Any
    positions: Any
    lengths: Any


@dataclass(frozen=True)
class Part:
    """One file of rows."""

    tokens: Any
    first: Any
    lengths: Any

    def row(self, row: int) -> tuple[Any, Any]:
        """Return the tokens of a row without its padding, and the lengths of its pieces."""
        lengths = self.lengths[self.first[row] : self.first[row + 1]]
        return self.tokens[row, : int(lengths.sum())], lengths


@dataclass(frozen=True)
class Packed:
    """All rows of a packed corpus."""

    vocabulary: int
    length: int
    tokens: int
    eos: int
    parts: Sequence[Part]
    tokenizer: Sequence[Path]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(len(part.tokens) for part in self.parts)

    @property
    def tokenizer_digest(self) -> str:
        """The hash of the tokenizer that made the tokens, an empty text where it is not kept."""
        return tokenizer_digest(self.tokenizer)

    @property
    def context(self) -> float:
        """How many tokens a token sees on average."""
        squares = sum(float(np.square(part.lengths, dtype=np.float64).sum()) for part in self.parts)
        return squares / (2 * max(1, self.tokens))

    def take(self, rows: Sequence[int]) -> Pieces:
        """Return the pieces of some rows; raise `OperatorError` for a token that the vocabulary does not have."""
        found = [self._row(row) for row in rows]
        lengths = np.concatenate([lengths for _, lengths in found]).astype(np.int64)
        return pieces(np.concatenate([tokens for tokens, _ in found]).astype(np.int64), lengths[lengths > 0], self.eos, self.vocabulary)

    def used(self, rows: Sequence[int]) -> int:
        """Return how many tokens some rows have without their padding."""
        return sum(int(self._row(row)[1].sum()) for row in rows)

    def _row(self, row: int) -> tuple[Any, Any]:
        for part in self.parts:
            if row < len(part.tokens):
                return part.row(row)
            row -= len(part.tokens)
        raise IndexError(row)


def tokenizer_digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 of what the `tokenizer.json` among some files makes of texts, an empty text where there is none.

    What it puts around them, which a model's folder has otherwise, counts for nothing.
    """
    for path in files:
        if path.name == TOKENIZER[0]:
            told = orjson.loads(path.read_bytes()) | {"post_processor": None}
            return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return ""


def pieces(tokens: Any, lengths: Any, eos: int, vocabulary: int) -> Pieces:
    """Return pieces as a model is trained on them."""
    if len(tokens) and int(tokens.max()) >= vocabulary:
        told = f"token {int(tokens.max())} in rows that are packed for a vocabulary of {vocabulary:,}"
        raise OperatorError(f"vocabulary mismatch: {told}", "tokenise and pack with one tokenizer")
    begins = np.cumsum(lengths) - lengths
    inputs = np.empty_like(tokens)
    inputs[1:] = tokens[:-1]
    inputs[begins] = eos
    return Pieces(inputs, tokens, np.arange(len(tokens)) - np.repeat(begins, lengths), lengths)


def read_packed(folder: str, names: Sequence[str]) -> Packed:
    """Map the files of a packed corpus, an artifact's folder or URL and the names of its files; raise `DatasetError` for damage."""
    files = {name.rpartition("/")[2] for name in names}
    if DESCRIPTION not in files:
        raise DatasetError(f"{folder} has no {DESCRIPTION}, so it is no packed corpus", "give a stage that uses `pack`")
    path = local_file(f"{folder}/{DESCRIPTION}")
    told = orjson.loads(path.read_bytes())
    if told.get("format") != FORMAT:
        raise DatasetError(f"{path}: format {told.get('format')}, where {FORMAT} is known", "pack again with this version")
    numbers = sorted(name[7:-4] for name in files if name.startswith("tokens-") and name.endswith(".npy"))
    parts = [_part(folder, number, told) for number in numbers]
    tokenizer = [local_file(f"{folder}/{name}") for name in TOKENIZER if name in files]
    packed = Packed(told["vocab_size"], told["length"], told["tokens"], told["eos"], parts, tokenizer)
    if packed.rows != told["rows"]:
        raise DatasetError(f"{folder} has {packed.rows:,} rows, and {DESCRIPTION} tells of {told['rows']:,}", "pack again")
    return packed


def _part(folder: str, number: str, told: dict[str, Any]) -> Part:
    tokens, first, lengths = (
        np.load(local_file(f"{folder}/{kind}-{number}.npy"), mmap_mode="r") for kind in ("tokens", "first", "lengths")
    )
    whole = tokens.ndim == 2 and tokens.shape[1] == told["length"] and len(first) == len(tokens) + 1 and first[-1] == len(lengths)
    if not whole or (len(tokens) and int(np.add.reduceat(lengths, first[:-1]).max()) > told["length"]):
        raise DatasetError(f"{folder}: part {number} is no packed corpus: its pieces do not fit its rows", "pack again")
    return Part(tokens, first, lengths)
