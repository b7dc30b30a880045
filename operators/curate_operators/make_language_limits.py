"""Writes `language_limits.json`, the limits that differ from English by language: `python -m curate_operators.make_language_limits DATA`.

The published limits were set on English. Each is turned into the same amount of text in another language, by what one text measures
in both: the Universal Declaration of Human Rights (`lid_udhr500`) and Wikipedia's paragraphs in XQuAD (`wiki_xquad_parallel`);
lengths of words and the share of words with letters also by the sentences of Lingua (`lid_lingua75`), which are no translations.
A factor is the geometric mean over the sets of the median over a language's versions in a set. DATA has a folder for each set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate import kernels
from curate.kernels import line_spans, unicode
from curate_operators.fineweb import FinewebQuality
from curate_operators.gopher import REPEATED, TOP, GopherQuality
from curate_operators.languages import LIMITS

ENGLISH = "en"
MIN_PARALLEL_SHARE = 0.75  # of the articles that the English Declaration has
MIN_BYTES_RATIO = 0.6  # shorter ones are summaries
JOINED = 1 / 3  # with fewer words than that for one of English, white space does not divide words (Tibetan)
DIFFERENT = 0.15  # a limit that moves less stays the published one, so that languages like English keep it
ETHIOPIC_SPACE, ETHIOPIC_STOP = "፡", "።"

Limits = dict[str, float | None]


@dataclass(frozen=True)
class Counts:
    """What is counted in the texts of one language."""

    words: int
    plain_words: int
    plain_chars: int
    words_with_letter: int
    chars: int
    bytes: int
    lines: int
    ended_lines: int
    letters_alone: float

    @property
    def mean_chars(self) -> float:
        """Return the characters of a word."""
        return self.plain_chars / self.plain_words

    @property
    def without_letter(self) -> float:
        """Return the share of words without a letter."""
        return 1 - self.words_with_letter / self.words


@dataclass(frozen=True)
class Factors:
    """What a language needs for the same text, English = 1, NaN = unknown; `ended_lines` and `letters_alone` are shares."""

    words: float
    mean_chars: float
    without_letter: float
    chars: float
    bytes: float
    ended_lines: float
    letters_alone: float


@dataclass(frozen=True)
class Version:
    """The texts of one language, or of one spelling of it, by what is parallel; `usual` = no second script, no dialect."""

    language: str
    texts: dict[str, str]
    usual: bool = True


def udhr(data: Path) -> list[Version]:
    """Return the Declaration in each of its versions."""
    found: dict[str, Version] = {}
    for doc in _docs(data, "lid_udhr500"):
        language, *rest = doc["bcp47"].split("-")
        usual = not doc["variant"].isdigit() and not any(len(part) == 4 and part.istitle() for part in rest)
        version = found.setdefault(doc["variant"], Version(language, {}, usual))
        # Some type Ethiopic as it was printed, with a mark between words; pages on the web have white space there.
        version.texts[doc["parallel"]] = doc["text"].replace(ETHIOPIC_SPACE * 2, ETHIOPIC_STOP).replace(ETHIOPIC_SPACE, " ")
    return [version for version in found.values() if version.language != "und"]


def xquad(data: Path) -> list[Version]:
    """Return the paragraphs of XQuAD."""
    return _by_language((doc["lang"], doc["id"].split("/")[1], doc["text"]) for doc in _docs(data, "wiki_xquad_parallel"))


def lingua(data: Path) -> list[Version]:
    """Return the sentences of Lingua."""
    return _by_language((doc["lang"], doc["id"], doc["text"]) for doc in _docs(data, "lid_lingua75") if doc["kind"] == "sentences")


PARALLEL: tuple[Callable[[Path], list[Version]], ...] = (udhr, xquad)


def counts(texts: list[str], language: str) -> Counts:
    """Count in some texts."""
    view = kernels.Texts.of(pa.array(texts, pa.large_string()))
    words, lines = kernels.words(view, language), kernels.lines(view, "feed")
    real = (lines.kind & line_spans.EMPTY) == 0
    ended = real & ((lines.kind & line_spans.SENTENCE_END) > 0)
    every, plain_words, plain_chars, with_letter = kernels.word_counts(words)
    return Counts(
        words=int(every.sum()),
        plain_words=int(plain_words.sum()),
        plain_chars=int(plain_chars.sum()),
        words_with_letter=int(with_letter.sum()),
        chars=int(kernels.lengths(view).sum()),
        bytes=int(view.offsets[-1] - view.offsets[0]),
        lines=int(real.sum()),
        ended_lines=int(ended.sum()),
        letters_alone=_letters_alone("".join(texts)),
    )


def factors(other: Counts, english: Counts, parallel: bool) -> Factors:
    """Return how one language's counts compare with those of English."""
    return Factors(
        words=other.plain_words / english.plain_words if parallel else np.nan,
        mean_chars=other.mean_chars / english.mean_chars,
        without_letter=other.without_letter / english.without_letter,
        chars=other.chars / english.chars if parallel else np.nan,
        bytes=other.bytes / english.bytes if parallel else np.nan,
        ended_lines=other.ended_lines / other.lines if parallel else np.nan,
        letters_alone=other.letters_alone,
    )


