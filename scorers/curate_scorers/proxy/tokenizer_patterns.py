"""How text is split before its bytes are merged: no token reaches over such a border.

    gpt2     words with the space before them, numbers of any length, runs of signs, white space
    gpt4     the same, numbers in threes, a sign before a word goes with it, line feeds with the signs before them
    digits   as `gpt4`, every digit alone

The expressions are those of the package `tokenizers`: a run of white space leaves its last character to the word behind it.
"""

from __future__ import annotations

from typing import Literal

Pattern = Literal["gpt2", "gpt4", "digits"]

_ENDINGS = r"'(?:[sdmt]|ll|re|ve)"  # what English puts behind an apostrophe
_SPACE = (r"\s+(?!\S)", r"\s+")
_GPT2 = (_ENDINGS, r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", *_SPACE)
ENDINGS_IN_ANY_CASE = rf"(?i:{_ENDINGS})"
_BEFORE_NUMBERS = (ENDINGS_IN_ANY_CASE, r"[^\r\n\p{L}\p{N}]?\p{L}+")
_BEHIND_NUMBERS = (r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", *_SPACE)

PATTERNS: dict[Pattern, str] = {
    "gpt2": "|".join(_GPT2),
    "gpt4": "|".join((*_BEFORE_NUMBERS, r"\p{N}{1,3}", *_BEHIND_NUMBERS)),
    "digits": "|".join((*_BEFORE_NUMBERS, r"\p{N}", *_BEHIND_NUMBERS)),
}
