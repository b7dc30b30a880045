"""What repeats within a text: whole lines or paragraphs, and n-grams of words (Gopher, table A1; DCLM).

Two conventions are published. `later` counts what comes after the first copy (datatrove); `all` counts every copy, the
first included (DCLM's code). The same threshold is stricter under `all`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import HASH_STEP, kernel
from curate.kernels.line_spans import EMPTY, Lines
from curate.kernels.text_view import Int64s
from curate.kernels.word_spans import Words

Counting = Literal["later", "all"]


def repeated_lines(lines: Lines, counting: Counting = "later", skip_empty: bool = False) -> tuple[Int64s, Int64s, Int64s]:
    """Return per text how many lines it has, how many of them repeat another, and the characters of those."""
    kind = lines.kind if skip_empty else np.zeros(len(lines.start), np.uint8)
    return _repeated_lines(lines.first, lines.chars, kind, lines.hashes, counting == "all", skip_empty)


def repeated_grams(
    words: Words, top: tuple[int, ...] = (2, 3, 4), repeated: tuple[int, ...] = (5, 6, 7, 8, 9, 10), counting: Counting = "later"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for every text and n the characters of the most frequent n-gram, and those in repeated n-grams.

    Shapes (texts, len(top)) and (texts, len(repeated)); both tuples ascend. The most frequent n-gram (the first among
    equals) is written with single spaces and counts as often as it occurs. Of repeated n-grams the characters of their
    words count, none twice: under `later` by walking on behind each n-gram that was seen before, under `all` for every
    word that an n-gram occurring twice covers.
    """
    if list(top) != sorted(set(top)) or list(repeated) != sorted(set(repeated)) or any(n < 2 for n in (*top, *repeated)):
        raise ValueError("n-grams are of two words at least, and their n ascend")
    wanted_top, wanted = np.array(top, np.int64), np.array(repeated, np.int64)
    return _repeated_grams(words.first, words.chars, words.hashes, wanted_top, wanted, counting == "all")


@kernel
def _repeated_lines(first: Any, chars: Any, kind: Any, hashes: Any, every: bool, skip_empty: bool) -> tuple[Any, Any, Any]:
    texts = len(first) - 1
    total, repeats, repeated_chars = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    longest = 0
    for text in range(texts):
        longest = max(longest, first[text + 1] - first[text])
    slots = 16
    while slots < 2 * longest:
        slots *= 2
    table = np.full(slots, -1, np.int64)
    counted = np.zeros(longest, np.bool_)
    for text in range(texts):
        begun, count = first[text], first[text + 1] - first[text]
        used = 16
        while used < 2 * count:
            used *= 2
        mask = np.uint64(used - 1)
        table[:used] = -1
        lines, found, found_chars = 0, 0, 0
        for k in range(count):
            if skip_empty and kind[begun + k] & EMPTY:
                continue
            lines += 1
            counted[k] = False
            value = hashes[begun + k]
            slot = value & mask
            while table[slot] >= 0 and hashes[begun + table[slot]] != value:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] < 0:
                table[slot] = k
                continue
            found += 1
            found_chars += chars[begun + k]
            if every and not counted[table[slot]]:
                counted[table[slot]] = True
                found += 1
                found_chars += chars[begun + k]
        total[text], repeats[text], repeated_chars[text] = lines, found, found_chars
    return total, repeats, repeated_chars


@kernel
def _repeated_grams(first: Any, chars: Any, hashes: Any, top: Any, repeated: Any, every: bool) -> tuple[Any, Any]:
    """Count n-grams for growing n; only places whose shorter n-gram occurs twice can repeat, so the work shrinks with n."""
    texts = len(first) - 1
    top_chars, repeated_chars = np.zeros((texts, len(top)), np.int64), np.zeros((texts, len(repeated)), np.int64)
    longest, largest = 0, 2
    for text in range(texts):
        longest = max(longest, first[text + 1] - first[text])
    if len(top):
        largest = max(largest, top[-1])
    if len(repeated):
        largest = max(largest, repeated[-1])
    slots = 16
    while slots < 2 * longest:
        slots *= 2
    owner, counts = np.empty(slots, np.int32), np.empty(longest + 1, np.int32)
    grams, slot_of = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.int32)
    candidates, ends = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int64)
    for text in range(texts):
        begun, count = first[text], first[text + 1] - first[text]
        ends[0] = 0
        for k in range(count):
            ends[k + 1] = ends[k] + chars[begun + k]
            grams[k] = hashes[begun + k]
            candidates[k] = k
        left = count
        next_top, next_repeated = 0, 0
        for n in range(2, largest + 1):
            # candidates are the places whose (n-1)-gram occurs twice; extend each by its n-th word
            extended = 0
            for k in range(left):
                place = candidates[k]
                if place + n <= count:
                    word = hashes[begun + place + n - 1]
                    grams[place] = (grams[place] ^ word >> np.uint64(1)) * HASH_STEP + word
                    candidates[extended] = place
                    extended += 1
            left = extended
            used = 16
            while used < 2 * left:
                used *= 2
            mask = np.uint64(used - 1)
            owner[:used] = -1
            best, best_place = 0, 0
            for k in range(left):
                place = candidates[k]
                value = grams[place]
                slot = (value >> np.uint64(32)) & mask  # multiplied: the upper half is mixed well
                while owner[slot] >= 0 and grams[owner[slot]] != value:
                    slot = (slot + np.uint64(1)) & mask
                if owner[slot] < 0:
                    owner[slot] = place
                    counts[place] = 0
                original = owner[slot]
                slot_of[place] = original
                counts[original] += 1
                if counts[original] > best or (counts[original] == best and original < best_place):
                    best, best_place = counts[original], original
            if next_top < len(top) and top[next_top] == n:
                if best < 2:
                    best, best_place = 1, 0  # nothing repeats: the first n-gram
                if count >= n:
                    top_chars[text, next_top] = best * (ends[best_place + n] - ends[best_place] + n - 1)
                next_top += 1
            survivors = 0
            for k in range(left):
                place = candidates[k]
                if counts[slot_of[place]] > 1:
                    candidates[survivors] = place
                    survivors += 1
            left = survivors
            if next_repeated < len(repeated) and repeated[next_repeated] == n:
                repeated_chars[text, next_repeated] = _covered(candidates, left, slot_of, counts, ends, n, every)
                next_repeated += 1
            if not left and next_top >= len(top):
                break
    return top_chars, repeated_chars


@kernel
def _covered(candidates: Any, left: int, slot_of: Any, counts: Any, ends: Any, n: int, every: bool) -> int:
    """Return the characters in repeated n-grams; `candidates` are the places, ascending, of n-grams that occur twice."""
    covered, free = 0, 0
    if every:
        for k in range(left):
            place = candidates[k]
            covered += ends[place + n] - ends[max(place, free)]
            free = place + n
        return covered
    for k in range(left):
        counts[slot_of[candidates[k]]] = 0  # from here on: whether it has been met
    for k in range(left):
        place = candidates[k]
        if place < free:
            continue
        original = slot_of[place]
        if counts[original]:
            covered += ends[place + n] - ends[place]
            free = place + n
        else:
            counts[original] = 1
    return covered
