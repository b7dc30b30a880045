"""Compares extractors on pages whose main content people marked, and prints a table.

`python -m tests.benchmarks.extraction` (one core, about two minutes). Segment precision, recall and F1 are trafilatura's: of the segments found
in the text, those to include; of the segments to include, those found; summed over pages. 4-gram F1 is the mean over the pages
with a gold text. The rule behind `blocks` was fitted to these pages, so that its first two rows, each half of the
pages (by hash of the address) with a rule fitted to the other half only, are what to expect on new pages.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curate_operators.extract import ExtractHtml, decode, main_blocks
from tests.benchmarks.extraction_fit import DATA, Page, fit, prepare, read_pages

MB = 1_000_000
HEAD = "| extractor | pages | precision | recall | F1 | 4-gram F1 | MB of HTML/s |\n|---|---|---|---|---|---|---|"
_WORD = re.compile(r"\w+")
Method = Literal["blocks", "resiliparse", "trafilatura"]


def segment_scores(pages: list[Page], texts: list[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 over segments."""
    marked = [(page, text) for page, text in zip(pages, texts, strict=True) if page.must_include]
    right = sum(segment in text for page, text in marked for segment in page.must_include)
    wrong = sum(segment in text for page, text in marked for segment in page.must_exclude)
    wanted = sum(len(page.must_include) for page, _ in marked)
    return right / (right + wrong), right / wanted, 2 * right / (right + wrong + wanted)


def four_gram_f1(pages: list[Page], texts: list[str]) -> float:
    """Return the mean F1 of word 4-grams over the pages with a gold text."""
    found = [_overlap(_four_grams(page.text), _four_grams(text)) for page, text in zip(pages, texts, strict=True) if not page.must_include]
    return sum(found) / len(found)


def _four_grams(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return Counter(zip(*(words[i:] for i in range(4)), strict=False)) if len(words) > 3 else Counter([tuple(words)])


def _overlap(one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]]) -> float:
    return 2 * (one & other).total() / (one.total() + other.total())


def extract(pages: list[Page], method: Method) -> tuple[list[str], float]:
    """Return the texts and MB of HTML per second of processor time, decoding and titles included."""
    docs = pa.record_batch({"html": pa.array([page.html for page in pages], pa.large_binary())})
    operator = ExtractHtml(method=method)
    operator.map(docs.slice(0, 10))
    begun = time.process_time()
    texts = operator.map(docs).column("text").to_pylist()
    return texts, docs.column("html").nbytes / MB / (time.process_time() - begun)


def half_by_half(pages: list[Page]) -> list[tuple[str, list[Page], list[str], float | None]]:
    """Extract each half of the pages by a rule fitted to the other half."""
    prepared = [(page.half, found) for page in pages if (found := prepare(page))]
    rows: list[tuple[str, list[Page], list[str], float | None]] = []
    for half in (0, 1):
        rule = fit([found for at, found in prepared if at != half])
        chosen = [page for page in pages if page.half == half]
        texts = [main_blocks(html, HTMLTree.parse(html), rule) for html in (decode(page.html) for page in chosen)]
        rows.append((f"blocks, half {half} by a rule of the other half", chosen, texts, None))
    both = [page for row in rows for page in row[1]], [text for row in rows for text in row[2]]
    return [*rows, ("blocks, both halves so", *both, None)]


def table(pages: list[Page]) -> str:
    """Measure all extractors."""
    everything = [extract_plain_text(decode(page.html), preserve_formatting=True, alt_texts=False) for page in pages]
    rows = [*half_by_half(pages), ("blocks, as shipped", pages, *extract(pages, "blocks")), ("all text", pages, everything, None)]
    methods: tuple[Method, ...] = ("resiliparse", "trafilatura")
    rows += [(method, pages, *extract(pages, method)) for method in methods]
    return "\n".join([HEAD, *(_row(*row) for row in rows)])


def _row(name: str, pages: list[Page], texts: list[str], speed: float | None) -> str:
    precision, recall, f1 = segment_scores(pages, texts)
    fast = "" if speed is None else f"{speed:.1f}"
    return f"| {name} | {len(pages)} | {precision:.3f} | {recall:.3f} | {f1:.3f} | {four_gram_f1(pages, texts):.3f} | {fast} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds extract_gold")
    data = parser.parse_args().data
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(table(read_pages(data)))


if __name__ == "__main__":
    main()
