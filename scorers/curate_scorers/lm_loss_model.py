"""Reads a causal language model from a Hugging Face folder, and computes the loss of each token that it predicts.

Two things are tried out when a model is loaded, for every architecture alike: that no token sees a later one, without which the
padding behind shorter rows would be read, and whether logits are the last hidden states times the output matrix, which lets us compute
them for the wanted tokens only, a piece at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import OperatorError
from curate_scorers.lm_loss_folder import architecture, check_folder
from curate_scorers.lm_loss_windows import Sequences, Windows
from curate_scorers.torch_models import WEIGHTS, Device, Dtype, Library

MODELS = Library("language model", "lm", "bfloat16")
package = MODELS.package
PIECE_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}  # of float32 logits at a time: on a CPU they stay in its cache
ROUNDING = {2: 0.05, 4: 1e-3}  # of logits beside the largest, by the bytes of a number
LOG2E = 1 / np.log(2)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model: its tokenizer, the token that stands before every document, the longest input, and the network."""

    folder: str
    tokenizer: Any
    start: int | None
    max_window: int | None
    vocabulary: int
    network: Any
    plain_head: bool

    def bits(self, sequences: Sequences, cut: Windows, rows: Any) -> Any:
        """Return the summed bits of what these windows predict, one number per window, as doubles."""
        torch = package("torch")
        length = cut.length[rows]
        place = np.arange(int(length.max()))
        inside = place < length[:, None]
        tokens = np.where(inside, cut.first[rows][:, None] + place, 0)
        wanted = inside & (place >= cut.skipped[rows][:, None])
        row, _ = np.nonzero(wanted)
        targets = sequences.tokens[tokens[wanted] + 1]
        with torch.inference_mode():
            device = self.network.device
            ids = torch.from_numpy(np.where(inside, sequences.tokens[tokens], 0)).to(device)
            losses = self._losses(ids, torch.from_numpy(wanted).to(device), torch.from_numpy(targets).to(device))
        return np.bincount(row, losses.cpu().numpy().astype(np.float64), len(rows)) * LOG2E

    def _losses(self, ids: Any, wanted: Any, targets: Any) -> Any:
        """Return the loss of each wanted token, in nats."""
        torch = package("torch")
        cross_entropy = torch.nn.functional.cross_entropy
        rows = max(1, PIECE_BYTES[ids.device.type] // (4 * self.vocabulary))
        if not self.plain_head:
            logits = self.network(input_ids=ids, use_cache=False).logits[wanted]
            pieces = zip(logits.split(rows), targets.split(rows), strict=True)
            return torch.cat([cross_entropy(piece.float(), told, reduction="none") for piece, told in pieces])
        states = self.network.base_model(input_ids=ids, use_cache=False).last_hidden_state[wanted]
        head = self.network.get_output_embeddings()
        pieces = zip(states.split(rows), targets.split(rows), strict=True)
        return torch.cat([cross_entropy(head(piece).float(), told, reduction="none") for piece, told in pieces])


def read_model(folder: str, device: Device = "auto", dtype: Dtype = "auto", sha256: Mapping[str, str] | None = None) -> LanguageModel:
    """Read a model's folder; raise `OperatorError` when it holds no causal language model that is safe to read."""
    path = Path(folder)
    check_folder(path, sha256)
    where, kind = MODELS.settled(path, device, dtype)
    _check_architecture(path)
    network = _network(path, kind).to(where).eval()
    plain_head = _tried_out(network, path)
    tokenizer, start = _tokenizer(path)
    window = getattr(network.config, "max_position_embeddings", None) or getattr(network.config, "n_positions", None)
    return LanguageModel(folder, tokenizer, start, window, network.config.vocab_size, network, plain_head)


def _check_architecture(path: Path) -> None:
    """Raise `OperatorError` unless transformers knows a causal language model by the name in a folder."""
    named = architecture(path)
    known = package("transformers.models.auto.modeling_auto").MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    if named not in known:
        hint = "lm_loss needs a model that predicts the next token, such as LlamaForCausalLM"
        raise OperatorError(f"language model {path}: config.json names {named}, no causal language model that transformers knows", hint)


def _network(path: Path, dtype: str) -> Any:
    torch, transformers = package("torch"), package("transformers")
    with MODELS.reading(path):
        network, info = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), **WEIGHTS)
    MODELS.check_loaded(path, info)
    return network


def _tokenizer(path: Path) -> tuple[Any, int | None]:
    """Return the tokenizer, which takes special tokens in a text for text, and the number of the token that begins documents."""
    wrapped = MODELS.tokenizer(path, path)
    tokenizer = wrapped.backend_tokenizer
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start = wrapped.bos_token_id if wrapped.bos_token_id is not None else wrapped.eos_token_id
    return tokenizer, start


def _tried_out(network: Any, path: Path) -> bool:
    """Return whether logits are hidden states times the output matrix; raise `OperatorError` if a token sees a later one."""
    torch = package("torch")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(network.config.vocab_size, (1, 12), generator=generator).to(network.device)
    other = ids.clone()
    other[:, 8:] = (other[:, 8:] + 1) % network.config.vocab_size
    with torch.inference_mode():
        logits = network(input_ids=ids, use_cache=False).logits
        if not _close(network(input_ids=other, use_cache=False).logits[:, :8], logits[:, :8]):
            raise OperatorError(f"language model {path}: its tokens see later ones, so its losses would mean nothing", "a causal model")
        head = network.get_output_embeddings()
        if head is None or network.base_model is network:
            return False
        states = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return states.shape[-1] == head.weight.shape[-1] and _close(head(states), logits)


def _close(left: Any, right: Any) -> bool:
    """Return whether logits are equal but for rounding; NaN is equal to NaN, as a loss that is NaN is told of where it arises."""
    scale = float(right.nan_to_num().abs().max()) or 1.0
    return bool(package("torch").allclose(left.float(), right.float(), rtol=0, atol=ROUNDING[right.dtype.itemsize] * scale, equal_nan=True))
