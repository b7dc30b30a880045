"""Turns documents into vectors by an embedding model.

Emits a fixed-size list of float32, as many as the model has dimensions; null for a document without text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT
from curate.errors import CurateError, PipelineError
from curate.protocols import Scorer
from curate_scorers.embed_folder import Folder, read_folder
from curate_scorers.embed_static import Static, read_static
from curate_scorers.embed_transformer import Transformer, read_transformer
from curate_scorers.torch_models import Device, Dtype

ROWS = 4096  # documents that are tokenised at a time; those of one block are sorted by length


@dataclass(frozen=True)
class Embed(Scorer):
    """Turns each document into a vector by an embedding model.

    ## What it does
    Emits a list of float32 numbers, of the model's dimensions. The folder holds a transformer as sentence-transformers saves it: the
    states of the document's first tokens, pooled as the folder says; or a static table as model2vec and sentence-transformers save it:
    the mean of a vector for each token, which is far faster. Weights are read from safetensors only, none of
    the folder's code is run, and nothing is downloaded. Special tokens in a text are text. Null and blank documents have no vector
    (null), nor have those without a token that the model knows, and those whose vector is zero under `normalize`; a vector with a
    number that is none (NaN, infinite) is an error, quarantined within the stage's `max_errors`.

    ## Why
    Documents on like subjects have vectors of a small angle: what clusters, semantic deduplication and retrieval work on.

    ## Example
        - use: embed
          into: vector
          params: {model: models/all-MiniLM-L6-v2}

    ## Parameters
    - `model`: folder of the model; its files are part of the identity.
    - `max_tokens`: only so many tokens of a document are read, special ones included, and no more than the model has places for;
      null = as many as its folder says.
    - `prefix`: what stands before each text, such as `"query: "`; null = the model's own default, mostly nothing.
    - `normalize`: vectors of length 1; false = as the model's modules leave them.
    - `batch_tokens`: tokens of a forward pass, of documents of like length; null = 2,048 on a CPU, 16,384 on a GPU.
    - `device`: `auto` is a GPU where there is one. A static table needs none.
    - `dtype`: `auto` is float32 on a CPU and float16 on a GPU; sums over tokens and lengths of vectors are float32 always.

    ## Source
    Reimers and Gurevych, *Sentence-BERT* (2019), and the folders of their library sentence-transformers; Tulkens and van Dongen,
    *Model2Vec* (2024).
    """

    cost = "costly"
    reproducible = "tolerance"
    files: ClassVar[tuple[str, ...]] = ("model",)
    folders: ClassVar[tuple[str, ...]] = ("model",)

    model: str
    max_tokens: int | None = None
    prefix: str | None = None
    normalize: bool = True
    batch_tokens: int | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"

    def __post_init__(self) -> None:
        for name, value in (("max_tokens", self.max_tokens), ("batch_tokens", self.batch_tokens)):
            if value is not None and value < 1:
                raise PipelineError(f"embed: {name} is less than 1: {value}")
        if "://" in self.model or self.model.startswith("stage:"):
            raise PipelineError(f"model is no folder: {self.model}", "embedding models are read from folders: copy it to each machine")

    def verify_file(self, parameter: str, path: Path) -> None:
        """Read what the folder says of itself, where the pipeline's file says that it is; `output` then knows its dimensions."""
        try:
            self.__dict__["_folder"] = self._read(path)
        except CurateError:
            self.__dict__["_refused"] = True
            raise

    def output(self) -> pa.DataType:
        if "_refused" in self.__dict__:
            return pa.list_(pa.float32())  # the folder's fault is told already, and nothing will run
        return pa.list_(pa.float32(), self._folder.dimensions)

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts, ids = docs.column(TEXT), docs.column(ID)
        blocks = [slice(start, start + ROWS) for start in range(0, len(texts), ROWS)]
        parts = [self._vectors(texts[block], ids[block]) for block in blocks]
        width = self._folder.dimensions
        vectors = np.concatenate([np.empty((0, width), np.float32), *(vectors for vectors, _ in parts)])
        none = np.concatenate([np.empty(0, bool), *(none for _, none in parts)])
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=self.output(), mask=pa.array(none))

    def _vectors(self, texts: pa.Array, ids: pa.Array) -> tuple[Any, Any]:
        """Return the vectors of texts, and which have none."""
        strings = pc.fill_null(texts, "").to_pylist()
        prefix = self._prefix
        tokens = self._model.encoder.encode([prefix + text for text in strings])
        bare = self._model.encoder.encode([prefix.rstrip()])[0]
        none = np.array([not text.strip() or np.array_equal(row, bare) for text, row in zip(strings, tokens, strict=True)], bool)
        vectors = np.zeros((len(strings), self._folder.dimensions), np.float32)
        some = np.flatnonzero(~none)
        vectors[some] = self._model.vectors([tokens[i] for i in some], self.batch_tokens)
        self._refuse_nan(vectors, ids)
        if not self.normalize and not self._folder.normalizes:
            return vectors, none
        length = np.sqrt(np.square(vectors, dtype=np.float64).sum(1))
        none |= length == 0
        return (vectors / np.where(none, 1, length)[:, None]).astype(np.float32), none

    def _refuse_nan(self, vectors: Any, ids: pa.Array) -> None:
        """Raise an error that is the document's, so that it is quarantined within the stage's budget: no `CurateError`, which ends it."""
        wrong = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(wrong):
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            hint = "; the dtypes float32 and bfloat16 have room for larger numbers" if self._model.half else ""
            raise ArithmeticError(f"the vector of document `{ids[int(wrong[0])]}`{more} under {self.model} is not finite{hint}")

    @property
    def _prefix(self) -> str:
        return self._folder.prefix if self.prefix is None else self.prefix

    @functools.cached_property
    def _folder(self) -> Folder:
        return self._read(Path(self.model))

    def _read(self, path: Path) -> Folder:
        found = read_folder(path)
        if not found.pools_prefix and (found.prefix if self.prefix is None else self.prefix):
            raise PipelineError(
                f"embed: {self.model} leaves its prefix out of its pooling, which is not supported", 'an empty one: `prefix: ""`'
            )
        return found

    @functools.cached_property
    def _model(self) -> Transformer | Static:
        if self._folder.kind == "static":
            return read_static(self._folder, self.max_tokens)
        return read_transformer(self._folder, self.max_tokens, self.device, self.dtype)
