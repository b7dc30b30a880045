"""What `measure` measures: a function for each group, from texts to arrays by name; NaN where there is nothing to measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import kernels
from curate.kernels import Texts
from curate_operators import languages
from curate_operators.rules import ratio

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)
Measured = dict[str, NDArray[Any]]
COUNT, SHARE = pa.int64(), pa.float64()
GROUPS: dict[str, dict[str, pa.DataType]] = {
    "characters": {"chars": COUNT, "bytes": COUNT}
    | {f"{kind}_ratio": SHARE for kind in ("letter", "digit", "upper", "space", "punctuation", "symbol")},
    "words": {"words": COUNT, "plain_words": COUNT}
    | dict.fromkeys(("mean_word_chars", "words_with_letter_ratio", "hash_ratio", "ellipsis_ratio"), SHARE),
    "lines": {"lines": COUNT, "mean_line_chars": SHARE, "max_line_chars": COUNT, "bullet_line_ratio": SHARE, "ellipsis_line_ratio": SHARE},
    "full_lines": {"full_lines": COUNT}
    | dict.fromkeys(("punctuated_line_ratio", "short_line_ratio", "repeated_full_line_char_ratio", "line_feed_ratio"), SHARE),
    "sentences": {"sentences": COUNT},
    "stop_words": {"stop_words": COUNT, "stop_word_occurrences": COUNT, "stop_word_ratio": SHARE},
    "repeats": dict.fromkeys(
        ("repeated_line_ratio", "repeated_line_char_ratio", "repeated_paragraph_ratio", "repeated_paragraph_char_ratio"), SHARE
    ),
    "grams": {f"top_{n}_gram_ratio": SHARE for n in TOP} | {f"repeated_{n}_gram_ratio": SHARE for n in REPEATED},
    "entropy": {"entropy": SHARE},
    "compression": {"compression_ratio": SHARE},
}


@dataclass(frozen=True)
class Field:
    """A measure: its type and the group that it is computed with."""

    kind: pa.DataType
    group: str


@dataclass(frozen=True)
class Settings:
    """How to measure; `strict` = a language without stop words is an error."""

    language: str
    counting: Literal["later", "all"]
    short_line_chars: int
    stop_words: tuple[str, ...] | None
    strict: bool


FIELDS = {name: Field(kind, group) for group, fields in GROUPS.items() for name, kind in fields.items()}


def characters(texts: Texts, settings: Settings) -> Measured:
    """How many characters, and of what kind."""
    counts = kernels.characters(texts)
    kinds = {"letter": counts.letters, "digit": counts.digits, "upper": counts.upper, "space": counts.spaces}
    kinds |= {"punctuation": counts.punctuation, "symbol": counts.symbols}
    return {"chars": counts.all, "bytes": texts.sizes} | {f"{kind}_ratio": ratio(part, counts.all) for kind, part in kinds.items()}


def words(texts: Texts, settings: Settings) -> Measured:
    """Words and signs per word, as `gopher_quality`."""
    from curate.kernels import word_spans

    found = kernels.words(texts, settings.language)
    every = np.diff(found.first)
    is_plain = (found.kind & word_spans.WORDLIKE) > 0
    plain = kernels.sums(is_plain, found.first)
    with_letter = kernels.sums((found.kind & word_spans.ALPHABETIC) > 0, found.first)
    dots = kernels.occurrences(texts, "...") + kernels.occurrences(texts, "…")
    return {
        "words": every,
        "plain_words": plain,
        "mean_word_chars": ratio(kernels.sums(found.chars * is_plain, found.first), plain),
        "words_with_letter_ratio": ratio(with_letter, every),
        "hash_ratio": ratio(kernels.occurrences(texts, "#"), every),
        "ellipsis_ratio": ratio(dots, every),
    }


def lines(texts: Texts, settings: Settings) -> Measured:
    """Lines as `str.splitlines` cuts them, as `gopher_quality`."""
    from curate.kernels import line_spans

    found = kernels.lines(texts)
    count = np.diff(found.first)
    return {
        "lines": count,
        "mean_line_chars": ratio(kernels.sums(found.chars, found.first), count),
        "max_line_chars": _largest(found.chars, found.first),
        "bullet_line_ratio": ratio(kernels.sums((found.kind & line_spans.BULLET) > 0, found.first), count),
        "ellipsis_line_ratio": ratio(kernels.sums((found.kind & line_spans.ELLIPSIS) > 0, found.first), count),
    }


def full_lines(texts: Texts, settings: Settings) -> Measured:
    """Lines that are not blank, as `fineweb_quality`."""
    from curate.kernels import line_spans

    found = kernels.lines(texts, "feed")
    full = (found.kind & line_spans.EMPTY) == 0
    count = kernels.sums(full, found.first)
    _, _, repeated = kernels.repeated_lines(found, "later", skip_empty=True)
    return {
        "full_lines": count,
        "punctuated_line_ratio": ratio(kernels.sums(full & ((found.kind & line_spans.SENTENCE_END) > 0), found.first), count),
        "short_line_ratio": ratio(kernels.sums(full & (found.chars <= settings.short_line_chars), found.first), count),
        "repeated_full_line_char_ratio": ratio(repeated, kernels.sums(found.chars, found.first)),
        "line_feed_ratio": ratio(np.diff(found.first) - 1, np.diff(kernels.words(texts, settings.language).first)),
    }


def sentences(texts: Texts, settings: Settings) -> Measured:
    """Sentences, as `c4_page`."""
    return {"sentences": kernels.sentences(kernels.words(texts, settings.language), kernels.lines(texts, "feed"))}


def stop_words(texts: Texts, settings: Settings) -> Measured:
    """Stop words, as `gopher_quality`."""
    if not settings.strict and settings.stop_words is None and not languages.has_stop_words(settings.language):
        return dict.fromkeys(GROUPS["stop_words"], np.full(len(texts), np.nan))
    found = kernels.words(texts, settings.language)
    listed = languages.stop_words(settings.language) if settings.stop_words is None else settings.stop_words
    different, occurrences = kernels.matches(found, listed)
    share = ratio(occurrences, np.diff(found.first))
    return {"stop_words": different, "stop_word_occurrences": occurrences, "stop_word_ratio": share}


def repeats(texts: Texts, settings: Settings) -> Measured:
    """Repeated lines and paragraphs, as `gopher_repetition`."""
    chars = kernels.characters(texts).all
    measured: Measured = {}
    for what, breaks in (("line", "runs"), ("paragraph", "blank")):
        total, repeated, repeated_chars = kernels.repeated_lines(kernels.lines(texts, breaks), settings.counting)  # type: ignore[arg-type]
        measured |= {f"repeated_{what}_ratio": ratio(repeated, total), f"repeated_{what}_char_ratio": ratio(repeated_chars, chars)}
    return measured


def grams(texts: Texts, settings: Settings) -> Measured:
    """Repeated n-grams of words, as `gopher_repetition`."""
    chars = kernels.characters(texts).all
    top, repeated = kernels.repeated_grams(kernels.words(texts, settings.language), TOP, REPEATED, settings.counting)
    measured = {f"top_{n}_gram_ratio": ratio(top[:, place], chars) for place, n in enumerate(TOP)}
    return measured | {f"repeated_{n}_gram_ratio": ratio(repeated[:, place], chars) for place, n in enumerate(REPEATED)}


def entropy(texts: Texts, settings: Settings) -> Measured:
    """Bits per character."""
    return {"entropy": kernels.entropy(texts)}


def compression(texts: Texts, settings: Settings) -> Measured:
    """What LZ4 leaves of the bytes, a call per document; zstd spends more on its context than on a short page (measured)."""
    codec, data = pa.Codec("lz4_raw"), pa.py_buffer(texts.data)
    left = [codec.compress(data.slice(begun, size)).size for begun, size in zip(texts.offsets[:-1], texts.sizes, strict=True)]
    return {"compression_ratio": ratio(np.array(left, np.int64), texts.sizes)}


def _largest(values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest value of each text, 0 for none."""
    some = np.flatnonzero(np.diff(first))
    found = np.zeros(len(first) - 1, np.int64)
    if len(some):
        found[some] = np.maximum.reduceat(values, first[some])
    return found
