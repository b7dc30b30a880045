"""Says why we and datatrove decide differently about a document, by trying which single difference turns their decision into ours.

Each difference is one convention: which words there are (`words`), which of them are symbols (`symbols`), and whether the words of
an n-gram are joined without a separator, so that "a bc" and "ab c" are the same (`joined`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations

from tests.benchmarks.fidelity_rules import Rule

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
SEPARATOR = "\x00"


@dataclass(frozen=True)
class Reading:
    """How one side reads a text."""

    text: str
    words: list[str]
    plain: list[bool]
    separator: str = SEPARATOR


DIFFERENCES = {
    "theirs: n-grams joined without separator": "separator",
    "ours: which signs are symbols": "plain",
    "ours: words split differently": "words",
}


def measure(name: str, reading: Reading) -> float:
    """Return a statistic of the rules by its published definition."""
    words, text = reading.words, reading.text
    if name.startswith("duplicated_"):
        return repeated(words, int(name.split("_")[1]), reading.separator) / max(len(text), 1)
    if name.startswith("top_"):
        return top(words, int(name.split("_")[1])) / max(len(text), 1)
    plain = [word for word, flag in zip(words, reading.plain, strict=True) if flag]
    counts: dict[str, tuple[float, float]] = {
        "plain_words": (len(plain), 1),
        "mean_word_chars": (sum(map(len, plain)), len(plain)),
        "hash_ratio": (text.count("#"), len(words)),
        "ellipsis_ratio": (text.count("...") + text.count("…"), len(words)),
        "words_with_letter_ratio": (sum(any(char.isalpha() for char in word) for word in words), len(words)),
        "stop_words": (len(STOP_WORDS.intersection(words)), 1),
        "list_ratio": (text.count("\n"), len(words)),
    }
    part, whole = counts[name]
    return part / whole if whole else float("nan")


def repeated(words: list[str], n: int, separator: str) -> int:
    """Return the characters in repeated n-grams, walking on behind each that was seen before."""
    seen: set[str] = set()
    chars = place = 0
    while place <= len(words) - n:
        gram = separator.join(words[place : place + n])
        if gram in seen:
            chars += sum(map(len, words[place : place + n]))
            place += n
        else:
            seen.add(gram)
            place += 1
    return chars


def top(words: list[str], n: int) -> int:
    """Return the characters of the most frequent n-gram times its count."""
    grams = Counter(" ".join(words[place : place + n]) for place in range(len(words) - n + 1))
    return max(((len(gram) * count) for gram, count in grams.most_common(1)), default=0)


def by_words(rule: Rule) -> bool:
    """Whether what the rule measures depends on words."""
    lines = ("dup_", "bullet_", "ellipsis_line", "line_punct", "short_line", "char_dup")
    return bool(rule.measure) and not rule.measure.startswith(lines)


def cause(rule: Rule, ours: Reading, theirs: Reading, ours_broken: bool) -> str:
    """Return the smallest set of differences that turns their reading into one that decides as we do."""
    for size in (1, 2, 3):
        for names in combinations(DIFFERENCES, size):
            mixed = _mixed(theirs, ours, [DIFFERENCES[name] for name in names])
            if mixed is not None and rule.broken(measure(rule.measure, mixed)) == ours_broken:
                return " and ".join(names)
    return "unexplained"


def _mixed(theirs: Reading, ours: Reading, fields: list[str]) -> Reading | None:
    """Return their reading with some of our conventions; which words are plain is known only with the words it belongs to."""
    if "plain" in fields and "words" not in fields:
        known = dict(zip(ours.words, ours.plain, strict=True))
        plain = [known.get(word, flag) for word, flag in zip(theirs.words, theirs.plain, strict=True)]
        return replace(theirs, plain=plain, separator=ours.separator if "separator" in fields else theirs.separator)
    if "words" in fields:
        known = dict(zip(theirs.words, theirs.plain, strict=True))
        plain = ours.plain if "plain" in fields else [known.get(word, flag) for word, flag in zip(ours.words, ours.plain, strict=True)]
        return replace(theirs, words=ours.words, plain=plain, separator=ours.separator if "separator" in fields else theirs.separator)
    return replace(theirs, separator=ours.separator)


def splits(ours: list[str], theirs: list[str], text: str, limit: int = 8) -> list[str]:
    """Return the runs between white space that are split differently, as `theirs → ours`, the most frequent first."""
    found: Counter[str] = Counter()
    mine, yours = iter(ours), iter(theirs)
    for run in text.split():
        one, other = _take(mine, len(run)), _take(yours, len(run))
        if one is None or other is None:
            break
        if one != other:
            found[f"{'|'.join(other)} → {'|'.join(one)}"] += 1
    return [f"{count} × {pair}" for pair, count in found.most_common(limit)]


def _take(words: object, chars: int) -> list[str] | None:
    taken: list[str] = []
    while chars > 0:
        word = next(words, None)  # type: ignore[call-overload]
        if word is None or len(word) > chars:
            return None
        taken.append(word)
        chars -= len(word)
    return taken
