"""MinHash signatures: for every text the least value of its shingles under many permutations of 32-bit numbers.

The share of places at which two signatures agree estimates the Jaccard similarity of the shingles. The permutations are
datasketch's (`scheme="affine32"`): `fmix32(hash) * a + b` modulo 2**32, `a` odd, drawn from the same generator, so a signature
made here is the `hashvalues` of a `datasketch.MinHash` with the same seed, and goes into its indexes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import kernel, mix
from curate.kernels.shingle_hashes import Shingles

Signatures = NDArray[np.uint32]
EMPTY = np.uint32(0xFFFFFFFF)


def permutations(count: int, seed: int = 1) -> tuple[Signatures, Signatures]:
    """Return the `a` and `b` of datasketch's affine permutations; NumPy keeps this generator's stream for ever."""
    generator = np.random.RandomState(seed)
    a = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, generator.randint(0, 1 << 32, count, dtype=np.uint32)


def signatures(found: Shingles, count: int = 128, seed: int = 1) -> Signatures:
    """Return the signature of every text, shape (texts, count); without shingles all values are `EMPTY`."""
    return _signatures(found.first, found.hashes, *permutations(count, seed))


def buckets(signed: Signatures, bands: int, rows: int) -> NDArray[np.uint64]:
    """Return a hash of each band of each signature, shape (bands, texts); bands have different hashes for the same rows."""
    return _buckets(signed, bands, rows)


@kernel
def _signatures(first: Any, hashes: Any, a: Any, b: Any) -> Any:
    texts, count = len(first) - 1, len(a)
    signed = np.empty((texts, count), np.uint32)
    longest = 0
    for text in range(texts):
        longest = max(longest, first[text + 1] - first[text])
    low = np.empty(longest, np.uint32)
    for text in range(texts):
        begun, size = first[text], first[text + 1] - first[text]
        for k in range(size):
            value = np.uint32(hashes[begun + k])
            value = np.uint32((value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B))
            value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35))
            low[k] = value ^ (value >> np.uint32(16))
        for p in range(count):
            factor, shift, least = a[p], b[p], np.uint32(0xFFFFFFFF)
            for k in range(size):
                least = min(least, np.uint32(low[k] * factor + shift))
            signed[text, p] = least
    return signed


@kernel
def _buckets(signed: Any, bands: int, rows: int) -> Any:
    texts = len(signed)
    found = np.empty((bands, texts), np.uint64)
    for text in range(texts):
        for band in range(bands):
            value = np.uint64(band + 1)
            for k in range(band * rows, (band + 1) * rows):
                value = mix((value ^ np.uint64(signed[text, k])) * np.uint64(0x9E3779B97F4A7C15))
            found[band, text] = value
    return found
