"""Vectors of texts by a transformer in a sentence-transformers folder: its states of a text's tokens, pooled.

On a CPU a text's vector does not depend on the texts beside it, to the last bit, as far as was measured: torch has one thread, texts
are padded to a multiple of 16 tokens (with fewer rows a matrix product takes other sums, in the blocks of attention too), and pooling
is over a text's own tokens.
Weights come from safetensors only, and the code of a model's folder is never run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import OperatorError
from curate_scorers.embed_folder import Dense, Folder
from curate_scorers.embed_tokens import Encoder, encoder
from curate_scorers.lm_loss_model import Device, Dtype, quiet
from curate_scorers.lm_loss_windows import batches
from curate_scorers.safetensors_files import open_tensors

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
    torch = package("torch")
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if where == "cuda" and not torch.cuda.is_available():
        raise OperatorError(
            f"embedding model {folder.path}: there is no GPU that torch can use", "`device: auto` takes one where there is one"
        )
    kind = ("float32" if where == "cpu" else "float16") if dtype == "auto" else dtype
    network = _network(folder, kind).to(where).eval()
    wrapped = _tokenizer(folder)
    made = encoder(wrapped.backend_tokenizer, _limit(folder, wrapped, network.config, max_tokens), str(folder.path))
    dense = tuple(_layer(each, kind).to(where) for each in folder.dense)
    return Transformer(made, network, wrapped.pad_token_id or 0, folder.poolings, dense, folder.dimensions)


def least(*limits: int | None) -> int | None:
    """Return the smallest of limits, None when there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def package(name: str) -> Any:
    """Return a package of the extra `embed`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        hint = "install curate with its extra `embed`: `pip install '.[embed]'` in a checkout"
        raise OperatorError(f"embedding models need {name}, which is not installed", hint) from error


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
    how = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder.network, **how)
            alone = package("transformers.models.auto.modeling_auto").MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(config.model_type, "")
            auto = transformers.AutoModelForTextEncoding if alone.endswith("EncoderModel") else transformers.AutoModel
            network, info = auto.from_pretrained(
                folder.network, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **how
            )
    except Exception as error:
        said = " ".join(str(error).strip().partition("\n\n")[0].split())[:500]  # what follows is advice to upgrade this and that
        hint = "see that the installed transformers knows this kind of model, and that its folder was copied whole"
        raise OperatorError(f"embedding model {folder.path} cannot be read: {type(error).__name__}: {said}", hint) from error
    lost = sorted(map(str, [*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])]))
    lost = [key for key in lost if not key.startswith("pooler.")]  # a head that no pooling reads
    if lost:
        shown = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        raise OperatorError(f"embedding model {folder.path}: its files have no weights for {shown}", "they would be made up: save it again")
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
    transformers, tokenizers = package("transformers"), package("tokenizers")
    try:
        wrapped = transformers.AutoTokenizer.from_pretrained(folder.network, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        hint = "save its fast tokenizer again, or copy it again"
        raise OperatorError(
            f"embedding model {folder.path}: its tokenizer cannot be read: {type(error).__name__}: {str(error).strip()[:500]}", hint
        ) from error
    if not wrapped.is_fast or wrapped.truncation_side != "right":
        raise OperatorError(f"embedding model {folder.path}: its tokenizer is no fast one that cuts texts at their end", "save a fast one")
    if folder.lower_case:
        normalizers = tokenizers.normalizers
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
