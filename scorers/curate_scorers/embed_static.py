"""Vectors of texts by a static table: the mean of a vector for each token, computed by NumPy; of the extra it needs the package tokenizers.

A table of model2vec (`embeddings`, and where its vocabulary was quantised `mapping` and `weights`) leaves unknown tokens out and reads
512 tokens unless its config says otherwise (model2vec cuts characters first, so that of long words it reads fewer); one of
sentence-transformers (`embedding.weight`) does neither. Both are followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import OperatorError
from curate_scorers.embed_folder import Folder, read_json
from curate_scorers.embed_tokens import Encoder, plain
from curate_scorers.embed_transformer import package
from curate_scorers.safetensors_files import Tensors, open_tensors

PIECE = 256  # tokens of a text that are looked up and summed in float32 at a time; sums of sums are doubles


@dataclass(frozen=True)
class Static:
    """A loaded table, float32, shape (tokens, dimensions), and the tokenizer that numbers its rows."""

    encoder: Encoder
    table: Any
    half: bool = False

    def vectors(self, ids: Sequence[Any], batch_tokens: int | None) -> Any:
        """Return the mean of each text's rows, float32, shape (texts, dimensions); zeros for a text without tokens."""
        found = np.zeros((len(ids), self.table.shape[1]))
        for total, row in zip(found, ids, strict=True):
            for start in range(0, len(row), PIECE):
                total += self.table[row[start : start + PIECE]].sum(0)
            total /= max(1, len(row))
        return found.astype(np.float32)


def read_static(folder: Folder, max_tokens: int | None) -> Static:
    """Read a table and its tokenizer; raise `OperatorError` when they do not fit each other."""
    path = folder.network / "tokenizer.json"
    try:
        tokenizer = package("tokenizers").Tokenizer.from_file(str(path))
    except OperatorError:
        raise
    except Exception as error:  # tokenizers raises no class of its own
        raise OperatorError(f"embedding model {folder.path}: tokenizer.json cannot be read: {str(error)[:500]}") from error
    tensors = open_tensors(folder.network / "model.safetensors")
    table = _table(folder, tensors)
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= len(table):
        raise OperatorError(f"embedding model {folder.path}: its tokenizer has the token {highest}, and its table {len(table)} rows")
    unknown = _unknown(tokenizer, read_json(path)) if folder.matrix == "embeddings" else None
    return Static(Encoder(plain(tokenizer), (), (), max_tokens or folder.max_tokens, unknown), table)


def _table(folder: Folder, tensors: Tensors) -> Any:
    """Return a row for each token: that of its cluster, times its weight, where the vocabulary was quantised."""
    table = tensors.read(folder.matrix).astype(np.float32)
    if "mapping" in tensors.entries:
        mapping = tensors.read("mapping")
        if mapping.ndim != 1 or len(mapping) == 0 or mapping.min() < 0 or mapping.max() >= len(table):
            raise OperatorError(f"embedding model {folder.path}: its tensor `mapping` names rows that its table of {len(table)} lacks")
        table = table[mapping]
    if "weights" in tensors.entries:
        weights = tensors.read("weights")
        if weights.shape != (len(table),):
            raise OperatorError(f"embedding model {folder.path}: its {len(table)} tokens have weights of the shape {weights.shape}")
        table = table * weights.astype(np.float32)[:, None]
    return table


def _unknown(tokenizer: Any, content: Mapping[str, Any]) -> int | None:
    """Return the number of the token that stands for what a vocabulary lacks."""
    model = content["model"]
    token = model.get("unk_token")
    number = model.get("unk_id") if model.get("type") == "Unigram" else token and tokenizer.token_to_id(token)
    return number if isinstance(number, int) else None
