"""Turns documents into token numbers.

Emits a struct: `ids` (list of uint32: Parquet has no shorter integers) and `count` (int64); null for a null text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import TEXT
from curate.errors import OperatorError
from curate.protocols import Cost, Scorer
from curate_scorers.proxy import tokenizer_files
from curate_scorers.proxy.piece_splits import split_of
from curate_scorers.proxy.tokenizer_files import Tokenizer

if TYPE_CHECKING:
    from curate_scorers.proxy.piece_tokens import PieceTokens

OUTPUT = pa.struct([pa.field("ids", pa.list_(pa.uint32())), pa.field("count", pa.int64())])
BLOCK_BYTES = 4 << 20  # of text at a time: what the package keeps of a token takes a hundred bytes


@dataclass(frozen=True)
class Tokenize(Scorer):
    """Turns each document into the token numbers of a Hugging Face tokenizer, and counts them.

    ## What it does
    Emits `ids`, the tokens of the whole text, and `count`. Special tokens in a text are text, and the tokenizer adds none; with
    `add_eos` the token that ends documents stands behind each. An empty text has no tokens, and none behind it; a null text is null.
    No document is cut, however long, so that its tokens are those of the whole text.

    ## Why
    Tokens are made once, beside the documents, and serve whatever is decided later: `pack` makes rows for training of them,
    `export_tokens` files for other trainers, and `count` is the unit of every budget.

    ## Example
        tokens:
          from: clean
          operators:
            - use: tokenize
              into: tokens
              params: {tokenizer: "stage:tokenizer"}

    ## Parameters
    - `tokenizer`: folder of a Hugging Face tokenizer with a `tokenizer.json`, or `stage:NAME` of one that a stage trained; its files
      are part of the identity.
    - `add_eos`: put the token that ends documents behind each.
    - `eos`: the text of that token; null = the `eos_token` of the tokenizer's configuration.

    ## Source
    The package `tokenizers`. Of a byte-level BPE tokenizer that splits texts as GPT-2, GPT-4, Llama 3 or Qwen 2 do, and normalises
    nothing, the tokens of each piece are remembered, which is many times faster; the tokens are the same.
    """

    cost: ClassVar[Cost] = "costly"
    files: ClassVar[tuple[str, ...]] = ("tokenizer",)
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)

    tokenizer: str
    add_eos: bool = True
    eos: str | None = None

    def verify_file(self, parameter: str, path: Path) -> None:
        self._described(str(path))

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = docs.column(TEXT)
        found = [self._tokens(texts[start:stop]) for start, stop in _blocks(texts)]
        values = np.concatenate([np.empty(0, np.uint32), *(tokens for tokens, _ in found)])
        lengths = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in found)])
        first = np.concatenate([[0], np.cumsum(lengths)])
        ids = pa.ListArray.from_arrays(pa.array(first.astype(np.int32)), pa.array(values))
        return pa.StructArray.from_arrays([ids, pa.array(lengths)], fields=list(OUTPUT), mask=texts.is_null())

    def _tokens(self, texts: pa.Array) -> tuple[Any, Any]:
        """Return the tokens of all texts, and how many each has."""
        if self._pieces is not None:
            return self._pieces.tokens(kernels.Texts.of(texts), self._end)
        encoded = self._encoder.encode_batch_fast(pc.fill_null(texts, "").to_pylist(), add_special_tokens=False)
        end = [] if self._end is None else [self._end]
        found = [np.array(each.ids + end if each.ids else [], np.uint32) for each in encoded]
        return np.concatenate(found), np.array([len(each) for each in found], np.int64)

    @functools.cached_property
    def _end(self) -> int | None:
        """What stands behind each document."""
        return self._files.eos_number if self.add_eos else None

    @functools.cached_property
    def _pieces(self) -> PieceTokens | None:
        from curate_scorers.proxy.piece_tokens import PieceTokens

        split = split_of(self._encoder)
        return None if split is None else PieceTokens(self._encoder, split)

    @functools.cached_property
    def _encoder(self) -> Any:
        return tokenizer_files.load(self._files)

    @functools.cached_property
    def _files(self) -> Tokenizer:
        return self._described(self.tokenizer)

    def _described(self, place: str) -> Tokenizer:
        found = tokenizer_files.describe(place, self.eos)
        if self.add_eos and found.eos is None:
            raise OperatorError(f"tokenizer {place} names no token that ends documents", "name one with `eos`, or set `add_eos: false`")
        return found


def _blocks(texts: pa.Array) -> list[tuple[int, int]]:
    """Return ranges of rows with about `BLOCK_BYTES` of text each."""
    if not len(texts):
        return []
    ends = np.cumsum(pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False))
    edges = [0, *(np.flatnonzero(np.diff(ends // BLOCK_BYTES)) + 1).tolist(), len(texts)]
    return list(zip(edges, edges[1:], strict=False))
