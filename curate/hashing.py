"""Stable hashes of string columns, taken from Arrow's buffers without making Python strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

_NULL = b"\xff null"  # no valid UTF-8, so no string has its hash


def hash64(values: pa.Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the 64-bit xxh3 hash of each string; null has a hash of its own."""
    return np.fromiter((xxhash.xxh3_64_intdigest(value) for value in _views(values)), dtype=np.uint64, count=len(values))


def hash128(values: pa.Array) -> bytes:
    """Return the 128-bit xxh3 hashes of strings, 16 bytes each, one after another; null has a hash of its own."""
    return b"".join(xxhash.xxh3_128_digest(value) for value in _views(values))


def _views(values: pa.Array) -> Iterator[memoryview | bytes]:
    large = values.cast(pa.large_string())
    _, offsets, data = large.buffers()
    edges = np.frombuffer(offsets, dtype=np.int64, count=len(large) + 1, offset=large.offset * 8).tolist() if len(large) else []
    view = memoryview(data) if data is not None else memoryview(b"")
    spans: Iterator[memoryview | bytes] = (view[start:stop] for start, stop in zip(edges, edges[1:], strict=False))
    if not large.null_count:
        return spans
    return (_NULL if null else span for null, span in zip(large.is_null().to_pylist(), spans, strict=True))
