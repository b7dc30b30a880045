"""Turns HTML pages into text.

Adds `text` (large_string, "" for a page without text, never null) and `title` (large_string, null for none); removes `html`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa

from curate.document import TEXT, TEXT_TYPE, drop_columns, set_column
from curate.errors import OperatorError, PipelineError
from curate.protocols import Cost, Mapper

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

HTML = "html"
CHARSET = "charset"
TITLE = "title"
METHODS = ("blocks", "resiliparse", "trafilatura")
# A page of which the rule keeps less gives the parser's own idea of main content: the rule was fitted to pages that have one.
MIN_CHARS = 100
# The main-content search takes time in the square of the depth: 11 s at 20,000 nested <div>, 17 ms at 1,000.
MAX_DEPTH = 1000
# The HTML5 algorithm compares every attribute with the tag's others and every formatting element with the open ones.
MAX_TAG_CHARS = 100_000
MAX_OPEN_FORMATTING = 1000
_TAG_START = re.compile(r"<[a-zA-Z][a-zA-Z0-9-]*")
_FORMATTING = re.compile(r"<(/?)(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class ExtractHtml(Mapper):
    """Turns HTML pages into their main text.

    ## What it does
    Decodes `html` (the `charset` column when there is one and it holds a known name, else the page's own `<meta>`, else by
    detection; the first that decodes without error), parses it as HTML5 and keeps the main content as plain text with paragraphs,
    lists and preformatted text. A page without any gives "". `title` is the page's title, null when it has none.

    `blocks` cuts the page where tags break lines and describes each block by its text, the elements around it and its neighbours
    (share of links, sentences, words in class names, where the prose of the page lies); a linear rule decides. Its
    arithmetic is on whole numbers, so that every machine keeps the same blocks. A page of which it keeps under 100 characters gives
    what `resiliparse` finds, if that is more. Soft hyphens and ruby annotations are taken out.

    The known kinds of hostile page cost bounded time and lose no text of what is read: only the first `max_html_bytes` are
    read; beyond 1,000 nested elements `resiliparse` takes all text instead of the main content, and `blocks` leaves pages of over
    100,000 tags to it; attributes of tags over 100,000 characters and formatting tags of which over 1,000 are open at a time are ignored.

    ## Why
    Menus, banners and footers are most of a page and repeat on every page of a site. Over 508 pages whose segments people marked
    (each half by a rule fitted to the other): `blocks` F1 0.93, trafilatura 0.93 at less than a third of the speed, resiliparse
    0.85 at twice the speed; `python -m tests.benchmarks.extraction` measures it.

    ## Example
        - use: extract_html
          params: {keep_html: true}

    ## Parameters
    - `method`: `blocks`, `resiliparse` or `trafilatura` (needs the extra `trafilatura`).
    - `keep_html`: leave the `html` column in place.
    - `max_html_bytes`: how much of a page is read.

    ## Source
    The kinds of features follow Kohlschütter et al., *Boilerplate Detection using Shallow Text Features* (2010), and Vogels et al.,
    *Web2Text* (2018); the weights are fitted by `tests/benchmarks/extraction_fit.py` to the marked pages of trafilatura, Scrapinghub,
    Readability and Newspaper4k. Bevendorff et al., *Elastic ChatNoir* (2018); Barbaresi, *Trafilatura* (2021).
    """

    cost: ClassVar[Cost] = "costly"
    version = 2

    method: Literal["blocks", "resiliparse", "trafilatura"] = "blocks"
    keep_html: bool = False
    max_html_bytes: int = 10_000_000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise PipelineError(f"extract_html: unknown method: {self.method}", f"one of {', '.join(METHODS)}")
        if self.max_html_bytes < 1:
            raise PipelineError(f"extract_html: max_html_bytes is less than 1: {self.max_html_bytes}")

    def reads(self) -> tuple[str, ...]:
        return (HTML,)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {TEXT: TEXT_TYPE, TITLE: TEXT_TYPE}

    def removes(self) -> tuple[str, ...]:
        return () if self.keep_html else (HTML,)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        payloads = docs.column(HTML)
        charsets: Iterable[str | None] = docs.column(CHARSET).to_pylist() if CHARSET in docs.schema.names else [None] * len(payloads)
        extract = {"blocks": lambda: main_blocks, "resiliparse": lambda: _main_text, "trafilatura": _trafilatura}[self.method]()
        texts, titles = [], []
        for payload, charset in zip(payloads, charsets, strict=True):  # one page in Python's memory at a time
            text, title = self._page(payload.as_py() or b"", charset, extract)
            texts.append(text)
            titles.append(title)
        docs = set_column(docs, TEXT, pa.array(texts, TEXT_TYPE))
        docs = set_column(docs, TITLE, pa.array(titles, TEXT_TYPE))
        return drop_columns(docs, self.removes())

    def _page(self, payload: bytes | str, charset: str | None, extract: Extractor) -> tuple[str, str | None]:
        from resiliparse.parse.html import HTMLTree

        html = payload[: self.max_html_bytes]
        page = _defuse(html if isinstance(html, str) else decode(html, charset))
        if not page.strip():
            return "", None
        tree = HTMLTree.parse(page)
        title = " ".join((tree.title or "").split())
        return extract(page, tree), title or None


Extractor = Callable[[str, "HTMLTree"], str]


def decode(payload: bytes, charset: str | None = None) -> str:
    """Decode a page: by the byte order mark, the given charset, the `<meta>` tag or by detection, whichever first fits all bytes."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    if payload.startswith(b"\xef\xbb\xbf"):
        return payload[3:].decode("utf-8", "replace")
    declared = map_encoding_to_html5(charset.strip().strip("\"'").lower(), False) if charset else None
    guessed = (detect_encoding(payload, from_html_meta=in_meta) for in_meta in (True, False))
    first = None
    for encoding in (declared, *guessed):
        if encoding is None:
            continue
        first = first or encoding
        try:
            return payload.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    return payload.decode(first or "utf-8", "replace").removeprefix("\ufeff")


