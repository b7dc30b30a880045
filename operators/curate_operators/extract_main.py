"""Keeps the main content of a page: blocks that a linear rule takes for it, written as plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from curate_operators.extract_blocks import Blocks, split_blocks
from curate_operators.extract_features import SCALE, features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

MAX_TAGS = 100_000  # of the 679 marked pages the largest has 19,504
MAX_GAP = 20
_ROWS = ("li", "td", "th", "dd", "dt", "pre")
_SPACED = ("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote")


@cache
def weights() -> dict[str, int]:
    """Return the rule: a whole number per feature; `tests/benchmarks/extraction_fit.py` makes it."""
    loaded: dict[str, int] = json.loads((files("curate_operators") / "data" / "extract_weights.json").read_bytes())
    return loaded


def main_content(html: str, rule: Mapping[str, int] | None = None) -> str:
    """Return the main content of a serialised body as plain text, "" when no block is taken for it or there is too much to look at.

    The serialisation does not escape what lies in <xmp> and <plaintext>, so that pages with these are left to others.
    """
    if html.count("<") > MAX_TAGS or "<xmp" in html or "<plaintext" in html:
        return ""
    blocks = split_blocks(html)
    if not blocks.texts:
        return ""
    described = features(blocks)
    return render(blocks, _filled(blocks, described, scores(described, rule or weights()) > 0).tolist())


def scores(described: dict[str, Integers], rule: Mapping[str, int]) -> Integers:
    """Weigh the features of each block; main content is what scores above 0."""
    return sum((described[name] * weight for name, weight in rule.items()), np.zeros_like(described["constant"]))


def _filled(blocks: Blocks, described: dict[str, Integers], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the items and cells between kept blocks of the main content too, so that lists and tables come whole.

    On the marked pages this leaves the scores as they are; most of them are news, where lists are rare.
    """
    order = np.arange(len(kept))
    before = np.maximum.accumulate(np.where(kept, order, -MAX_GAP - 2))
    behind = np.minimum.accumulate(np.where(kept, order, len(kept) + MAX_GAP + 1)[::-1])[::-1]
    in_row = [blocks.tags[at] in _ROWS or blocks.tags[blocks.parents[at]] in _ROWS for at in blocks.element]
    fits = (described["within 0.7"] > 0) & (described["frame"] == 0) & (described["links"] < SCALE // 2) & np.array(in_row)
    filled: NDArray[np.bool_] = kept | (fits & (behind - before <= MAX_GAP + 1))
    return filled


def render(blocks: Blocks, kept: list[bool]) -> str:
    """Write the kept blocks: paragraphs apart, list items with their mark, cells of a row side by side."""
    written: list[str] = []
    before, items, numbers = -1, set[int](), _numbers(blocks)
    for text, element, keep in zip(blocks.texts, blocks.element, kept, strict=True):
        if not keep:
            continue
        if before >= 0:
            written.append(_between(blocks, before, element))
        item = _item(blocks, element)
        if item and item not in items:
            items.add(item)
            written.append(f"{numbers[item]}. " if item in numbers else "• ")
        written.append(text)
        before = element
    return "".join(written)


def _between(blocks: Blocks, before: int, element: int) -> str:
    tags, parents = blocks.tags, blocks.parents
    if tags[before] in ("td", "th") and tags[element] in ("td", "th") and parents[before] == parents[element] and before != element:
        return "\t"
    in_list = _item(blocks, before) and _item(blocks, element)
    return "\n\n" if not in_list and (tags[before] in _SPACED or tags[element] in _SPACED) else "\n"


def _item(blocks: Blocks, element: int) -> int:
    """Return the list item that an element is or stands in directly, 0 for none."""
    return next((at for at in (element, blocks.parents[element]) if blocks.tags[at] == "li"), 0)


def _numbers(blocks: Blocks) -> dict[int, int]:
    """Number the items of ordered lists."""
    counts: dict[int, int] = {}
    numbers: dict[int, int] = {}
    for element, (tag, parent) in enumerate(zip(blocks.tags, blocks.parents, strict=True)):
        if tag == "li" and blocks.tags[parent] == "ol":
            numbers[element] = counts[parent] = counts.get(parent, 0) + 1
    return numbers
