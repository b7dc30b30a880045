"""Vectors of texts by a transformer in a sentence-transformers folder: its states of a text's tokens, pooled.

On a CPU a text's vector does not depend on the texts beside it, to the last bit, as far as was measured: torch has one thread, texts
are padded to a multiple of 16 tokens (with fewer rows a matrix product takes other sums, in the blocks of attention too), and pooling
is over a text's own tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate_scorers.embed_folder import Dense, Folder
from curate_scorers.embed_tokens import Encoder, encoder
from curate_scorers.lm_loss_windows import batches
from curate_scorers.safetensors_files import open_tensors
from curate_scorers.torch_models import LOCAL, WEIGHTS, Device, Dtype, Library

MODELS = Library("embedding model", "embed", "float16")
package = MODELS.package
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # on a CPU more does not fit its cache
STEP = 16  # texts are padded to multiples of so many tokens, and dense layers get as many vectors


@dataclass(frozen=True)
class Transformer:
    """A loaded model: its tokenizer, the network, its poolings and the dense layers behind them."""

    encoder: Encoder
    network: Any
    padding: int
    poolings: tuple[str, ...]
    dense: tuple[Any, ...]
    dimensions: int

    @property
    def half(self) -> bool:
        """Tell whether numbers above 65,504 are infinite."""
        return bool(self.network.dtype == package("torch").float16)

    def vectors(self, ids: Sequence[Any], batch_tokens: int | None) -> Any:
        """Return the vector of each text, float32, shape (texts, dimensions), from its token numbers without special ones."""
        torch = package("torch")
        device = self.network.device
        lengths = np.array([len(row) for row in ids], np.int64) + len(self.encoder.before) + len(self.encoder.behind)
        found = np.zeros((len(ids), self.dimensions), np.float32)
        with torch.inference_mode(), one_thread(device.type):
            for rows in batches(-(-lengths // STEP) * STEP, batch_tokens or BATCH_TOKENS[device.type]):
                found[rows] = self._pooled([ids[row] for row in rows], lengths[rows]).float().cpu().numpy()
        return found

    def _pooled(self, ids: Sequence[Any], lengths: Any) -> Any:
        torch = package("torch")
        inside = np.arange(-(-int(lengths.max()) // STEP) * STEP) < lengths[:, None]
        tokens = np.full(inside.shape, self.padding, np.int64)
        tokens[inside] = np.concatenate([part for row in ids for part in (self.encoder.before, row, self.encoder.behind)])
        mask = torch.from_numpy(inside).to(self.network.device)
        states = self.network(input_ids=torch.from_numpy(tokens).to(mask.device), attention_mask=mask.long()).last_hidden_state
        own = states[mask].split(lengths.tolist())
        found = torch.stack([torch.cat([pool(mode, each) for mode in self.poolings]) for each in own])
        for layer in self.dense:
            found = layer(torch.nn.functional.pad(found, (0, 0, 0, max(0, STEP - len(found)))))[: len(found)]
        return found


def pool(mode: str, states: Any) -> Any:
    """Return one vector for the states of a text's tokens, shape (tokens, width); sums are float32."""
    if mode == "cls":
        return states[0]
    if mode == "lasttoken":
        return states[-1]
    if mode == "max":
        return states.max(0).values
    torch = package("torch")
    if mode == "weightedmean":
        weights = torch.arange(1, len(states) + 1, device=states.device, dtype=torch.float32)
        return ((states * weights[:, None]).sum(0) / weights.sum()).to(states.dtype)
    total = states.sum(0, dtype=torch.float32)
    return (total / (len(states) if mode == "mean" else len(states) ** 0.5)).to(states.dtype)


def read_transformer(folder: Folder, max_tokens: int | None, device: Device, dtype: Dtype) -> Transformer:
    """Read the network and the tokenizer of a folder; raise `OperatorError` when its files are not whole."""
    where, kind = MODELS.settled(folder.path, device, dtype)
    network = _network(folder, kind).to(where).eval()
    wrapped = _tokenizer(folder)
    made = encoder(wrapped.backend_tokenizer, _limit(folder, wrapped, network.config, max_tokens), str(folder.path))
    dense = tuple(_layer(each, kind).to(where) for each in folder.dense)
    return Transformer(made, network, wrapped.pad_token_id or 0, folder.poolings, dense, folder.dimensions)


def least(*limits: int | None) -> int | None:
    """Return the smallest of limits, None when there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Hold torch to one thread on a CPU: with more, sums depend on their number. Workers are as many as there are cores anyhow."""
    torch = package("torch")
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _network(folder: Folder, dtype: str) -> Any:
    transformers, torch = package("transformers"), package("torch")
    with MODELS.reading(folder.path):
        config = transformers.AutoConfig.from_pretrained(folder.network, **LOCAL)
        alone = package("transformers.models.auto.modeling_auto").MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(config.model_type, "")
        auto = transformers.AutoModelForTextEncoding if alone.endswith("EncoderModel") else transformers.AutoModel
        network, info = auto.from_pretrained(folder.network, dtype=getattr(torch, dtype), **WEIGHTS)
    MODELS.check_loaded(folder.path, info, unread="pooler.")  # a head that no pooling reads
    return network


def _limit(folder: Folder, wrapped: Any, config: Any, max_tokens: int | None) -> int | None:
    """Return how many tokens of a text are read, special ones included: as told, else as its folder says, and no more than it can."""
    stated = folder.max_tokens or (
        wrapped.model_max_length if wrapped.model_max_length < 1 << 40 else None
    )  # a huge number stands for none
    places = getattr(config, "max_position_embeddings", None)
    return least(max_tokens or stated, places if places and places > 0 else None)


def _tokenizer(folder: Folder) -> Any:
    """Return the tokenizer as transformers wraps it."""
    wrapped = MODELS.tokenizer(folder.path, folder.network)
    if wrapped.truncation_side != "right":
        raise MODELS.error(folder.path, "its tokenizer cuts texts at their beginning", "save one that cuts them at their end")
    if folder.lower_case:
        normalizers = package("tokenizers").normalizers
        rest = [wrapped.backend_tokenizer.normalizer] if wrapped.backend_tokenizer.normalizer else []
        wrapped.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
    return wrapped


def _layer(dense: Dense, dtype: str) -> Any:
    torch = package("torch")
    tensors = open_tensors(dense.folder / "model.safetensors")
    layer = torch.nn.Linear(dense.inputs, dense.outputs, bias="linear.bias" in tensors.entries, dtype=getattr(torch, dtype))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(tensors.read("linear.weight").astype(np.float32)))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(tensors.read("linear.bias").astype(np.float32)))
    return torch.nn.Sequential(layer, getattr(torch.nn, dense.activation)())
