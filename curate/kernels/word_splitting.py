"""Splits a run of characters without white space into words, where it has punctuation inside or at both ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, kernel, mix

DIGIT, LETTER, MARK, UPPER, LOWER = unicode.DIGIT, unicode.LETTER, unicode.MARK, unicode.UPPER, unicode.LOWER
EDGE, DASH, CURRENCY, ICON, ALONE = unicode.EDGE, unicode.DASH, unicode.CURRENCY, unicode.ICON, unicode.ALONE
SIGN = unicode.PUNCTUATION | unicode.SYMBOL
WORDLY = LETTER | unicode.NUMBER | MARK
LONGEST_ABBREVIATION, LONGEST_UNIT = 8, 4
DOT, COMMA, APOSTROPHE, QUOTE, PERCENT, PLUS, COLON, SLASH, AT = 46, 44, 39, 0x2019, 37, 43, 58, 47, 64
HYPHENS_KEPT, HYPHENS_SPLIT, HYPHENS_SPLIT_ALSO_NUMBERS = range(3)
APOSTROPHES_KEPT, CONTRACTIONS, ELISIONS = range(3)


@kernel
def split(codes: Any, bits: Any, size: int, seen: Any, pieces: Any, abbreviations: Any, hyphens: int, apostrophes: int) -> int:
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
    while low < high:  # each call is guarded by what it needs at least: a call costs as much as the rest of the loop
        last = codes[high - 1]
        if (last == DOT or last == PLUS) and _is_whole(codes, bits, low, high, abbreviations):
            break
        if last | 32 == 115 and high - low == 2 and (codes[low] == APOSTROPHE or codes[low] == QUOTE):
            break  # an 's by itself
        step = _prefix(codes, bits, low, high) if bits[low] & SIGN else 0
        if step:
            pieces[count, 0], pieces[count, 1] = low, low + step
            count += 1
            low += step
            continue
        step = _suffix(codes, bits, low, high) if bits[high - 1] & SIGN or last | 32 == 115 else 0
        if not step and bits[low] & DIGIT and not bits[high - 1] & (DIGIT | SIGN):
            step = _unit(codes, bits, low, high, abbreviations)
        if not step:
            break
        high -= step
    if low < high:
        count = _middle(codes, bits, low, high, pieces, count, abbreviations, hyphens, apostrophes)
    while high < stop:  # what was split off at the end, from left to right: the same lengths as were found from the right
        step = _run(codes, bits, high, stop)
        pieces[count, 0], pieces[count, 1] = high, high + step
        count += 1
        high += step
    return count


@kernel
def _run(codes: Any, bits: Any, place: int, stop: int) -> int:
    """Return the length of the word at the start of split-off endings."""
    step = 1
    if codes[place] == DOT:
        while place + step < stop and codes[place + step] == DOT:
            step += 1
    elif codes[place] == APOSTROPHE or codes[place] == QUOTE:
        if place + 1 < stop and codes[place + 1] | 32 == 115:
            step = 2
    elif not bits[place] & SIGN:  # a unit
        while place + step < stop and not bits[place + step] & SIGN:
            step += 1
    return step


@kernel
def _unit(codes: Any, bits: Any, low: int, high: int, listed_words: Any) -> int:
    """Return the length of a unit behind a number."""
    step = 1
    while step < LONGEST_UNIT and not bits[high - 1 - step] & DIGIT and high - 1 - step > low:
        step += 1
    return step if bits[high - 1 - step] & DIGIT and listed(hashed(codes, high - step, high), listed_words) else 0


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
        if size > LONGEST_ABBREVIATION or not bits[low] & (LETTER | DIGIT):
            return False
        return listed(hashed(codes, low, high), abbreviations)
    return size == 3 and codes[low] == 67 and codes[low + 1] == PLUS and codes[low + 2] == PLUS


@kernel
def listed(value: Any, table: Any) -> bool:
    place = np.searchsorted(table, value)
    return bool(place < len(table) and table[place] == value)


@kernel
def _middle(codes: Any, bits: Any, low: int, high: int, pieces: Any, count: int, abbreviations: Any, hyphens: int, apostrophes: int) -> int:
    """Cut what is left between split-off punctuation: contractions, then signs between letters."""
    begun = low
    dotted, quoted = False, False
    for k in range(low, high):
        dotted |= codes[k] == DOT
        quoted |= codes[k] == APOSTROPHE or codes[k] == QUOTE
    if not (dotted and (_is_whole(codes, bits, low, high, abbreviations) or _is_address(codes, bits, low, high))):
        ending = _contraction(codes, low, high) if quoted and apostrophes == CONTRACTIONS else 0
        if ending:
            pieces[count, 0], pieces[count, 1] = low, high - ending
            pieces[count + 1, 0], pieces[count + 1, 1] = high - ending, high
            return count + 2
        place = low + 1
        while place < high - 1:
            if not bits[place] & SIGN:
                place += 1
                continue
            if quoted and apostrophes == ELISIONS and (codes[place] == APOSTROPHE or codes[place] == QUOTE):
                place += 1
                if bits[place - 2] & LETTER and bits[place] & LETTER:  # l'eau: l' and eau
                    pieces[count, 0], pieces[count, 1] = begun, place
                    count += 1
                    begun = place
                continue
            step = _infix(codes, bits, place, high, hyphens)
            if not step:
                place += 1
                continue
            if begun < place:
                pieces[count, 0], pieces[count, 1] = begun, place
                count += 1
            pieces[count, 0], pieces[count, 1] = place, place + step
            count += 1
            place += step
            begun = place
    if begun < high:
        pieces[count, 0], pieces[count, 1] = begun, high
        count += 1
    return count


@kernel
def _infix(codes: Any, bits: Any, place: int, high: int, hyphens: int) -> int:
    """Return the length of a sign that separates two words, 0 if the character at `place` does not."""
    code, what = codes[place], bits[place]
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
    """Say whether a run is a web or mail address: [scheme://][user@]label.label.tld[:port][/path], the last label without capitals."""
    place = low
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
        if not bits[k] & LETTER or bits[k] & UPPER:
            return False
    return bool(place == high or codes[place] == COLON or codes[place] == SLASH or codes[place] == 63 or codes[place] == 35)


@kernel
def hashed(codes: Any, start: int, end: int) -> Any:
    value = HASH_START
    for k in range(start, end):
        value = (value ^ np.uint64(codes[k])) * HASH_STEP
    return mix(value)
