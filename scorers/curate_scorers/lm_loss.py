"""Measures documents by a causal language model: bits per UTF-8 byte.

Emits a struct: `bits_per_byte` (double) and `tokens` (int64, what the number was measured on); null for a document without tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT
from curate.errors import PipelineError
from curate.files import check_sha256, local_folder
from curate.protocols import Scorer
from curate.storage import is_remote
from curate_scorers import lm_loss_model
from curate_scorers.lm_loss_folder import check_folder
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.lm_loss_windows import Sequences, batches, windows
from curate_scorers.torch_models import Device, Dtype

OUTPUT = pa.struct([pa.field("bits_per_byte", pa.float64()), pa.field("tokens", pa.int64())])
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # on a CPU more does not fit its cache
BLOCK_BYTES = 4 << 20  # of text that is tokenised at a time; windows of one block are sorted by length


@dataclass(frozen=True)
class LmLoss(Scorer):
    """Measures how many bits per UTF-8 byte a causal language model needs for each document.

    ## What it does
    Emits `bits_per_byte`, the sum of −log₂ p(token | tokens before it) over the document's bytes, and `tokens`. Each document begins
    anew, after the tokenizer's BOS token, else its EOS token; where it has neither, the first token costs log₂(vocabulary).
    A document that is longer than `window` is read in windows: each further one predicts the next `stride` tokens with what fits
    before them as context. Every token is counted once. Special tokens in a text are text. Null and empty texts have no measure
    (null); a document whose loss is no number (NaN) is an error, quarantined within the stage's `max_errors`.

    ## Why
    Bits per byte are comparable between documents, models and tokenizers, which a loss per token is not. Losses of several models
    are what `predictive_strength` reads; those of one are a perplexity filter, which is known to prefer bland and short text.

    ## Example
        - use: lm_loss
          into: small
          params: {model: models/small}

    ## Parameters
    - `model`: folder of a Hugging Face model and its tokenizer, or that of a stage that trains one: `stage:NAME`, `stage:NAME/1` of
      `train_family`; weights in safetensors; its files are part of the identity.
    - `window`: tokens that the model sees at a time; less where the model takes less.
    - `stride`: targets of each further window; at most half a window where the model takes less than `window`.
    - `max_tokens`: only so many tokens of a document are read, and the measure is that of their bytes; null = all.
    - `batch_tokens`: tokens of a forward pass, of documents of like length; null = 2,048 on a CPU, 16,384 on a GPU.
    - `device`: `auto` is a GPU where there is one.
    - `dtype`: `auto` is float32 on a CPU and bfloat16 on a GPU; log-probabilities are float32 always, sums are doubles.
    - `sha256`: what the hashes of files in the folder must be, `{model.safetensors: HASH}`; empty = any.

    ## Source
    Window and stride: PreSelect (Shum et al., *Predictive Data Selection*, 2025), which has documents share windows; ours do not.
    """

    cost = "costly"
    reproducible = "tolerance"
    files: ClassVar[tuple[str, ...]] = ("model",)
    folders: ClassVar[tuple[str, ...]] = ("model",)

    model: str
    window: int = 1900
    stride: int = 512
    max_tokens: int | None = None
    batch_tokens: int | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    sha256: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        least = {"window": self.window, "stride": self.stride, "max_tokens": self.max_tokens, "batch_tokens": self.batch_tokens}
        for name, value in least.items():
            if value is not None and value < 1:
                raise PipelineError(f"lm_loss: {name} is less than 1: {value}")
        if self.stride > self.window:
            raise PipelineError(f"lm_loss: stride {self.stride} is more than window {self.window}", "tokens between would not be measured")
        for sha256 in self.sha256.values():
            check_sha256(sha256)

    def verify(self, schema: pa.Schema) -> None:
        if is_remote(self.model):  # of an artifact in an object store a worker knows the address, a pipeline names the stage
            hint = "language models are read from folders: copy it to each machine, or name a stage that trains it"
            raise PipelineError(f"model is no folder: {self.model}", hint)

    def verify_file(self, parameter: str, path: Path) -> None:
        check_folder(path, self.sha256)

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = docs.column(TEXT)
        parts = [self._measured(texts[start:stop], docs.column(ID)[start:stop]) for start, stop in _blocks(texts)]
        bits, tokens, size = (np.concatenate([np.empty(0), *column]) for column in zip(*parts, strict=True)) if parts else [np.empty(0)] * 3
        none = tokens == 0
        per_byte = pa.array(bits / np.where(none, 1, size), mask=none)
        counts = pa.array(tokens.astype(np.int64), mask=none)
        return pa.StructArray.from_arrays([per_byte, counts], fields=list(OUTPUT), mask=pa.array(none))

    def _measured(self, texts: pa.Array, ids: pa.Array) -> tuple[Any, Any, Any]:
        """Return bits, tokens and bytes of each text."""
        model = self._model
        rows, size = self._tokenised(texts)
        sequences = Sequences.of(rows, model.start)
        window, stride = self._limits
        cut = windows(sequences, window, stride)
        found = np.zeros(len(cut))
        for chosen in batches(cut.length, self.batch_tokens or BATCH_TOKENS[model.network.device.type]):
            found[chosen] = model.bits(sequences, cut, chosen)
        bits = np.bincount(cut.document, found, len(texts))
        tokens = np.array([len(row) for row in rows], np.int64)
        if model.start is None:
            bits += np.where(tokens > 0, np.log2(model.vocabulary), 0.0)
        self._refuse_nan(bits, ids)
        return bits, tokens, size

    def _tokenised(self, texts: pa.Array) -> tuple[list[Any], Any]:
        """Return the token numbers of each text, as many as count, and the bytes that they stand for."""
        strings = pc.fill_null(texts, "").to_pylist()
        size = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        if self.max_tokens is None:
            return [encoded.ids for encoded in self._model.tokenizer.encode_batch_fast(strings, add_special_tokens=False)], size
        encoded = self._model.tokenizer.encode_batch(strings, add_special_tokens=False)
        for i, each in enumerate(encoded):
            if len(each.ids) > self.max_tokens:
                size[i] = len(strings[i][: each.offsets[self.max_tokens - 1][1]].encode())
        return [each.ids[: self.max_tokens] for each in encoded], size

    @functools.cached_property
    def _limits(self) -> tuple[int, int]:
        """Return window and stride as the model allows them."""
        longest = self._model.max_window or self.window
        if longest >= self.window:
            return self.window, self.stride
        return longest, min(self.stride, max(1, longest // 2))

    def _refuse_nan(self, bits: Any, ids: pa.Array) -> None:
        """Raise an error that is the document's, so that it is quarantined within the stage's budget: no `CurateError`, which ends it."""
        wrong = np.flatnonzero(~np.isfinite(bits))
        if len(wrong):
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise ArithmeticError(f"the loss of document `{ids[int(wrong[0])]}`{more} under {self.model} is {bits[wrong[0]]}")

    @functools.cached_property
    def _model(self) -> LanguageModel:
        return lm_loss_model.read_model(str(local_folder(self.model)), self.device, self.dtype, self.sha256)


def _blocks(texts: pa.Array) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows with about `BLOCK_BYTES` of text each."""
    if not len(texts):
        return
    ends = np.cumsum(pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False))
    block = ends // BLOCK_BYTES
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(texts)]
    yield from zip(edges, edges[1:], strict=False)
