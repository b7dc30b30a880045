"""Words: where they are, how long, what kind, and a 64-bit hash of each.

A word is what most published filters count: a run of characters between white space, with punctuation split off at its
ends and, inside it, at hyphens (not in German and some others), slashes and the like between letters; English contractions
are two (`do`, `n't`), as are French elisions (`l'`, `eau`); common abbreviations, addresses and numbers stay whole. This follows the rules of spaCy's blank English tokenizer, which
datatrove uses, closely enough that their decisions agree (`tests/benchmarks/README.md`). In scripts written without
spaces (Chinese, Japanese kana, Thai, Lao, Khmer, Burmese) each letter with its marks is one word; a katakana run is
one, as in UAX #29.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.abbreviations import ABBREVIATIONS
from curate.kernels.compiled import HASH_START, HASH_STEP, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

ALPHABETIC = 1  # has a letter
WORDLIKE = 2  # has a character that is no punctuation, symbol or control
ENDS_SENTENCE = 4  # one character that ends sentences
PUNCTUATION = 8  # nothing but punctuation

SPACE, LETTER, DIGIT, UPPER, LOWER = unicode.SPACE, unicode.LETTER, unicode.DIGIT, unicode.UPPER, unicode.LOWER
EDGE, DASH, CURRENCY, ICON, ALONE, MARK = unicode.EDGE, unicode.DASH, unicode.CURRENCY, unicode.ICON, unicode.ALONE, unicode.MARK
WORDLY = LETTER | unicode.NUMBER | MARK
SPLITS = unicode.PUNCTUATION | unicode.SYMBOL | ALONE  # a run without any of these is one word
LONGEST_ABBREVIATION = 8
HYPHENS_KEPT, HYPHENS_SPLIT, HYPHENS_SPLIT_ALSO_NUMBERS = range(3)
KEEP_HYPHENS = frozenset(["bs", "ca", "da", "de", "el", "es", "fi", "hr", "hu", "lb", "nb", "nl", "nn", "no", "pt", "ro", "sr", "sv"])
APOSTROPHES_KEPT, CONTRACTIONS, ELISIONS = range(3)
ELIDING = frozenset(["ca", "fr", "it"])
SPLIT_NUMBERS = frozenset(["en", "id", "ms", "pl", "sl"])
DOT, COMMA, APOSTROPHE, QUOTE, PERCENT, PLUS, COLON, SLASH, AT = 46, 44, 39, 0x2019, 37, 43, 58, 47, 64


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


def words(texts: Texts, language: str = "en") -> Words:
    """Return the words of every text, by the rules for hyphens and contractions of a language (ISO 639-1)."""
    hyphens = HYPHENS_KEPT if language in KEEP_HYPHENS else HYPHENS_SPLIT_ALSO_NUMBERS if language in SPLIT_NUMBERS else HYPHENS_SPLIT
    apostrophes = CONTRACTIONS if language == "en" else ELISIONS if language in ELIDING else APOSTROPHES_KEPT
    rules = hyphens, apostrophes
    return texts.remember(("words", rules), lambda: Words(*_words(texts.data, texts.offsets, unicode.classes(), _ABBREVIATIONS, *rules)))


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
def _hash(codes: Any, start: int, end: int) -> Any:
    value = HASH_START
    for k in range(start, end):
        value = (value ^ np.uint64(codes[k])) * HASH_STEP
    return mix(value)


@kernel
def _words(
    data: Any, offsets: Any, classes: Any, abbreviations: Any, hyphens: int, apostrophes: int
) -> tuple[Any, Any, Any, Any, Any, Any]:
    texts = len(offsets) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    codes, bits, places = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.int64)
    pieces = np.empty((longest + 1, 2), np.int32)  # the words of one run, in order
    room = (offsets[-1] - offsets[0]) // 4 + 1024
    first = np.zeros(texts + 1, np.int64)
    start, end, chars = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
    kind, hashes = np.empty(room, np.uint8), np.empty(room, np.uint64)
    count = 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        if count + stop - place > room:
            room = max(2 * room, count + stop - place)
            start, end, chars = _grown(start, room, count), _grown(end, room, count), _grown(chars, room, count)
            kind, hashes = _grown(kind, room, count), _grown(hashes, room, count)
        while place < stop:
            size = 0
            seen, inner = np.uint32(0), np.uint32(0)  # bits of all characters, and of all but the last
            value, inner_value = HASH_START, HASH_START
            while place < stop:  # this loop is most of the work: nothing is called in it for ASCII (measured: 8 times faster)
                code, width = np.int64(data[place]), 1
                if code >= 0x80:
                    code, width = decode(data, place, stop)
                what = classes[code]
                if what & SPACE:
                    break
                codes[size], bits[size], places[size] = code, what, place
                inner, inner_value = seen, value
                value = (value ^ np.uint64(code)) * HASH_STEP
                seen |= what
                size += 1
                place += width
            places[size] = place
            place += width
            if not size:
                continue
            last = codes[size - 1]
            if not inner & SPLITS and not bits[size - 1] & ALONE:  # at most the last character may be split off: nearly always so
                tail = size > 1 and bits[size - 1] & EDGE != 0
                if last == DOT and size > 1:
                    listed = size <= LONGEST_ABBREVIATION and _listed(mix(value), abbreviations)
                    then = bits[size - 2]
                    lone = size == 2 and then & LOWER
                    capitals = size > 2 and then & UPPER != 0 and bits[size - 3] & UPPER != 0
                    tail = not (listed or lone) and ((then & WORDLY != 0 and not then & UPPER) or capitals)
                elif size > 1 and not tail and bits[size - 1] & SPLITS:
                    if bits[size - 1] & ICON or (bits[size - 2] & DIGIT and (last == PERCENT or last == PLUS or bits[size - 1] & CURRENCY)):
                        tail = True
                if tail:
                    seen, value = inner, inner_value
                    size -= 1
                start[count], end[count], chars[count] = places[0], places[size], size
                hashes[count] = mix(value)
                kind[count] = (ALPHABETIC if seen & LETTER else 0) | (WORDLIKE if seen & WORDLY else 0)
                if size == 1 and seen & unicode.PUNCTUATION:
                    kind[count] |= PUNCTUATION | (ENDS_SENTENCE if seen & unicode.SENTENCE_END else 0)
                count += 1
                if tail:
                    start[count], end[count], chars[count] = places[size], places[size + 1], 1
                    hashes[count] = mix((HASH_START ^ np.uint64(last)) * HASH_STEP)
                    kind[count] = PUNCTUATION if bits[size] & unicode.PUNCTUATION else 0
                    if bits[size] & unicode.SENTENCE_END:
                        kind[count] |= ENDS_SENTENCE
                    count += 1
                continue
            for piece in range(_split(codes, bits, size, seen, pieces, abbreviations, hyphens, apostrophes)):
                a, b = pieces[piece, 0], pieces[piece, 1]
                start[count], end[count], chars[count] = places[a], places[b], b - a
                hashes[count] = _hash(codes, a, b)
                kind[count] = _kind(bits, a, b)
                count += 1
        first[text + 1] = count
    return first, start[:count].copy(), end[:count].copy(), chars[:count].copy(), kind[:count].copy(), hashes[:count].copy()


@kernel
def _grown(array: Any, room: int, count: int) -> Any:
    larger = np.empty(room, array.dtype)
    larger[:count] = array[:count]
    return larger


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
    if end - start == 1 and some & unicode.SENTENCE_END:
        kind |= ENDS_SENTENCE
    if all_punctuation:
        kind |= PUNCTUATION
    return np.uint8(kind)


@kernel
def _split(codes: Any, bits: Any, size: int, seen: Any, pieces: Any, abbreviations: Any, hyphens: int, apostrophes: int) -> int:
    """Cut a run of characters without white space into words; return how many."""
    if not seen & ALONE:
        return _split_spaced(codes, bits, 0, size, pieces, 0, abbreviations, hyphens, apostrophes)
    count, place = 0, 0
    while place < size:
        begun = place
        if bits[place] & ALONE:
            place += 1
            while place < size and bits[place] & MARK:
                place += 1
            pieces[count, 0], pieces[count, 1] = begun, place
            count += 1
        else:
            while place < size and not bits[place] & ALONE:
                place += 1
            count = _split_spaced(codes, bits, begun, place, pieces, count, abbreviations, hyphens, apostrophes)
    return count


@kernel
def _split_spaced(
    codes: Any, bits: Any, low: int, high: int, pieces: Any, count: int, abbreviations: Any, hyphens: int, apostrophes: int
) -> int:
    stop = high
    while low < high:
        if _is_whole(codes, bits, low, high, abbreviations):
            break
        step = _prefix(codes, bits, low, high)
        if step:
            pieces[count, 0], pieces[count, 1] = low, low + step
            count += 1
            low += step
            continue
        step = _suffix(codes, bits, low, high)
        if not step:
            break
        high -= step
    if low < high:
        count = _middle(codes, bits, low, high, pieces, count, abbreviations, hyphens, apostrophes)
    while high < stop:  # what was split off at the end, from left to right: the same lengths as were found from the right
        step = _run(codes, high, stop)
        pieces[count, 0], pieces[count, 1] = high, high + step
        count += 1
        high += step
    return count


@kernel
def _run(codes: Any, place: int, stop: int) -> int:
    """Return the length of the word at the start of split-off endings."""
    if codes[place] == DOT:
        step = 1
        while place + step < stop and codes[place + step] == DOT:
            step += 1
        return step
    if (codes[place] == APOSTROPHE or codes[place] == QUOTE) and place + 1 < stop and codes[place + 1] | 32 == 115:
        return 2
    return 1


@kernel
def _dots(codes: Any, place: int, high: int) -> int:
    step = 0
    while place + step < high and codes[place + step] == DOT:
        step += 1
    return step


@kernel
def _prefix(codes: Any, bits: Any, low: int, high: int) -> int:
    code, what = codes[low], bits[low]
    if code == DOT:
        dots = _dots(codes, low, high)
        return dots if dots > 1 else 0
    if code == PLUS:
        return 1 if low + 1 >= high or not bits[low + 1] & DIGIT else 0
    return 1 if what & (EDGE | CURRENCY | ICON) or code == PERCENT or code == 61 or code == 0xA7 else 0


@kernel
def _suffix(codes: Any, bits: Any, low: int, high: int) -> int:
    code, what = codes[high - 1], bits[high - 1]
    before = high - 2
    if before >= low and code | 32 == 115 and (codes[before] == APOSTROPHE or codes[before] == QUOTE):
        return 2
    if code == DOT:
        if before < low:
            return 0
        dots = 1
        while high - 1 - dots >= low and codes[high - 1 - dots] == DOT:
            dots += 1
        if dots > 1:
            return dots
        then, last = bits[before], codes[before]
        plain = (then & (WORDLY | EDGE) and not then & UPPER) or last == PERCENT or last == 0xB2 or last == 45 or last == PLUS
        return 1 if plain or (before - 1 >= low and then & UPPER and bits[before - 1] & UPPER) else 0
    if what & (EDGE | ICON):
        return 1
    if (code == PLUS or code == PERCENT or what & CURRENCY) and before >= low and bits[before] & DIGIT:
        return 1
    return 0


@kernel
def _is_whole(codes: Any, bits: Any, low: int, high: int, abbreviations: Any) -> bool:
    """Say whether a run is an abbreviation that keeps its dot or a name that keeps its signs."""
    size = high - low
    if codes[high - 1] == DOT:
        if size == 2:
            return bits[low] & LOWER != 0
        if size > 8 or not bits[low] & (LETTER | DIGIT):
            return False
        return _listed(_hash(codes, low, high), abbreviations)
    return size == 3 and codes[low] == 67 and codes[low + 1] == PLUS and codes[low + 2] == PLUS


@kernel
def _listed(value: Any, table: Any) -> bool:
    place = np.searchsorted(table, value)
    return bool(place < len(table) and table[place] == value)


@kernel
def _middle(codes: Any, bits: Any, low: int, high: int, pieces: Any, count: int, abbreviations: Any, hyphens: int, apostrophes: int) -> int:
    """Cut what is left between split-off punctuation: contractions, then signs between letters."""
    begun = low
    if not (_is_whole(codes, bits, low, high, abbreviations) or _is_address(codes, bits, low, high)):
        ending = _contraction(codes, low, high) if apostrophes == CONTRACTIONS else 0
        if ending:
            pieces[count, 0], pieces[count, 1] = low, high - ending
            pieces[count + 1, 0], pieces[count + 1, 1] = high - ending, high
            return count + 2
        place = low + 1
        while place < high - 1:
            step = _infix(codes, bits, place, low, high, hyphens)
            if apostrophes == ELISIONS and (codes[place] == APOSTROPHE or codes[place] == QUOTE):
                if bits[place - 1] & LETTER and bits[place + 1] & LETTER:  # l'eau: l' and eau
                    pieces[count, 0], pieces[count, 1] = begun, place + 1
                    count += 1
                    begun = place + 1
                place += 1
            elif step:
                if begun < place:
                    pieces[count, 0], pieces[count, 1] = begun, place
                    count += 1
                pieces[count, 0], pieces[count, 1] = place, place + step
                count += 1
                place += step
                begun = place
            else:
                place += 1
    if begun < high:
        pieces[count, 0], pieces[count, 1] = begun, high
        count += 1
    return count


@kernel
def _infix(codes: Any, bits: Any, place: int, low: int, high: int, hyphens: int) -> int:
    """Return the length of a sign that separates two words, 0 if the character at `place` does not."""
    code, what = codes[place], bits[place]
    if not what & (unicode.PUNCTUATION | unicode.SYMBOL):
        return 0
    if code == DOT:
        dots = _dots(codes, place, high)
        if dots > 1:
            return dots
        before, after = bits[place - 1], bits[place + 1]
        ends = before & (LETTER | MARK | EDGE) and not before & UPPER
        return 1 if ends and after & (LETTER | EDGE) and not after & LOWER else 0
    if what & ICON or code == 0x2026 or (code >= 0x3000 and what & EDGE):  # ideographic punctuation always separates
        return 1
    before, after = bits[place - 1], bits[place + 1]
    if code == PLUS or code == 45 or code == 42 or code == 94:
        if before & DIGIT and (after & DIGIT or codes[place + 1] == 45):
            return 1
    if code == COMMA:
        return 1 if before & LETTER and after & LETTER else 0
    if what & DASH:
        step = 1
        while step < 3 and place + step < high and codes[place + step] == code:
            step += 1
        follows = before & LETTER or (hyphens == HYPHENS_SPLIT_ALSO_NUMBERS and before & DIGIT)
        return step if (hyphens or step > 1) and follows and place + step < high and bits[place + step] & LETTER else 0
    if code == COLON or code == 60 or code == 62 or code == 61 or code == SLASH:
        return 1 if before & (LETTER | DIGIT) and after & LETTER else 0
    return 0


@kernel
def _contraction(codes: Any, low: int, high: int) -> int:
    """Return the length of an English contraction's second half: n't, 'll, 've, 're, 'd, 'm."""
    size = high - low
    if size < 3:
        return 0
    last, middle = codes[high - 1] | 32, codes[high - 2]
    if middle == APOSTROPHE or middle == QUOTE:
        if last == 116 and size > 3 and codes[high - 3] | 32 == 110:
            return 3
        return 2 if last == 100 or last == 109 else 0
    mark = codes[high - 3]
    if (mark == APOSTROPHE or mark == QUOTE) and size > 3:
        pair = middle | 32
        if (pair == 108 and last == 108) or ((pair == 118 or pair == 114) and last == 101):
            return 3
    return 0