def measured(versions: list[Version], parallel: bool) -> dict[str, Factors]:
    """Return the factors of each language of one set, the medians over its versions."""
    (english,) = (version.texts for version in versions if version.language == ENGLISH)
    found: dict[str, list[tuple[bool, Factors]]] = {}
    for version in versions:
        shared = [key for key in english if key in version.texts] if parallel else []
        if parallel and len(shared) < MIN_PARALLEL_SHARE * len(english):
            continue
        texts = [version.texts[key] for key in shared] or list(version.texts.values())
        known = counts([english[key] for key in shared] or list(english.values()), ENGLISH)
        one = factors(counts(texts, version.language), known, parallel)
        if not one.bytes < MIN_BYTES_RATIO:
            found.setdefault(version.language, []).append((version.usual, one))
    return {language: _median(versions) for language, versions in found.items()}


def combined(sets: list[dict[str, Factors]]) -> dict[str, Factors]:
    """Return the factors of each language that a parallel set has, the geometric means over the sets."""
    languages = sorted({language for found in sets[: len(PARALLEL)] for language in found} - {ENGLISH})
    return {language: _mean([found[language] for found in sets if language in found]) for language in languages}


def limits(language: Factors) -> Limits:
    """Return the limits of one language that differ from the published ones."""
    found = _word_limits(language) | _line_limits(language)
    if language.letters_alone > 0.5:
        tops = {f"max_top_{n}_gram_ratio": None for n in TOP}
        return {**found, **tops, **{f"max_repeated_{n}_gram_ratio": None for n in REPEATED}}
    return found


def _word_limits(language: Factors) -> Limits:
    rules, found = GopherQuality(), Limits()
    found |= _scaled(rules, "min_words", language.words, 5)
    found |= _scaled(rules, "max_words", language.words, 10_000)
    if language.letters_alone > 0.5:
        found |= {"min_mean_word_chars": None}
    elif language.words < JOINED:
        found |= {"min_mean_word_chars": None, "max_mean_word_chars": None}
    else:
        found |= _scaled(rules, "min_mean_word_chars", language.mean_chars, 0.5)
        found |= _scaled(rules, "max_mean_word_chars", language.mean_chars, 0.5)
    return found | _letter_limit(rules.min_words_with_letter_ratio or 0, language.without_letter)


def _letter_limit(published: float, factor: float) -> Limits:
    """Return the least share of words with a letter where it is laxer than the published one.

    It is never stricter: signs beyond those of the parallel texts are a matter of subject, not of language.
    """
    share = _rounded(1 - (1 - published) * factor, 0.05)
    return {} if share >= published else {"min_words_with_letter_ratio": share if share > published / 2 else None}


def _line_limits(language: Factors) -> Limits:
    rules, found = FinewebQuality(), Limits()
    found |= _scaled(rules, "short_line_chars", language.chars, 1)
    found |= _scaled(rules, "max_line_feed_ratio", 1 / language.words, 0.01)
    without_stops = language.ended_lines < (rules.min_punctuated_line_ratio or 0)
    return found | ({"min_punctuated_line_ratio": None, "min_sentences": None} if without_stops else {})


def _scaled(rules: GopherQuality | FinewebQuality, name: str, factor: float, step: float) -> Limits:
    published = getattr(rules, name)
    return {name: _rounded(published * factor, step)} if abs(factor - 1) >= DIFFERENT else {}


def _rounded(value: float, step: float) -> float:
    found = round(max(round(value / step), 1) * step, 2)
    return int(found) if found == int(found) else found


def _median(versions: list[tuple[bool, Factors]]) -> Factors:
    chosen = [one for usual, one in versions if usual] or [one for _, one in versions]
    return Factors(*np.median([list(vars(one).values()) for one in chosen], axis=0).tolist())


def _mean(sets: list[Factors]) -> Factors:
    table = np.array([list(vars(one).values()) for one in sets])
    with np.errstate(divide="ignore"):
        return Factors(*np.exp(np.nanmean(np.log(np.maximum(table, 1e-9)), axis=0)).tolist())


def _by_language(rows: Iterator[tuple[str, str, str]]) -> list[Version]:
    found: dict[str, Version] = {}
    for language, key, text in rows:
        found.setdefault(language, Version(language, {})).texts[key] = text
    return list(found.values())


def _letters_alone(text: str) -> float:
    classes = unicode.classes()[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
    return int(np.count_nonzero(classes & unicode.ALONE)) / max(int(np.count_nonzero(classes & unicode.LETTER)), 1)


def _docs(data: Path, name: str) -> Iterator[Mapping[str, Any]]:
    with pa.input_stream(str(data / name / "docs.jsonl.zst"), compression="zstd") as stream:
        yield from map(orjson.loads, stream.read().splitlines())


def main(data: Path) -> None:
    """Measure, and write the file."""
    sets = [measured(read(data), parallel=True) for read in PARALLEL] + [measured(lingua(data), parallel=False)]
    rows = {language: limits(found) for language, found in combined(sets).items()}
    written = ",\n".join(f'  "{language}": {orjson.dumps(row).decode()}' for language, row in rows.items() if row)
    LIMITS.write_text(f"{{\n{written}\n}}\n")
    print(f"{LIMITS.name}: {len(rows)} languages, {sum(map(bool, rows.values()))} with limits of their own")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
