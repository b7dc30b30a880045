"""`python -m tests.benchmarks.language_limits [--write]`: how many clean texts the length rules drop by language, and how much junk.

Every text is judged twice, by the limits published for English and by the language's own. Parallel texts should be dropped as often
as their English; news and the Bible were not measured when the limits were made. Junk is what no reader wants in that language:
lists of single words, and the menus, heads and feet that extraction cuts off pages. `--write` puts the tables into README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa

from curate import registry
from curate.protocols import Filter
from curate_operators import make_language_limits
from tests.benchmarks import readme
from tests.benchmarks.fidelity_corpus import DATA, LANGUAGES, code_of

ENGLISH = "en"
SETS = ("lid_udhr500", "wiki_xquad_parallel", "lid_lingua75", "news_african_masakha", "bible_lowres", "warc_docs")
SHOWN = ("zu", "fi", "ta", "tr", "ru", "de", "am", "ko", "ar", "hi", "vi", "yo", "zh", "th")
MIN_TEXTS = 25
LISTED_WORDS = 100
NEAR = 0.1

Texts = dict[str, list[str]]


RULES: dict[str, dict[str, Any]] = {
    "gopher_quality": {
        "max_hash_ratio": None,
        "max_ellipsis_ratio": None,
        "max_bullet_line_ratio": None,
        "max_ellipsis_line_ratio": None,
        "min_stop_words": None,
    },
    "fineweb_quality": {"max_repeated_line_char_ratio": None},
    "c4_page": {"drop_lorem_ipsum": False, "drop_curly_bracket": False},
}
"""The filters with only the rules whose limits languages have."""


def dropped(texts: list[str], language: str, own: bool) -> list[float]:
    """Return the shares of texts that each filter drops, and that any drops."""
    docs = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    said = {"language": language, "language_limits": own}
    rules = [cast(Filter, registry.build(registry.OperatorSpec(use, params | said))) for use, params in RULES.items()]
    told = np.array([rule.drop(docs).is_valid().to_numpy(zero_copy_only=False) for rule in rules])
    return [*told.mean(axis=1).tolist(), float(told.any(axis=0).mean())]


def udhr() -> Texts:
    """Return the articles that English has of the Declaration by language, of the complete versions."""
    versions = [version for version in make_language_limits.udhr(DATA) if version.usual]
    (english,) = (version.texts for version in versions if version.language == ENGLISH)
    return {version.language: list(version.texts.values()) for version in versions if set(version.texts) >= set(english)}


def xquad() -> Texts:
    """Return Wikipedia's paragraphs by language."""
    return {version.language: list(version.texts.values()) for version in make_language_limits.xquad(DATA)}


def news_and_bible() -> Texts:
    """Return news and chapters of the Bible by language, as they are."""
    rows = [doc for name in ("news_african_masakha", "bible_lowres") for doc in _docs(name)]
    return _grouped((LANGUAGES[doc["lang"]], doc["text"]) for doc in rows if doc["lang"] in LANGUAGES and doc["lang"] != "pcm")


def word_lists() -> Texts:
    """Return lists of single words, a hundred lines each."""
    words = _grouped((doc["lang"], doc["text"]) for doc in _docs("lid_lingua75") if doc["kind"] == "single-words")
    return {key: ["\n".join(found[i : i + LISTED_WORDS]) for i in range(0, len(found), LISTED_WORDS)] for key, found in words.items()}


def page_rests() -> Texts:
    """Return what extraction leaves out of pages: lines of the whole page that its main text has not."""
    return _grouped(_rests())


def _rests() -> Iterator[tuple[str, str]]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    sites = {site["site"]: site["lang"] for site in orjson.loads((DATA / "warc_docs" / "MANIFEST.json").read_bytes())}
    with open(DATA / "warc_docs" / "docs.warc.gz", "rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            named = next((lang for site, lang in sites.items() if record.headers["WARC-Target-URI"].startswith(site)), "")
            if named in LANGUAGES and b"<html" in (body := record.reader.read())[:2000].lower():
                page = HTMLTree.parse_from_bytes(body, "utf-8")
                main = set(extract_plain_text(page, main_content=True).splitlines())
                rest = [line for line in extract_plain_text(page).splitlines() if line not in main]
                yield LANGUAGES[named], "\n".join(rest)


def _grouped(rows: Iterable[tuple[str, str]]) -> Texts:
    found: Texts = {}
    for language, text in rows:
        found.setdefault(code_of(language) if "_" in language else language, []).append(text)
    return found


def _docs(name: str) -> Iterator[dict[str, Any]]:
    with pa.input_stream(str(DATA / name / "docs.jsonl.zst"), compression="zstd") as stream:
        yield from map(orjson.loads, stream.read().splitlines())


def table(texts: Texts) -> str:
    """Return the shares of texts that each filter drops, by language: by the English limits → by the language's own."""
    lines = ["| language | texts | Gopher | FineWeb | C4 | any of them |", "|---|---|---|---|---|---|"]
    for language, some in sorted(texts.items(), key=lambda item: (item[0] != ENGLISH, item[0])):
        both = zip(dropped(some, language, own=False), dropped(some, language, own=True), strict=True)
        shares = " | ".join(f"{before:.0%}" if before == after else f"{before:.0%} → {after:.0%}" for before, after in both)
        lines.append(f"| {language} | {len(some):,} | {shares} |")
    return "\n".join(lines)


def parallel(texts: Texts) -> str:
    """Say how far languages are from English in the share of parallel texts that Gopher's rules drop."""
    english = dropped(texts[ENGLISH], ENGLISH, own=False)[0]
    told = []
    for own in (False, True):
        shares = np.array([dropped(some, language, own)[0] for language, some in texts.items() if language != ENGLISH])
        away = np.abs(shares - english)
        told.append(f"{away.mean() * 100:.1f} points away on average, {np.mean(away <= NEAR):.0%} of the languages within {NEAR:.0%}")
    return f"English {english:.0%}, {len(texts) - 1} others: by English limits {told[0]}; by their own {told[1]}."


def kept_junk(texts: Texts) -> str:
    """Say how much junk passes."""
    every = sum(map(len, texts.values()))
    passed = [sum(len(some) * (1 - dropped(some, language, own)[-1]) for language, some in texts.items()) for own in (False, True)]
    return f"{every:,} in {len(texts)} languages: {passed[0]:.0f} pass by English limits, {passed[1]:.0f} by their own."


def report() -> str:
    """Return all tables."""
    articles, lists = udhr(), word_lists()
    shown = {language: articles[language] for language in (ENGLISH, *SHOWN) if language in articles}
    return "\n\n".join(
        (
            f"Articles of the Declaration, shares that Gopher's rules of words drop: {parallel(articles)}",
            table(shown),
            "Paragraphs of Wikipedia (XQuAD), parallel:",
            table(xquad()),
            "News and chapters of the Bible, not parallel, not measured when the limits were made:",
            table({language: some for language, some in news_and_bible().items() if len(some) >= MIN_TEXTS}),
            f"Junk: lists of {LISTED_WORDS} words, one a line: {kept_junk(lists)}",
            "Junk: what extraction leaves out of pages, which in these sets is a book's navigation and some of its prose:",
            table({language: some for language, some in page_rests().items() if len(some) >= MIN_TEXTS}),
        )
    )


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    chosen = parser.parse_args()
    if absent := [name for name in SETS if not (DATA / name).is_dir()]:
        sys.exit(f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)")
    told = report()
    print(told)
    if chosen.write:
        readme.write("limits by language", told)


if __name__ == "__main__":
    main()
