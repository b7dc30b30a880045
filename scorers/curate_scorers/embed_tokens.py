"""Texts as token numbers, no more of them than a model takes, without tokenising what will not be read.

A long text is cut at white space somewhat behind where its last token should end; if its tokens do not reach that far, more of it is
taken. Tokens of a word depend on that word (and in some tokenizers on what is around it), so the last few before a cut are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import OperatorError

CHARS = 6  # of a token, on average, in a first try; a few more than words have in most languages
GROWTH = 4
SPARE = 8  # tokens before a cut that may be others than in the whole text
PROBE = "a"


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and the special tokens that it puts before and behind a text; `limit` counts tokens without them, None = all.

    `unknown` is a token that is taken out of those that are left, None = none.
    """

    tokenizer: Any
    before: tuple[int, ...]
    behind: tuple[int, ...]
    limit: int | None
    unknown: int | None = None

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Return the token numbers of each text, int32, without special tokens; a special token in a text is text."""
        found: list[Any] = [None] * len(texts)
        waiting, chars = list(range(len(texts))), CHARS * ((self.limit or 0) + SPARE)
        while waiting:
            cuts = [self._cut(texts[i], chars) for i in waiting]
            again = []
            for i, cut, each in zip(
                waiting, cuts, self._tokens([texts[i][:cut] for i, cut in zip(waiting, cuts, strict=True)]), strict=True
            ):
                if cut is not None and len(each) < (self.limit or 0) + SPARE:
                    again.append(i)
                else:
                    found[i] = self._known(each[: self.limit])
            waiting, chars = again, chars * GROWTH
        return found

    def _known(self, tokens: Any) -> Any:
        return tokens if self.unknown is None else tokens[tokens != self.unknown]

    def _cut(self, text: str, chars: int) -> int | None:
        """Return where to cut a text, None = nowhere."""
        if self.limit is None or len(text) <= chars:
            return None
        place = max(text.rfind(" ", chars // 2, chars), text.rfind("\n", chars // 2, chars))
        return place if place > 0 else None

    def _tokens(self, texts: list[str]) -> list[Any]:
        return [np.array(each.ids, np.int32) for each in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def plain(tokenizer: Any) -> Any:
    """Return a tokenizer that neither cuts nor pads, and takes special tokens in a text for text."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def encoder(tokenizer: Any, limit: int | None, where: str) -> Encoder:
    """Return an encoder; `limit` counts special tokens, of which the tokenizer tells how many there are."""
    probe = plain(tokenizer).encode(PROBE, add_special_tokens=False).ids
    encoded = tokenizer.encode(PROBE)
    at = next((i for i in range(len(encoded.ids) - len(probe) + 1) if encoded.ids[i : i + len(probe)] == probe), None)
    if not probe or at is None or any(encoded.type_ids):
        raise OperatorError(f"embedding model {where}: its tokenizer surrounds a text with more than special tokens", "another model")
    before, behind = tuple(encoded.ids[:at]), tuple(encoded.ids[at + len(probe) :])
    rest = None if limit is None else limit - len(before) - len(behind)
    if rest is not None and rest < 1:
        raise OperatorError(f"embedding model {where}: {limit} tokens leave none for the text", "a larger `max_tokens`")
    return Encoder(tokenizer, before, behind, rest)
