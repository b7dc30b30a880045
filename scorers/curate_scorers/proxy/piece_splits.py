"""Reads from a tokenizer how it splits texts into pieces and merges the bytes of a piece, where that is a way that kernels know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from curate import kernels
from curate_scorers.proxy.tokenizer_patterns import ENDINGS_IN_ANY_CASE, PATTERNS

if TYPE_CHECKING:
    from curate.kernels.piece_spans import Style

OTHER_SPELLINGS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",)  # of the endings, as Llama 3 and Qwen 2 write them


@dataclass(frozen=True)
class Split:
    """How texts are split; `digits` of a number stay together, 0 = all."""

    style: Style
    digits: int = 0


SPLITS = {"gpt2": Split("words"), "gpt4": Split("marked", 3), "digits": Split("marked", 1)}


def split_of(tokenizer: Any) -> Split | None:
    """Return how a tokenizer splits texts, None when the tokens of a text may be others than those of its pieces."""
    told = orjson.loads(tokenizer.to_str())
    model = told["model"]
    if told.get("normalizer") or model.get("type") != "BPE" or model.get("dropout"):
        return None
    if not all(token.get("special") for token in told.get("added_tokens", ())):
        return None  # such a token is found in a text before it is split
    steps = told.get("pre_tokenizer") or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if len(steps) == 1:
        return SPLITS["gpt2"] if steps[0].get("use_regex", True) else None
    return _named(steps[0]) if len(steps) == 2 and not steps[1].get("use_regex", True) else None


def _named(step: Mapping[str, Any]) -> Split | None:
    if step.get("type") != "Split" or step.get("behavior") != "Isolated" or step.get("invert"):
        return None
    told = str(step.get("pattern", {}).get("Regex", ""))
    for spelling in OTHER_SPELLINGS:
        told = told.replace(spelling, ENDINGS_IN_ANY_CASE)
    return next((SPLITS[name] for name, pattern in PATTERNS.items() if pattern == told), None)


def merges_of(tokenizer: Any) -> kernels.Merges | None:
    """Return the merges of a byte-level BPE model, None when it does more than merge."""
    model = orjson.loads(tokenizer.to_str())["model"]
    more = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges")
    numbers = model["vocab"]
    letters = byte_letters()
    if any(model.get(name) for name in more) or not all(letter in numbers for letter in letters):
        return None
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    table = {(numbers[left], numbers[right]): (rank, numbers[left + right]) for rank, (left, right) in enumerate(pairs)}
    return kernels.Merges.of(np.array([numbers[letter] for letter in letters], np.uint32), table)


def byte_letters() -> list[str]:
    """Return the letter that byte-level tokenizers write for each byte: itself where Latin-1 has one to see, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(byte if byte in seen else 0x100 + hidden.index(byte)) for byte in range(256)]
