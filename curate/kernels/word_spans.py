"""Words: where they are, how long, what kind, and a 64-bit hash of each.

A word is what most published filters count: a run of characters between white space, with punctuation split off at its
ends and, inside it, at hyphens (not in German and some others), slashes and the like between letters. English
contractions are two (`do`, `n't`), as are French elisions (`l'`, `eau`), and a number and its unit (`30`, `mph`); common
abbreviations, addresses and numbers stay whole. This follows the rules of spaCy's blank tokenizers, which datatrove uses,
closely enough that their decisions agree (`tests/benchmarks/README.md`). In scripts written without spaces (Chinese,
Japanese kana, Thai, Lao, Khmer, Burmese) each letter with its marks is one word; a katakana run is one, as in UAX #29.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.abbreviations import ABBREVIATIONS, UNITS
from curate.kernels.compiled import HASH_START, HASH_STEP, borrowed, decode, kernel, mix
from curate.kernels.text_view import Int64s, Left, Texts
from curate.kernels.word_splitting import (
    ALONE,
    APOSTROPHES_KEPT,
    CONTRACTIONS,
    CURRENCY,
    DIGIT,
    DOT,
    EDGE,
    ELISIONS,
    HYPHENS_KEPT,
    HYPHENS_SPLIT,
    HYPHENS_SPLIT_ALSO_NUMBERS,
    ICON,
    LETTER,
    LONGEST_ABBREVIATION,
    LOWER,
    PERCENT,
    PLUS,
    SIGN,
    UPPER,
    WORDLY,
    hashed,
    listed,
    split,
)

ALPHABETIC = 1  # has a letter
WORDLIKE = 2  # has a character that is no punctuation, symbol or control
ENDS_SENTENCE = 4  # one character that ends sentences
PUNCTUATION = 8  # nothing but punctuation

SPACE = unicode.SPACE
SPLITS = SIGN | ALONE  # a run without any of these is one word
KEEP_HYPHENS = frozenset(["bs", "ca", "da", "de", "el", "es", "fi", "hr", "hu", "lb", "nb", "nl", "nn", "no", "pt", "ro", "sr", "sv"])
SPLIT_NUMBERS = frozenset(["en", "id", "ms", "pl", "sl"])
ELIDING = frozenset(["ca", "fr", "it"])


@dataclass(frozen=True)
class Words:
    """Text `i` has the words `first[i]:first[i + 1]`; `start` and `end` are bytes of `Texts.data`."""

    first: Int64s
    start: Int64s
    end: Int64s
    chars: NDArray[np.int32]
    kind: NDArray[np.uint8]
    hashes: NDArray[np.uint64]

    def select(self, kept: NDArray[np.bool_], before: Texts, after: Texts) -> Self:
        """Return the words of the rows that are kept."""
        counts = np.diff(self.first)
        rows = np.flatnonzero(kept)
        first = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
        shift = after.offsets[:-1] - before.offsets[rows]
        start, end, chars, kind, hashes = _take(self.first, rows, first, shift, self.start, self.end, self.chars, self.kind, self.hashes)
        return type(self)(first, start, end, chars, kind, hashes)

    def left(self, spans: Left, after: Texts, compute: Callable[[Texts], Words]) -> Words:
        """Return the words of texts that are made of spans of these; those of edited ones are found anew."""
        anew = compute(after.take(spans.edited))
        return Words(*_left(_columns(self), _columns(anew), (spans.first, spans.start, spans.end), spans.edited, after.offsets))


def _columns(words: Words) -> tuple[Any, ...]:
    return words.first, words.start, words.end, words.chars, words.kind, words.hashes


def words(texts: Texts, language: str = "en") -> Words:
    """Return the words of every text, by the rules for hyphens and contractions of a language (ISO 639-1)."""
    hyphens = HYPHENS_KEPT if language in KEEP_HYPHENS else HYPHENS_SPLIT_ALSO_NUMBERS if language in SPLIT_NUMBERS else HYPHENS_SPLIT
    apostrophes = CONTRACTIONS if language == "en" else ELISIONS if language in ELIDING else APOSTROPHES_KEPT
    return texts.remember(("words", hyphens, apostrophes), lambda texts: _found(texts, hyphens, apostrophes))


def _found(texts: Texts, hyphens: int, apostrophes: int) -> Words:
    most = _most(texts.is_utf8)
    return Words(*_words(texts.data, texts.offsets, unicode.classes(), most, _LISTED, hyphens, apostrophes))


def _most(is_utf8: bool) -> NDArray[np.uint8]:
    """Return for every byte how many words it may add at most."""
    bits = unicode.classes()[:256]
    most = np.where(bits & SPLITS, 2, np.where(bits & SPACE, 1, 0)).astype(np.uint8)
    most[ord("0") : ord("9") + 1] = 1
    most[0x80:] = 2
    if is_utf8:
        most[0x80:0xC0] = 0
    return most


@kernel
def _take(
    old_first: Any, rows: Any, first: Any, shift: Any, start: Any, end: Any, chars: Any, kind: Any, hashes: Any
) -> tuple[Any, Any, Any, Any, Any]:
    total = first[-1]
    new_start, new_end = np.empty(total, np.int64), np.empty(total, np.int64)
    new_chars, new_kind, new_hashes = np.empty(total, np.int32), np.empty(total, np.uint8), np.empty(total, np.uint64)
    for row in range(len(rows)):
        source, target = old_first[rows[row]], first[row]
        for k in range(first[row + 1] - target):
            new_start[target + k] = start[source + k] + shift[row]
            new_end[target + k] = end[source + k] + shift[row]
            new_chars[target + k] = chars[source + k]
            new_kind[target + k] = kind[source + k]
            new_hashes[target + k] = hashes[source + k]
    return new_start, new_end, new_chars, new_kind, new_hashes


@kernel
def _left(known: Any, anew: Any, spans: Any, edited: Any, offsets: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    first, start, end, chars, kind, hashes = known
    anew_first, anew_start, anew_end, anew_chars, anew_kind, anew_hashes = anew
    first_span, span_start, span_end = spans
    texts, room = len(offsets) - 1, len(start) + len(anew_start)
    new_first, new_start, new_end = np.zeros(texts + 1, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    new_chars, new_kind, new_hashes = np.empty(room, np.int32), np.empty(room, np.uint8), np.empty(room, np.uint64)
    count, row, begun = 0, 0, 0  # words; edited texts, and where the next of them begins among themselves
    for text in range(texts):
        if edited[text]:
            shift = offsets[text] - begun
            begun += offsets[text + 1] - offsets[text]
            for word in range(anew_first[row], anew_first[row + 1]):
                new_start[count], new_end[count] = anew_start[word] + shift, anew_end[word] + shift
                new_chars[count], new_kind[count], new_hashes[count] = anew_chars[word], anew_kind[word], anew_hashes[word]
                count += 1
            row += 1
        else:
            word, last, place = first[text], first[text + 1], offsets[text]
            for span in range(first_span[text], first_span[text + 1]):
                while word < last and start[word] < span_start[span]:
                    word += 1
                shift = place - span_start[span]
                while word < last and start[word] < span_end[span]:
                    new_start[count], new_end[count] = start[word] + shift, end[word] + shift
                    new_chars[count], new_kind[count], new_hashes[count] = chars[word], kind[word], hashes[word]
                    count += 1
                    word += 1
                place += span_end[span] - span_start[span] + 1
        new_first[text + 1] = count
    return new_first, new_start[:count], new_end[:count], new_chars[:count], new_kind[:count], new_hashes[:count]


@kernel
def _words(
    data: Any, offsets: Any, classes: Any, most: Any, abbreviations: Any, hyphens: int, apostrophes: int
) -> tuple[Any, Any, Any, Any, Any, Any]:
    texts = len(offsets) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    own_places = np.empty(longest + 1, np.int64)
    places = borrowed(own_places)
    own_codes, own_flags = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.uint32)
    own_pieces = np.empty((longest + 1, 2), np.int32)  # the words of one run, in order
    codes, flags, pieces, abbreviations = borrowed(own_codes), borrowed(own_flags), borrowed(own_pieces), borrowed(abbreviations)
    view, classes_view = borrowed(data), borrowed(classes)
    room = texts + 1  # at most: a word per run without white space, two more for each sign, and one for each digit, which a unit may follow
    for place in range(offsets[0], offsets[-1]):
        room += most[data[place]]
    first = np.zeros(texts + 1, np.int64)
    start, end, chars = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
    kind, hashes = np.empty(room, np.uint8), np.empty(room, np.uint64)
    count = 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        while place < stop:
            begun, final, size = place, place, 0
            last, what, before, earlier = 0, np.uint32(0), np.uint32(0), np.uint32(0)  # the last character; the bits of the last three
            seen, inner = np.uint32(0), np.uint32(0)  # the bits of all characters, and of all but the last
            value, inner_value = HASH_START, HASH_START
            width = 0
            while place < stop:  # this loop is most of the work: no calls and no arrays in it
                code, width = np.int64(data[place]), 1
                if code >= 0x80:
                    code, width = decode(data, place, stop)
                bits = classes[code]
                if bits & SPACE:
                    break
                inner, inner_value, final, last = seen, value, place, code
                earlier, before, what = before, what, bits
                value = (value ^ np.uint64(code)) * HASH_STEP
                seen |= bits
                size += 1
                place += width
            ended = place
            place += width
            if not size:
                continue
            counted = seen & DIGIT and seen & LETTER and (data[begun] < 0x3A or data[begun] >= 0x80)  # perhaps a number and its unit
            if inner & SPLITS or what & ALONE or counted:
                places[size] = ended
                _unpack(view, begun, ended, classes_view, codes, flags, places)
                found = split(codes, flags, size, seen, pieces, abbreviations, hyphens, apostrophes)
                if count + found > room:
                    raise IndexError("more words than there is room for")
                for piece in range(found):
                    a, b = pieces[piece, 0], pieces[piece, 1]
                    start[count], end[count], chars[count] = places[a], places[b], b - a
                    hashes[count] = hashed(codes, a, b)
                    kind[count] = _kind(flags, a, b)
                    count += 1
                continue
            if count + 2 > room:
                raise IndexError("more words than there is room for")
            tail = False  # at most the last character is split off: nearly always so
            if size > 1 and what & SIGN:
                if last == DOT:
                    short = size <= LONGEST_ABBREVIATION and listed(mix(value), abbreviations)
                    lone = size == 2 and before & LOWER != 0
                    capitals = before & UPPER != 0 and earlier & UPPER != 0
                    tail = not (short or lone) and ((before & WORDLY != 0 and not before & UPPER) or capitals)
                else:
                    of_number = before & DIGIT != 0 and (last == PERCENT or last == PLUS or what & CURRENCY != 0)
                    tail = what & (EDGE | ICON) != 0 or of_number
            if tail:
                seen, value = inner, inner_value
                size -= 1
            start[count], end[count], chars[count] = begun, final if tail else ended, size
            hashes[count] = mix(value)
            kind[count] = (ALPHABETIC if seen & LETTER else 0) | (WORDLIKE if seen & WORDLY else 0)
            if size == 1 and seen & unicode.PUNCTUATION:
                kind[count] |= PUNCTUATION | (ENDS_SENTENCE if seen & unicode.SENTENCE_END else 0)
            count += 1
            if tail:
                start[count], end[count], chars[count] = final, ended, 1
                hashes[count] = mix((HASH_START ^ np.uint64(last)) * HASH_STEP)
                kind[count] = (PUNCTUATION if what & unicode.PUNCTUATION else 0) | (ENDS_SENTENCE if what & unicode.SENTENCE_END else 0)
                count += 1
        first[text + 1] = count
    own_codes[0], own_flags[0], own_pieces[0, 0], own_places[0] = 0, 0, 0, 0  # they live until here
    return first, start[:count].copy(), end[:count].copy(), chars[:count].copy(), kind[:count].copy(), hashes[:count].copy()


@kernel
def _unpack(data: Any, begun: int, ended: int, classes: Any, codes: Any, flags: Any, places: Any) -> None:
    """Write the code points of a run, their bits and their places into arrays."""
    place, size = begun, 0
    while place < ended:
        code, width = np.int64(data[place]), 1
        if code >= 0x80:
            code, width = decode(data, place, ended)
        codes[size], flags[size], places[size] = code, classes[code], place
        size += 1
        place += width


@kernel
def _kind(bits: Any, start: int, end: int) -> Any:
    some, all_punctuation = np.uint32(0), True
    for k in range(start, end):
        some |= bits[k]
        all_punctuation &= bits[k] & unicode.PUNCTUATION != 0
    kind = 0
    if some & LETTER:
        kind |= ALPHABETIC
    if some & WORDLY:
        kind |= WORDLIKE
    if end - start == 1 and all_punctuation and some & unicode.SENTENCE_END:
        kind |= ENDS_SENTENCE
    if all_punctuation:
        kind |= PUNCTUATION
    return np.uint8(kind)


def hash_word(word: str) -> int:
    """Return the hash that `words` gives a word; in Python, so that importing this module compiles nothing."""
    mask = (1 << 64) - 1
    value = int(HASH_START)
    for char in word:
        value = (value ^ ord(char)) * int(HASH_STEP) & mask
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return value ^ value >> 31


_LISTED = np.sort(np.array([hash_word(word) for word in (*ABBREVIATIONS, *UNITS)], np.uint64))
