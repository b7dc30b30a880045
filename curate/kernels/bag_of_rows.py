"""Texts as averages of matrix rows: the rows of their words, of the parts of words, and of word n-grams, as fastText takes them.

A word is a run of bytes without white space; its row is found by its 32-bit FNV-1a hash and compared byte by byte. Parts of words
(`min_chars` to `max_chars` characters, `<` and `>` at the ends) and n-grams of words are hashed into `buckets` rows behind those of
the words. A text ends with the row of `</s>`; where that stands in a text it is skipped, and line feeds are white space.
The order of additions is fastText's, so the averages are the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import borrowed, kernel
from curate.kernels.text_view import Int64s, Texts

Int32s = NDArray[np.int32]
Floats = NDArray[np.float32]

FNV_START, FNV_STEP = np.uint32(2166136261), np.uint32(16777619)
GRAM_STEP = np.uint64(116049371)
LESS, GREATER = np.uint8(ord("<")), np.uint8(ord(">"))
END = b"</s>"
LABEL = b"__label__"
AHEAD = 12  # rows that are on their way from memory while one is added


@dataclass(frozen=True)
class Vocabulary:
    """Which rows a word has: words by number, the first `words` of `names` (the rest are labels), and how others are hashed.

    `pruned` maps hashed rows to those that a pruned model kept (sorted keys, values), None = all are there.
    """

    names: list[bytes]
    words: int
    buckets: int
    min_chars: int
    max_chars: int
    word_grams: int
    label_prefix: bytes = LABEL
    pruned: tuple[Int32s, Int32s] | None = None

    def tables(self) -> tuple[Any, ...]:
        """Return the arrays that the kernels read."""
        data = np.frombuffer(b"".join(self.names) + b"\0", np.uint8)
        offsets = np.concatenate([[0], np.cumsum([len(name) for name in self.names])]).astype(np.int64)
        settings = np.array([self.words, self.buckets, self.min_chars, self.max_chars, self.word_grams], np.int64)
        kept = np.zeros(0, np.int32)  # the row of every bucket, -1 where it was pruned; of none if nothing was
        if self.pruned is not None:
            kept = np.full(self.buckets, -1, np.int32)
            kept[self.pruned[0]] = self.pruned[1] + self.words
        end = self.names.index(END) if END in self.names else -1
        hashes, table = _table(data, offsets)
        first, parts = _parts_of_all(data, offsets, end, settings, kept)
        return data, offsets, hashes, table, first, parts, kept, settings, end, np.frombuffer(self.label_prefix, np.uint8)


def averages(texts: Texts, tables: tuple[Any, ...], matrix: Floats) -> tuple[Floats, Int64s]:
    """Return the average of each text's rows, shape (texts, dimensions), and how many words it has, `</s>` not counted."""
    return _averages(texts.data, texts.offsets, tables, matrix)


@kernel
def _table(data: Any, offsets: Any) -> tuple[Any, Any]:
    """Return the hash of every name, and a table of them by open addressing."""
    names = len(offsets) - 1
    slots = 16
    while slots < 2 * names:
        slots *= 2
    hashes, table = np.empty(names, np.uint32), np.full(slots, -1, np.int32)
    for name in range(names):
        value = FNV_START
        for place in range(offsets[name], offsets[name + 1]):
            value = np.uint32((value ^ np.uint32(np.int32(np.int8(data[place])))) * FNV_STEP)
        hashes[name] = value
        slot = np.int64(value) & (slots - 1)
        while table[slot] >= 0:
            slot = (slot + 1) & (slots - 1)
        table[slot] = name
    return hashes, table


@kernel
def _parts_of_all(data: Any, offsets: Any, end: int, settings: Any, kept: Any) -> tuple[Any, Any]:
    """Return the rows of the parts of every word that is known; word `i` has `first[i]:first[i + 1]`."""
    words, least, most = settings[0], settings[2], settings[3]
    first = np.zeros(words + 1, np.int64)
    if most <= 0:
        return first, np.empty(0, np.int32)
    room = 0
    for word in range(words):
        room += (offsets[word + 1] - offsets[word] + 2) * (most - least + 1)
    parts = np.empty(room, np.int32)
    count = 0
    for word in range(words):
        if word != end:
            count = _parts(data, offsets[word], offsets[word + 1], settings, kept, parts, count)
        first[word + 1] = count
    return first, parts[:count].copy()


