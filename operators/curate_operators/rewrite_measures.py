"""Compares a rewritten text with its source: what of its numbers and names is left, what is new, how much is copied.

The recognisers are simple on purpose, and the same on both sides: they need no model and err alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_KNOWN = 3  # of fewer numbers or names a share says little
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TOKEN = re.compile(r"[^\W_]+(?:['’&.-][^\W_]+)*")
_WORD = re.compile(r"\w+")
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, Burmese, Khmer, kana, Han
_UNIT = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
_NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_OPENS = '.!?:;…\n\r\t"“”„‘«»([{*•-–—|/>#'  # after one of these a word may be capitalised for its place
Grams = set[tuple[str, ...]]


def numbers(text: str) -> set[str]:
    """Return the different numbers in digits, without commas between thousands and zeros that change nothing."""
    return {_number(found) for found in _NUMBER.findall(text)}


def _number(found: str) -> str:
    if _THOUSANDS.fullmatch(found):
        found = found.replace(",", "")
    whole, dot, part = found.partition(".")
    if dot and part.isdecimal() and whole.isdecimal():
        part = part.rstrip("0")
        found = f"{whole}.{part}" if part else whole
    return found.lstrip("0") or "0"


def numerals(text: str) -> set[str]:
    """Return the digits of the English words for zero to twelve: rewriting spells out what is small."""
    spelt = set(_WORD.findall(text.lower()))
    return {str(value) for value, word in enumerate(_NUMERALS) if word in spelt}


def names(text: str) -> set[str]:
    """Return the words of names, in lower case: words with a capital where no sentence, line, quotation or bracket begins.

    A word that the text has in lower case as well is none. In German these are nouns; scripts without capitals have none.
    """
    found, small = set(), set()
    for word, opens in _tokens(text):
        if not word[0].isupper():
            small.add(word)
        elif not opens and len(word) > 1:
            found.add(word.lower())
    return found - small


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Yield words, and whether each stands where anything would have a capital."""
    end = 0
    for match in _TOKEN.finditer(text):
        between = text[end : match.start()]
        yield match.group(), end == 0 or any(letter in _OPENS for letter in between)
        end = match.end()


def recall(wanted: set[str], found: set[str]) -> float:
    """Return the share of what is wanted that was found; NaN where too little is wanted to tell."""
    return len(wanted & found) / len(wanted) if len(wanted) >= MIN_KNOWN else float("nan")


def number_recall(source: str, text: str) -> float:
    """Return the share of the source's numbers that the text has, in digits or (up to twelve) in English words."""
    return recall(numbers(source), numbers(text) | numerals(text))


def name_recall(source: str, text: str) -> float:
    """Return the share of the words of the source's names that the text has, in any case."""
    return recall(names(source), {word.lower() for word, _ in _tokens(text)})


def new_number_ratio(source: str, text: str) -> float:
    """Return the share of the text's numbers that the source has not."""
    return 1 - recall(numbers(text), numbers(source) | numerals(source))


def new_name_ratio(source: str, text: str) -> float:
    """Return the share of the words of the text's names that the source has nowhere."""
    return 1 - recall(names(text), {word.lower() for word, _ in _tokens(source)})


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def grams(given: list[str], size: int) -> Grams:
    """Return the different runs of `size` words."""
    return set(zip(*(given[start:] for start in range(size)), strict=False))


def copy_ratio(source: str, text: str, size: int = 8) -> float:
    """Return the share of the text's runs of words that stand in the source; NaN for a text shorter than one.

    In scripts without spaces each letter counts as a word.
    """
    made = grams(_units(text), size)
    return len(made & grams(_units(source), size)) / len(made) if made else float("nan")


def _units(text: str) -> list[str]:
    return _UNIT.findall(text.lower())
