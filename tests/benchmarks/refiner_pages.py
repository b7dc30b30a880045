"""Pages with all their lines, menus and footers too, and which of these are the page's own text: what a refiner is trained and judged on.

A page is all text of its HTML, a line a block, blank lines left out. A line is the page's own when its words stand in the gold text one
after another; a line of fewer than `SURE` words, which may stand anywhere, only between lines that are surely its own. Where people
marked a page's text, that is gold; other pages have single phrases marked, and take what trafilatura extracts for it (silver): these are
for training alone. Which sites are held out is decided by the hash of the site's name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curate_operators.extract import decode, main_blocks
from curate_operators.prox_program import RemoveLines, write_program
from tests.benchmarks.extraction_fit import Page, _repaired, fit, prepare, read_pages

SURE = 5  # words
SILVER = 150
HELD_OUT = 3  # one site of so many
_WORD = re.compile(r"\w+")
_END = re.compile(r"[.!?…。！？؟][\"'”’»)\]]*$")


@dataclass(frozen=True)
class Lined:
    """A page as lines, and for each whether it is the page's own text."""

    page: Page
    lines: Sequence[str]
    own: Sequence[bool]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def program(self) -> str:
        """The program that takes out the other lines."""
        return write_program([RemoveLines(start, end) for start, end in runs([not own for own in self.own])])

    @cached_property
    def linked(self) -> list[float]:
        """The share of each line's words that stand in a link."""
        body = HTMLTree.parse(decode(self.page.html)).body
        links = {tuple(words(a.text or "")) for a in (body.query_selector_all("a") if body else [])}
        return [1.0 if tuple(words(line)) in links else _covered(words(line), links) for line in self.lines]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _covered(line: Sequence[str], links: set[tuple[str, ...]]) -> float:
    """Return the share of a line's words that links cover, each as long as can be, from the left."""
    place = covered = 0
    while place < len(line):
        size = next((n for n in range(len(line) - place, 0, -1) if tuple(line[place : place + n]) in links), 0)
        place, covered = place + max(size, 1), covered + size
    return covered / len(line) if line else 0.0


def runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the runs of true flags, both ends included."""
    edges = [i for i, (before, after) in enumerate(zip([False, *flags], [*flags, False], strict=True)) if before != after]
    return [(start, end - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def site(page: Page) -> str:
    """Return a page's site; pages of test suites have no address but a name that begins with the site's."""
    address = urlsplit(page.url)
    host = (address.hostname or "").removeprefix("www.")
    return re.split(r"[-_.\d]", address.path.strip("/"))[0] if host.endswith(".invalid") or not host else host


def held_out(page: Page) -> bool:
    """Tell whether a page's site is for judging alone."""
    return hashlib.sha256(site(page).encode()).digest()[0] % HELD_OUT == 0


def lined(page: Page) -> Lined:
    """Return a page as lines with their labels."""
    text = extract_plain_text(decode(page.html), preserve_formatting=True, alt_texts=False)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    gold = _repaired(page.text) if page.text else extracted(page)
    return Lined(page, lines, own_lines(lines, gold))


def own_lines(lines: Sequence[str], gold: str) -> list[bool]:
    """Return for each line whether it stands in the gold text."""
    whole = f" {' '.join(words(gold))} "
    found = [bool(words(line)) and f" {' '.join(words(line))} " in whole for line in lines]
    sure = [i for i, line in enumerate(lines) if found[i] and len(words(line)) >= SURE]
    first, last = (sure[0], sure[-1]) if sure else (0, -1)
    return [there and (first <= i <= last) for i, there in enumerate(found)]


def extracted(page: Page) -> str:
    """Return what trafilatura takes for the page's text."""
    return trafilatura.extract(decode(page.html), include_comments=False, include_tables=True) or ""


def read(data: Path, silver: int = SILVER) -> tuple[list[Lined], list[Lined]]:
    """Return the pages to train on, so many silver ones among them, and gold pages of other sites; all have something to keep."""
    pages = read_pages(data)
    gold = [lined(page) for page in pages if page.text]
    rest = [lined(page) for page in pages if not page.text and not held_out(page)][:silver]
    trained = [each for each in [*gold, *rest] if any(each.own) and not held_out(each.page)]
    return trained, [each for each in gold if any(each.own) and held_out(each.page)]


Rule = Callable[[Lined], list[bool]]  # which lines stay


def rules(trained: Sequence[Lined]) -> dict[str, Rule]:
    """Return what a model is compared with."""
    prepared = [found for each in trained if each.page.text and (found := prepare(each.page))]
    weights = fit(prepared)

    def blocks(each: Lined) -> list[bool]:
        html = decode(each.page.html)
        return own_lines(each.lines, main_blocks(html, HTMLTree.parse(html), weights))

    return {
        "nothing goes": lambda each: [True] * len(each.lines),
        "everything goes": lambda each: [False] * len(each.lines),
        f"lines of fewer than {SURE} words go": lambda each: [len(words(line)) >= SURE for line in each.lines],
        "lines that end without a stop go": lambda each: [bool(_END.search(line)) for line in each.lines],
        "lines that are half links, or of one word, go": lambda each: [
            share <= 0.5 and len(words(line)) > 1 for share, line in zip(each.linked, each.lines, strict=True)
        ],
        "trafilatura, from the HTML": lambda each: own_lines(each.lines, extracted(each.page)),
        "`extract_html`'s rule, fitted to the gold pages trained on, from the HTML": blocks,
    }


@dataclass(frozen=True)
class Scores:
    """Precision, recall and F1 of the lines that go, and of the words that stay, over all pages."""

    removed: tuple[float, float, float]
    kept: tuple[float, float, float]


def scores(pages: Sequence[Lined], stays: Sequence[Sequence[bool]]) -> Scores:
    """Compare what stays with what is the pages' own."""
    lines = [(own, kept) for page, flags in zip(pages, stays, strict=True) for own, kept in zip(page.own, flags, strict=True)]
    sizes = [len(words(line)) for page in pages for line in page.lines]
    gone = [not kept for _, kept in lines], [not own for own, _ in lines], [1] * len(lines)
    return Scores(_f1(*gone), _f1([kept for _, kept in lines], [own for own, _ in lines], sizes))


def _f1(found: Sequence[bool], wanted: Sequence[bool], sizes: Sequence[int]) -> tuple[float, float, float]:
    hits, all_found, all_wanted = (
        sum(size for size, flag in zip(sizes, flags, strict=True) if flag)
        for flags in ([a and b for a, b in zip(found, wanted, strict=True)], found, wanted)
    )
    return hits / all_found if all_found else 0.0, hits / all_wanted if all_wanted else 0.0, 2 * hits / max(all_found + all_wanted, 1)