@kernel
def _parts(data: Any, begun: int, ended: int, settings: Any, kept: Any, parts: Any, count: int) -> int:
    """Write the rows of the parts of `<word>` behind the first `count`; return how many there are then."""
    words, buckets, least, most = settings[0], np.uint32(settings[1]), settings[2], settings[3]
    pruned = len(kept) > 0
    size = ended - begun + 2
    for i in range(size):
        byte = LESS if i == 0 else GREATER if i == size - 1 else data[begun + i - 1]
        if byte & 0xC0 == 0x80:
            continue
        value, j, n = FNV_START, i, 1
        while j < size and n <= most:
            while True:
                byte = LESS if j == 0 else GREATER if j == size - 1 else data[begun + j - 1]
                value = np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * FNV_STEP)
                j += 1
                if j >= size or (GREATER if j == size - 1 else data[begun + j - 1]) & 0xC0 != 0x80:
                    break
            if n >= least and not (n == 1 and (i == 0 or j == size)):
                bucket = np.int64(value % buckets)
                row = np.int64(kept[bucket]) if pruned else words + bucket
                if row >= 0:
                    parts[count] = row
                    count += 1
            n += 1
    return count


@kernel
def _averages(data: Any, offsets: Any, tables: Any, matrix: Any) -> tuple[Any, Any]:
    own_names, name_offsets, name_hashes, table, first, own_parts, own_kept, own_settings, end, prefix = tables
    names, parts, kept, settings = borrowed(own_names), borrowed(own_parts), borrowed(own_kept), borrowed(own_settings)
    pruned = len(own_kept) > 0
    words, buckets, least, most, grams = own_settings[0], own_settings[1], own_settings[2], own_settings[3], own_settings[4]
    texts, dimensions, mask = len(offsets) - 1, matrix.shape[1], len(table) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    tokens = longest // 2 + 2
    own_rows = np.empty((longest + 2 * tokens) * max(1, most - least + 1) + tokens * max(1, grams), np.int32)
    rows, view = borrowed(own_rows), borrowed(data)
    hashes = np.empty(tokens, np.int32)
    averages, sizes = np.zeros((texts, dimensions), np.float32), np.zeros(texts, np.int64)
    value = FNV_START
    for byte in (60, 47, 115, 62):  # </s>
        value = np.uint32((value ^ np.uint32(byte)) * FNV_STEP)
    end_hash = np.int32(value)
    touched = np.float32(0)
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        count, seen = 0, 0
        while place < stop:
            while place < stop and (view[place] == 32 or 9 <= view[place] <= 13 or view[place] == 0):
                place += 1
            begun, value = place, FNV_START
            while place < stop:
                byte = view[place]
                if byte == 32 or 9 <= byte <= 13 or byte == 0:
                    break
                value = np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * FNV_STEP)
                place += 1
            size = place - begun
            if not size:
                break
            slot, word = np.int64(value) & mask, -1
            while table[slot] >= 0:
                found = table[slot]
                if name_hashes[found] == value and name_offsets[found + 1] - name_offsets[found] == size:
                    same = True
                    for k in range(size):
                        if names[name_offsets[found] + k] != view[begun + k]:
                            same = False
                            break
                    if same:
                        word = np.int64(found)
                        break
                slot = (slot + 1) & mask
            if word >= words or (value == np.uint32(end_hash) and size == 4 and view[begun] == 60):
                continue  # a label, or the end of a text, which this is not
            if word < 0 and size >= len(prefix):
                is_label = True
                for k in range(len(prefix)):
                    if prefix[k] != view[begun + k]:
                        is_label = False
                        break
                if is_label:
                    continue
            hashes[seen] = np.int32(value)
            seen += 1
            if word >= 0:
                rows[count] = word
                count += 1
                if most > 0:
                    for k in range(first[word], first[word + 1]):
                        rows[count] = parts[k]
                        count += 1
            elif most > 0:
                count = _parts(view, begun, place, settings, kept, rows, count)
        sizes[text] = seen
        hashes[seen] = end_hash
        if end >= 0:
            rows[count] = end
            count += 1
        for i in range(seen + 1 if grams > 1 else 0):
            gram = np.uint64(np.int64(hashes[i]))
            for j in range(i + 1, min(i + grams, seen + 1)):
                gram = gram * GRAM_STEP + np.uint64(np.int64(hashes[j]))
                bucket = np.int64(gram % np.uint64(buckets))
                row = np.int64(kept[bucket]) if pruned else words + bucket
                if row >= 0:
                    rows[count] = row
                    count += 1
        if not count:
            continue
        for k in range(count):
            ahead = min(k + AHEAD, count - 1)
            touched = max(touched, matrix[rows[ahead], 0])
            row = np.uint64(rows[k])
            for d in range(dimensions):
                averages[text, d] += matrix[row, d]
        share = np.float32(1.0 / count)
        for d in range(dimensions):
            averages[text, d] *= share
    own_rows[0] = np.int32(touched > 1e30)  # what is borrowed lives until here
    return averages, sizes