@kernel
def _is_address(codes: Any, bits: Any, low: int, high: int) -> bool:
    """Say whether a run is a web or mail address: [scheme://][user@]label.label.tld[:port][/path]."""
    place, dot = low, False
    for k in range(low, high):
        dot |= codes[k] == DOT
    if not dot:
        return False
    for k in range(low, high - 2):
        if codes[k] == COLON and codes[k + 1] == SLASH and codes[k + 2] == SLASH and k > low:
            place = k + 3
            break
    for k in range(place, high):
        if codes[k] == SLASH:
            break
        if codes[k] == AT and k > place:
            place = k + 1
            break
    labels, begun = 0, place
    while place < high:
        if codes[place] == DOT:
            if place == begun:
                return False
            labels += 1
            begun = place + 1
        elif not bits[place] & (LETTER | DIGIT | MARK) and codes[place] != 45 and codes[place] != 95:
            break
        place += 1
    if not labels or place - begun < 2:
        return False
    for k in range(begun, place):
        if not bits[k] & LETTER:
            return False
    return bool(place == high or codes[place] == COLON or codes[place] == SLASH or codes[place] == 63 or codes[place] == 35)


def hash_word(word: str) -> int:
    """Return the hash that `words` gives a word; in Python, so that importing this module compiles nothing."""
    mask = (1 << 64) - 1
    value = int(HASH_START)
    for char in word:
        value = (value ^ ord(char)) * int(HASH_STEP) & mask
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return value ^ value >> 31


_ABBREVIATIONS = np.sort(np.array([hash_word(word) for word in ABBREVIATIONS], np.uint64))
