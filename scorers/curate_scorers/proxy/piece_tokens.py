"""Remembers the tokens of every piece that a tokenizer has split a text into: most pieces of a text have been seen before.

A tokenizer of the GPT kind splits texts by a regular expression and merges bytes inside each piece alone, so that the tokens of a text
are those of its pieces. New pieces are merged by a kernel; after that a text costs a search for borders and a look into a table. What is
a letter or a number is asked of the package, once for each character, as are the tokens of pieces that the kernel leaves out.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from curate import kernels
from curate.kernels.piece_spans import BREAK, CODES, LETTER, NUMBER, SIGN, SPACE, UNSEEN
from curate.kernels.text_view import Int64s, Texts
from curate_scorers.lm_loss_model import package
from curate_scorers.proxy.piece_splits import Split, merges_of

MOST_PIECES = 1 << 20  # that are remembered, in 100 MB; then all are forgotten
ASKED = 4096  # pieces at a time: the package keeps much of each
KINDS = ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (SPACE, r"\s"), (BREAK, r"[\r\n]"))


class PieceTokens:
    """The tokens of texts by those of their pieces."""

    def __init__(self, tokenizer: Any, split: Split) -> None:
        self._tokenizer = tokenizer
        self._split = split
        self._merges = merges_of(tokenizer)
        self._lock = threading.Lock()
        self._classes = np.full(CODES, UNSEEN, np.uint8)
        self._learn(np.arange(0x80))
        self._forget()

    def tokens(self, texts: Texts, end: int | None) -> tuple[Any, Int64s]:
        """Return the tokens of all texts, uint32, one text behind the other, and how many each has; `end` stands behind each."""
        with self._lock:
            if len(self._table) > MOST_PIECES:
                self._forget()
            self._learn(kernels.unseen(texts, self._classes))
            first, ends = kernels.pieces(texts, self._classes, self._split.style, self._split.digits)
            known = len(self._table)
            numbers = self._table.numbers(texts, first, ends)
            try:
                self._merge(known)
            except BaseException:
                self._forget()  # numbers without tokens
                raise
            return kernels.gathered(numbers, first, self._values, self._begins, end)

    def _forget(self) -> None:
        self._table = kernels.SpanTable()
        self._values, self._begins = np.zeros(0, np.uint32), np.zeros(1, np.int64)

    def _merge(self, known: int) -> None:
        """Find the tokens of pieces that are new."""
        data, ends = self._table.contents(known)
        values, lengths = np.zeros(0, np.uint32), np.zeros(len(ends) - 1, np.int64)
        if self._merges is not None:
            values, lengths = kernels.byte_pairs(data, ends, self._merges)
        left = np.flatnonzero(lengths == 0)
        if len(left):
            found = self._asked([data[ends[span] : ends[span + 1]].tobytes().decode() for span in left.tolist()])
            places = np.repeat((np.cumsum(lengths) - lengths)[left], [len(each) for each in found])
            values = np.insert(values, places, np.concatenate(found))
            lengths[left] = [len(each) for each in found]
        self._begins = np.concatenate([self._begins, self._begins[-1] + np.cumsum(lengths)])
        self._values = np.concatenate([self._values, values])

    def _asked(self, pieces: list[str]) -> list[Any]:
        """Return the tokens that the package finds for pieces."""
        found = []
        for begin in range(0, len(pieces), ASKED):
            encoded = self._tokenizer.encode_batch_fast(pieces[begin : begin + ASKED], add_special_tokens=False)
            found += [np.array(each.ids, np.uint32) for each in encoded]
        return found

    def _learn(self, codes: Any) -> None:
        """Ask the package what characters are."""
        letters = [chr(code) for code in codes.tolist() if not 0xD800 <= code < 0xE000]
        self._classes[codes] = SIGN
        tokenizers = package("tokenizers")
        for kind, pattern in KINDS if letters else ():
            split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
            left = {letter for run, _ in split.pre_tokenize_str("".join(letters)) for letter in run}
            self._classes[[ord(letter) for letter in letters if letter not in left]] = kind
