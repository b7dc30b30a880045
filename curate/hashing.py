"""Stable hashes of string columns, taken from Arrow's buffers without decoding them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

_NULL = b"\xff null"  # no valid UTF-8, so no string has its hash


def hash64(values: pa.Array, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the 64-bit xxh3 hash of each string; null has a hash of its own, and another seed (below 2⁶⁴) gives independent ones."""
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(value, seed) for value in _values(values)], dtype=np.uint64)


def chances(values: pa.Array, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a number from 0 to below 1 for each string, by its seeded hash: 53 bits are what a double holds."""
    return np.asarray((hash64(values, seed) >> np.uint64(11)) * 2.0**-53, np.float64)


def hash128(values: pa.Array) -> bytes:
    """Return the 128-bit xxh3 hashes of strings, 16 bytes each, one after another; null has a hash of its own."""
    digest = xxhash.xxh3_128_digest
    return b"".join([digest(value) for value in _values(values)])


def _values(values: pa.Array) -> list[bytes]:
    """Return the UTF-8 bytes of each string; slicing one copy of the buffer is faster than views into it (measured: 1.5 times)."""
    large = values.cast(pa.large_string())
    if not len(large):
        return []
    _, offsets, data = large.buffers()
    edges = np.frombuffer(offsets, dtype=np.int64, count=len(large) + 1, offset=large.offset * 8)
    first, last = int(edges[0]), int(edges[-1])
    whole = data.slice(first, last - first).to_pybytes() if data is not None else b""
    places = (edges - first).tolist()
    spans = [whole[start:stop] for start, stop in pairwise(places)]
    if not large.null_count:
        return spans
    return [_NULL if null else span for null, span in zip(large.is_null().to_pylist(), spans, strict=True)]