def _defuse(page: str) -> str:
    """Take out of a page what makes an HTML5 parser work in quadratic time; pages of people come back as they are."""
    if len(page) < MAX_TAG_CHARS:
        return page
    parts = page.split(">")
    if max(map(len, parts)) >= MAX_TAG_CHARS:
        page = ">".join(part if len(part) < MAX_TAG_CHARS else _without_attributes(part) for part in parts)
    slashes = _FORMATTING.findall(page)
    is_open = most = 0
    for slash in slashes if len(slashes) > MAX_OPEN_FORMATTING else ():
        is_open = max(0, is_open - 1) if slash else is_open + 1
        most = max(most, is_open)
    return page if most <= MAX_OPEN_FORMATTING else _FORMATTING.sub("", page)


def _without_attributes(part: str) -> str:
    """Cut what follows the name of the first tag in a part without `>`: by the HTML5 rules all of it is attributes."""
    tag = _TAG_START.search(part)
    return part[: tag.end()] if tag else part


def main_blocks(page: str, tree: HTMLTree, rule: Mapping[str, int] | None = None) -> str:
    """Return the blocks that the rule, by default the shipped one, takes for main content."""
    from curate_operators.extract_main import main_content

    text = main_content(tree.body.html, rule) if tree.body else ""
    return text if len(text) >= MIN_CHARS else max(text, _main_text(page, tree), key=len)


def _main_text(page: str, tree: HTMLTree) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(tree, main_content=not _is_deep(tree), preserve_formatting=True, alt_texts=False))


_DEEPER = " > ".join(["*"] * MAX_DEPTH)


def _is_deep(tree: HTMLTree) -> bool:
    return tree.body is not None and tree.body.query_selector(_DEEPER) is not None


def _trafilatura() -> Extractor:
    try:
        from trafilatura import extract
    except ImportError as error:
        raise OperatorError(
            "extract_html: trafilatura is not installed",
            "install curate with its extra `trafilatura`: `pip install '.[trafilatura]'` in a checkout",
        ) from error

    def main_text(page: str, tree: HTMLTree) -> str:
        if _is_deep(tree):  # lxml's own limit is 255 levels, and trafilatura recurses in Python
            return _main_text(page, tree)
        return extract(page, include_comments=False) or ""

    return main_text
