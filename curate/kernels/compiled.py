"""How kernels are compiled: once per machine (the cache lies beside the code), without the interpreter's lock."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numba
import numpy as np
import xxhash
from numba.core import cgutils
from numba.extending import intrinsic


def kernel(function: Any) -> Any:
    """Compile a function at its first call; where no folder for the cache can be written, in every process anew."""
    try:
        compiled = numba.njit(nogil=True, cache=True)(function)
        # Kernels are compiled into each other, but Numba looks only at the file of each: a stale one would run on after an upgrade.
        compiled._cache._cache_file._source_stamp = _sources()
    except (RuntimeError, AttributeError):
        return numba.njit(nogil=True)(function)
    return compiled


@functools.cache
def _sources() -> str:
    """Return a digest of the sources of all kernels."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return xxhash.xxh3_128_hexdigest(b"".join(file.name.encode() + file.read_bytes() for file in files))


@intrinsic
def borrowed(typing_context: Any, array: Any) -> Any:
    """Return a view of an array that counts no references: calls with it are cheap.

    Whoever borrows keeps the array itself alive, by using it after the last use of the view.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        return view._getvalue()

    return array(array), code


REPLACEMENT = 0xFFFD


def inlined(function: Any) -> Any:
    """Compile a function into each of its callers: what is called for every character must not cost a call."""
    return numba.njit(nogil=True, inline="always")(function)


@inlined
def decode(data: Any, place: int, end: int) -> Any:
    """Return the code point at `place` and its bytes; a broken sequence is one U+FFFD per byte and never read past `end`."""
    first = np.int64(data[place])
    if first < 0x80:
        return first, 1
    if 0xC2 <= first < 0xE0:
        if place + 1 < end and data[place + 1] & 0xC0 == 0x80:
            return (first & 0x1F) << 6 | np.int64(data[place + 1] & 0x3F), 2
    elif 0xE0 <= first < 0xF0:
        if place + 2 < end and data[place + 1] & 0xC0 == 0x80 and data[place + 2] & 0xC0 == 0x80:
            code = (first & 0x0F) << 12 | np.int64(data[place + 1] & 0x3F) << 6 | np.int64(data[place + 2] & 0x3F)
            if code >= 0x800:
                return code, 3
    elif 0xF0 <= first < 0xF5 and place + 3 < end:
        second, third, fourth = np.int64(data[place + 1]), np.int64(data[place + 2]), np.int64(data[place + 3])
        code = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F)
        if second & 0xC0 == 0x80 and third & 0xC0 == 0x80 and fourth & 0xC0 == 0x80 and 0x10000 <= code < 0x110000:
            return code, 4
    return REPLACEMENT, 1


HASH_STEP = np.uint64(0x9E3779B97F4A7C15)
HASH_START = np.uint64(0xCBF29CE484222325)


@inlined
def mix(value: Any) -> Any:
    """Return 64 well-mixed bits (the finaliser of SplitMix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def eight(data: Any, place: int) -> Any:
    """Return the eight bytes at `place` as one number, the first lowest (LLVM makes one load of it)."""
    first = np.uint64(place)  # a signed index may count from the end, which would cost eight loads
    word = np.uint64(data[first])
    for k in range(1, 8):
        word |= np.uint64(data[first + np.uint64(k)]) << np.uint64(8 * k)
    return word


EACH = np.uint64(0x0101010101010101)
TOPS = np.uint64(0x8080808080808080)


@inlined
def below(word: Any, limit: int) -> Any:
    """Mark the first of eight bytes that is less than `limit` (at most 128), perhaps others behind it; 0 if there is none."""
    return (word - EACH * np.uint64(limit)) & ~word & TOPS


@inlined
def equal(word: Any, byte: int) -> Any:
    """Mark the first of eight bytes that is `byte`, perhaps others behind it; 0 if there is none."""
    return below(word ^ EACH * np.uint64(byte), 1)


@inlined
def lowest(marked: Any) -> Any:
    """Return which of eight bytes is the first that is marked."""
    return np.int64((((marked & (~marked + np.uint64(1))) - np.uint64(1) & EACH) * EACH) >> np.uint64(56)) - 1


@inlined
def continuations(word: Any) -> Any:
    """Return how many of eight bytes of UTF-8 continue a character."""
    ones = (word >> np.uint64(7)) & ~(word >> np.uint64(6)) & EACH
    return np.int64((ones * EACH) >> np.uint64(56))
