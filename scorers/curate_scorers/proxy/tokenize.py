"""Turns documents into token numbers.

Emits a struct: `ids` (list of uint32: Parquet has no shorter integers) and `count` (int64); null for a null text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.errors import OperatorError
from curate.protocols import Cost, Scorer
from curate_scorers.proxy import tokenizer_files
from curate_scorers.proxy.tokenizer_files import Tokenizer

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
    The package `tokenizers`; its fast path, which keeps no offsets.
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
        found = [each for start, stop in _blocks(texts) for each in self._tokens(texts[start:stop])]
        lengths = np.array([len(each) for each in found], np.int64)
        values = pa.array(np.concatenate([np.empty(0, np.uint32), *found]))
        first = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        ids = pa.ListArray.from_arrays(first, values)
        return pa.StructArray.from_arrays([ids, pa.array(lengths)], fields=list(OUTPUT), mask=texts.is_null())

    def _tokens(self, texts: pa.Array) -> list[Any]:
        """Return the tokens of each text."""
        encoded = self._encoder.encode_batch_fast(pc.fill_null(texts, "").to_pylist(), add_special_tokens=False)
        end = self._end
        return [np.array(each.ids + end if each.ids else [], np.uint32) for each in encoded]

    @functools.cached_property
    def _end(self) -> list[int]:
        """What stands behind each document."""
        number = self._described(self.tokenizer).eos_number
        return [number] if self.add_eos and number is not None else []

    @functools.cached_property
    def _encoder(self) -> Any:
        return tokenizer_files.load(self._described(self.tokenizer))

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
