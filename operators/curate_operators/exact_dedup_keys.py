"""128-bit keys of documents' columns, and what is done with many of them: grouping, and looking them up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.hashing import hash128
from curate_operators.web_address_forms import one_form

Form = Literal["exact", "layout", "words", "address"]
Numbers = np.ndarray[Any, np.dtype[np.uint64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


class Keys(NamedTuple):
    """128-bit keys in two halves."""

    high: Numbers
    low: Numbers

    @classmethod
    def empty(cls) -> Keys:
        """Return no keys."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64))

    @classmethod
    def joined(cls, parts: Sequence[Keys]) -> Keys:
        """Return keys one after another."""
        return cls(np.concatenate([part.high for part in parts]), np.concatenate([part.low for part in parts]))


def value_keys(values: pa.Array, ids: pa.Array, form: Form, address: tuple[Sequence[str], bool, bool]) -> Keys:
    """Return a key per value that is equal for values of one form; each null has a key of its own, made from the document's id.

    `address` holds what `web_address_forms.one_form` takes.
    """
    text = values if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) else values.cast(pa.string())
    pairs = _pairs(hash128(_formed(text, form, address)))
    if text.null_count:
        nulls = text.is_null()
        own = ~_pairs(hash128(ids.filter(nulls)))  # inverted: no text that happens to equal the id has this key
        pairs[nulls.to_numpy(zero_copy_only=False)] = own
    return Keys(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))


def _pairs(hashes: bytes) -> Any:
    return np.frombuffer(hashes, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _formed(text: pa.Array, form: Form, address: tuple[Sequence[str], bool, bool]) -> pa.Array:
    if form == "exact":
        return text
    if form == "address":
        return one_form(text, *address)
    layout = kernels.folded(kernels.Texts.of(text))
    if form == "layout":
        return layout
    words = kernels.folded(kernels.Texts.of(_compatible(text)), punctuation=False)
    return pc.if_else(pc.equal(words, ""), layout, words)


def _compatible(text: pa.Array) -> pa.Array:
    """Return texts in Unicode's normal form NFKC; ASCII has it already."""
    foreign = pc.fill_null(pc.invert(pc.string_is_ascii(text)), False)
    if not pc.any(foreign).as_py():
        return text
    return pc.replace_with_mask(text, foreign, pc.utf8_normalize(text.filter(foreign), form="NFKC"))


def grouped(keys: Keys, ranks: Iterable[Any]) -> tuple[Rows, Rows]:
    """Return the best row of each distinct key, and for each row the index of its key in that list, which is sorted by key.

    The best row has the lowest first rank, then the lowest second, and so on; of those that are equal in all it is the first.
    """
    order = np.lexsort((*reversed(list(ranks)), keys.low, keys.high))  # stable, so that the first row of a tie comes first
    high, low = keys.high[order], keys.low[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(begins) - 1
    return order[begins], group


def looked_up(keys: Keys, wanted: Keys) -> Rows:
    """Return for each key its place among those that are wanted, or -1; keys come sorted, and all that are wanted are among them."""
    place = np.full(len(keys.high), -1, dtype=np.int64)
    index = np.searchsorted(keys.high, wanted.high)
    while len(index) and np.any(wrong := keys.low[index] != wanted.low):
        index[wrong] += 1  # another key with the same upper half stands before it
    place[index] = np.arange(len(wanted.high))
    return place
