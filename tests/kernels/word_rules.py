"""The rules by which a run of characters without white space is cut into words, a second time and in plain Python.

From the outside in, as spaCy's tokenizer goes: signs are taken off the front, then off the back, until nothing more comes
off or what is left is an abbreviation; then contractions, elisions and signs between letters cut the middle.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby

from curate.kernels.abbreviations import ABBREVIATIONS, UNITS

STAYS = "/@\\%†‡•§՚՛՜՝՞՟."  # punctuation that is not taken off at an end just for standing there
APOSTROPHES = "'’"
ALONE = ("CJK UNIFIED", "HIRAGANA LETTER", "THAI CHARACTER", "LAO LETTER", "KHMER LETTER", "MYANMAR LETTER")


@cache
def category(char: str) -> str:
    return unicodedata.category(char)


def letter(char: str) -> bool:
    return category(char)[0] == "L"


def digit(char: str) -> bool:
    return category(char) == "Nd"


def upper(char: str) -> bool:
    return category(char) in ("Lu", "Lt")


def wordly(char: str) -> bool:
    return category(char)[0] in "LNM"


@cache
def edge(char: str) -> bool:
    """Say whether a character comes off either end of a word."""
    return char in "<>`´=—–" or (category(char)[0] == "P" and category(char) != "Pd" and char not in STAYS)


@cache
def alone(char: str) -> bool:
    """Say whether a letter is a word by itself."""
    return letter(char) and unicodedata.name(char, "").startswith(ALONE)


def words(text: str, hyphens: str, apostrophes: str) -> list[str]:
    """Return the words of a text; `hyphens` is kept, split or numbers; `apostrophes` is kept, contractions or elisions."""
    return [word for run in text.split() for part in parts(run) for word in cut(part, hyphens, apostrophes)]


def parts(run: str) -> Iterator[str]:
    """Yield letters that stand alone, with their marks, and what is between them."""
    place = 0
    while place < len(run):
        begun = place
        place += 1
        if alone(run[begun]):
            while place < len(run) and category(run[place])[0] == "M":
                place += 1
        else:
            while place < len(run) and not alone(run[place]):
                place += 1
        yield run[begun:place]


def cut(run: str, hyphens: str, apostrophes: str) -> list[str]:
    if alone(run[0]):
        return [run]
    front: list[str] = []
    back: list[str] = []
    while run and not whole(run):
        if size := prefix(run):
            front.append(run[:size])
            run = run[size:]
        elif size := suffix(run) or unit(run):
            back.insert(0, run[-size:])
            run = run[:-size]
        else:
            break
    return front + (middle(run, hyphens, apostrophes) if run else []) + back


def whole(run: str) -> bool:
    """Say whether signs at the ends belong to the word."""
    if run == "C++" or (len(run) == 2 and run[0] in APOSTROPHES and run[1] in "sS"):
        return True
    if len(run) == 2 and run[1] == ".":
        return category(run[0]) == "Ll"
    return run.endswith(".") and run in ABBREVIATIONS


def prefix(run: str) -> int:
    dots = len(run) - len(run.lstrip("."))
    if dots:
        return dots if dots > 1 else 0
    if run[0] == "+":
        return int(not run[1:] or not digit(run[1]))
    return int(edge(run[0]) or category(run[0]) in ("Sc", "So") or run[0] in "%=§")


def suffix(run: str) -> int:
    if len(run) > 1 and run[-1] in "sS" and run[-2] in APOSTROPHES:
        return 2
    rest = run[:-1]
    if run[-1] == ".":
        dots = len(run) - len(run.rstrip("."))
        if dots > 1 or not rest:
            return dots if rest else 0
        plain = ((wordly(rest[-1]) or edge(rest[-1])) and not upper(rest[-1])) or rest[-1] in "%²-+"
        return int(plain or (len(rest) > 1 and upper(rest[-1]) and upper(rest[-2])))
    if edge(run[-1]) or category(run[-1]) == "So":
        return 1
    return int(bool(rest) and digit(rest[-1]) and (run[-1] in "+%" or category(run[-1]) == "Sc"))


def unit(run: str) -> int:
    """Return the length of a unit behind a number."""
    size = len(run)
    while size and not digit(run[size - 1]):
        size -= 1
    return len(run) - size if digit(run[0]) and run[size:] in UNITS else 0


def address(run: str) -> bool:
    """Say whether a run is a web or mail address: [scheme://][user@]label.label.tld[:port][/path]."""
    if "." not in run:
        return False
    scheme = run.find("://", 1)
    rest = run[scheme + 3 :] if scheme > 0 else run
    at, slash = rest.find("@", 1), rest.find("/")
    if at > 0 and (slash < 0 or at < slash):
        rest = rest[at + 1 :]
    host = rest
    for place, char in enumerate(rest):
        if char not in ".-_" and not (letter(char) or digit(char) or category(char)[0] == "M"):
            host, rest = rest[:place], rest[place:]
            break
    else:
        rest = ""
    *labels, last = host.split(".")
    if not labels or not all(labels) or len(last) < 2 or not all(letter(char) and not upper(char) for char in last):
        return False
    return not rest or rest[0] in ":/?#"


def contraction(run: str) -> int:
    """Return the length of the second half of an English contraction."""
    small = run.lower().replace("’", "'")
    for ending in ("n't", "'ll", "'ve", "'re"):
        if small.endswith(ending) and len(run) > 3:
            return 3
    return 2 if len(run) > 2 and small.endswith(("'d", "'m")) else 0


def middle(run: str, hyphens: str, apostrophes: str) -> list[str]:
    if whole(run) or address(run):
        return [run]
    if apostrophes == "contractions" and (size := contraction(run)):
        return [run[:-size], run[-size:]]
    found, begun, place = [], 0, 1
    while place < len(run) - 1:
        if apostrophes == "elisions" and run[place] in APOSTROPHES:
            if letter(run[place - 1]) and letter(run[place + 1]):
                found.append(run[begun : place + 1])
                begun = place + 1
            place += 1
            continue
        size = infix(run, place, hyphens)
        if size:
            found += [run[begun:place], run[place : place + size]]
            begun = place + size
        place += size or 1
    return [word for word in [*found, run[begun:]] if word]


def same_from(run: str, place: int) -> int:
    """Return how often the character at a place follows upon itself."""
    return len(list(next(group for _, group in groupby(run[place:]))))


def infix(run: str, place: int, hyphens: str) -> int:
    """Return the length of a sign that separates two words."""
    char, before, after = run[place], run[place - 1], run[place + 1]
    if char == ".":
        dots = same_from(run, place)
        if dots > 1:
            return dots
        ends = (letter(before) or category(before)[0] == "M" or edge(before)) and not upper(before)
        return int(ends and (letter(after) or edge(after)) and category(after) != "Ll")
    if category(char) == "So" or char == "…" or (char >= "\u3000" and edge(char)):
        return 1
    if char in "+-*^" and digit(before) and (digit(after) or after == "-"):
        return 1
    if char == ",":
        return int(letter(before) and letter(after))
    if category(char) == "Pd" or char == "~":
        size = min(same_from(run, place), 3)
        follows = letter(before) or (hyphens == "numbers" and digit(before))
        then = run[place + size : place + size + 1]
        return size if (hyphens != "kept" or size > 1) and follows and then and letter(then) else 0
    if char in ":<>=/":
        return int((letter(before) or digit(before)) and letter(after))
    return 0
