"""Windows over runs of words, and a sample of their n-grams that equal windows always share.

A window is a run of whole words of at least `length` words (or bytes), not one word longer than it must be at one of its ends: all
runs that long are made of such windows. Of the n-grams inside a window (`part` words or bytes each), the smallest hash is its anchor.
Windows with the same words have the same anchor, and neighbours mostly share theirs, so that there are few (Schleimer et al., 2003).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import HASH_STEP, borrowed, inlined, kernel, mix
from curate.kernels.run_spans import Runs
from curate.kernels.text_view import Int64s

Keys = NDArray[np.uint64]
PRIME = np.uint64((1 << 61) - 1)
LOW_HALF, QUARTER = np.uint64((1 << 31) - 1), np.uint64((1 << 30) - 1)
LOW_BASE, HIGH_BASE = np.uint64(0x0D4C1E86A5B93F27), np.uint64(0x0B7E151628AED2A7)  # any numbers will do


def anchors(runs: Runs, length: int, part: int, in_bytes: bool) -> tuple[Keys, Int64s]:
    """Return the anchors of all windows in their order, each once for neighbours that share it, and how many windows each has.

    Neighbours share an n-gram at one place (of equal ones the first), so no two of them are the same window.
    """
    return _anchors(runs.first, _sizes(runs, in_bytes), runs.hashes, length, part)


def windows(runs: Runs, length: int, in_bytes: bool, of_anchor: tuple[Int64s, NDArray[np.bool_]]) -> tuple[Int64s, Int64s, Keys, Keys]:
    """Return the windows of chosen anchors (how many windows each anchor has; whether it is chosen), in the order of the text.

    A window is its first word, the word after its last, and 122 bits of hash in two numbers: polynomials over its words' hashes,
    modulo a prime, so that two different windows of n words are alike in both with a chance of (n / 2^61)^2.
    """
    counts, chosen = of_anchor
    return _windows(runs.first, _sizes(runs, in_bytes), runs.hashes, length, counts, chosen, int(counts[chosen].sum()))


@inlined
def plus(one: Any, other: Any) -> Any:
    """Return a sum modulo the prime; neither is greater than it."""
    total = one + other
    return total - PRIME if total >= PRIME else total


@inlined
def times(one: Any, other: Any) -> Any:
    """Return a product modulo the prime 2^61 - 1; both are less than it. Halves of 31 bits, as 2^61 is 1 and 2^62 is 2."""
    one_high, one_low = one >> np.uint64(31), one & LOW_HALF
    other_high, other_low = other >> np.uint64(31), other & LOW_HALF
    middle = one_low * other_high + one_high * other_low
    total = one_high * other_high * np.uint64(2) + (middle >> np.uint64(30)) + one_low * other_low
    total += (middle & QUARTER) << np.uint64(31)
    total = (total >> np.uint64(61)) + (total & PRIME)
    return total - PRIME if total >= PRIME else total


def _sizes(runs: Runs, in_bytes: bool) -> Int64s:
    return runs.end - runs.start if in_bytes else np.ones(len(runs.start), np.int64)


@kernel
def _anchors(first: Any, sizes: Any, hashes: Any, length: int, part: int) -> tuple[Any, Any]:
    longest = 0
    for text in range(len(first) - 1):
        longest = max(longest, first[text + 1] - first[text])
    power = np.ones(part + 2, np.uint64)
    for k in range(1, part + 2):
        power[k] = power[k - 1] * HASH_STEP
    own_grams, own_ends, own_queue = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    grams, ends, queue = borrowed(own_grams), borrowed(own_ends), borrowed(own_queue)
    values, counts, made = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64), 0
    for text in range(len(first) - 1):
        base, words = first[text], first[text + 1] - first[text]
        found, until, size, value = 0, 0, 0, np.uint64(0)  # the n-grams that begin at each word and are long enough
        while True:
            while size < part and until < words:
                value = value * HASH_STEP + hashes[base + until]
                size += sizes[base + until]
                until += 1
            if size < part:
                break
            grams[found], ends[found] = mix(value), until
            value -= hashes[base + found] * power[until - found - 1]
            size -= sizes[base + found]
            found += 1
        begin, stop, size = 0, 0, 0
        pushed, head, tail, latest = 0, 0, 0, -1
        while True:
            while size < length and stop < words:
                size += sizes[base + stop]
                stop += 1
            if size < length:
                break
            rest = size - sizes[base + begin]
            while True:
                while pushed < found and ends[pushed] <= stop:
                    while tail > head and grams[queue[tail - 1]] > grams[pushed]:
                        tail -= 1
                    queue[tail] = pushed
                    tail += 1
                    pushed += 1
                while queue[head] < begin:
                    head += 1
                if queue[head] == latest:
                    counts[made - 1] += 1
                else:
                    latest = queue[head]
                    values[made], counts[made] = grams[latest], 1
                    made += 1
                if rest >= length or stop == words:
                    break
                rest += sizes[base + stop]
                stop += 1
                if rest >= length:
                    break
            size = rest
            begin += 1
    own_grams[0], own_ends[0], own_queue[0] = 0, 0, 0  # they live until here
    return values[:made].copy(), counts[:made].copy()


@kernel
def _windows(first: Any, sizes: Any, hashes: Any, length: int, counts: Any, chosen: Any, room: int) -> tuple[Any, Any, Any, Any]:
    longest = 0
    for text in range(len(first) - 1):
        longest = max(longest, first[text + 1] - first[text])
    low_power, high_power = np.ones(length + 2, np.uint64), np.ones(length + 2, np.uint64)
    for k in range(1, length + 2):
        low_power[k], high_power[k] = times(low_power[k - 1], LOW_BASE), times(high_power[k - 1], HIGH_BASE)
    own_low, own_high = np.zeros(longest + 1, np.uint64), np.zeros(longest + 1, np.uint64)
    low, high = borrowed(own_low), borrowed(own_high)
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    low_keys, high_keys = np.empty(room, np.uint64), np.empty(room, np.uint64)
    made, anchor, left = 0, -1, 0
    for text in range(len(first) - 1):
        base, words = first[text], first[text + 1] - first[text]
        begin, stop, size = 0, 0, 0
        hashed = 0  # the words whose prefixes are hashed: only as far as chosen windows need them
        while True:
            while size < length and stop < words:
                size += sizes[base + stop]
                stop += 1
            if size < length:
                break
            rest = size - sizes[base + begin]
            while True:
                if not left:
                    anchor += 1
                    left = counts[anchor]
                left -= 1
                if chosen[anchor]:
                    hashed = max(hashed, begin)  # what a prefix starts from does not matter: only differences count
                    while hashed < stop:
                        word = hashes[base + hashed]
                        low[hashed + 1] = plus(times(low[hashed], LOW_BASE), word & PRIME)
                        high[hashed + 1] = plus(times(high[hashed], HIGH_BASE), word >> np.uint64(3))
                        hashed += 1
                    starts[made], stops[made] = base + begin, base + stop
                    low_keys[made] = mix(plus(low[stop], PRIME - times(low[begin], low_power[stop - begin])))
                    high_keys[made] = mix(plus(high[stop], PRIME - times(high[begin], high_power[stop - begin])))
                    made += 1
                if rest >= length or stop == words:
                    break
                rest += sizes[base + stop]
                stop += 1
                if rest >= length:
                    break
            size = rest
            begin += 1
    own_low[0], own_high[0] = 0, 0  # they live until here
    return starts, stops, low_keys, high_keys
