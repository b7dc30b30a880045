"""Describes the blocks of a page by numbers from which a linear rule can tell main content from the frame around it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from curate_operators.extract_blocks import Blocks
from curate_operators.extract_counts import Counts, count, phrase_kinds, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Integers = NDArray[np.int64]

SCALE = 1024  # numbers are rounded to 1/1,024, so that sums of products are exact: every machine keeps the same blocks
PROSE_SIZE = 60
PROSE_LINKS = 0.4
WRAPPER_SHARE = 0.4  # an element with this share of the prose is no sidebar, whatever its class says
HEADLINE_SHARE = 0.02  # nor is one with the only <h1> and this share
SHARES = (0.9, 0.7, 0.45)
_FRAME_CLASSES = ("nav", "footer", "aside", "comment", "related", "share", "ad", "hidden")
_DOUBTFUL_CLASSES = ("meta", "search", "header", "caption")
_FRAME_TAGS = ("nav", "footer", "aside", "form")
_OWN_TAGS = ("li", "td", "p", "pre", "h", "dd", "header")
_VALUES = re.compile(r' (?:class|id|role|itemprop)="([^"]*)"')
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ARTICLE_BODY = re.compile(r"(?:article|story|post|entry|body|artikel|news|text)(?:[-_]{1,2}|[-_]?main[-_]?)?(?:body|content|text|copy)")
_UNSEEN = re.compile(r'display: ?none|visibility: ?hidden| hidden=|aria-hidden="true"')


@cache
def kinds() -> dict[str, int]:
    """Number the bits that describe an element: kinds of class names, tags, and `unseen`."""
    names = [*words()["classes"], *words()["tags"], "unseen"]
    return {name: 1 << bit for bit, name in enumerate(names)}


@cache
def _bits(of: str) -> dict[str, int]:
    """Return the bits of each word in class names, or of each tag."""
    bits: dict[str, int] = {}
    for kind, members in words()[of].items():
        for word in members:
            bits[word] = bits.get(word, 0) | kinds()[kind]
    return bits


@lru_cache(maxsize=8192)
def _describe(tag: str, attributes: str) -> int:
    """Return the bits of one element."""
    bits = _bits("tags").get(tag, 0)
    if not attributes:
        return bits
    if ("hid" in attributes or "none" in attributes) and _UNSEEN.search(attributes):
        bits |= kinds()["unseen"]
    names = " ".join(_VALUES.findall(attributes))
    return bits | _bits_of_names(names) if names else bits


@lru_cache(maxsize=8192)
def _bits_of_names(names: str) -> int:
    """Return the bits of the words in names of classes."""
    bits = kinds()["article_body"] if _ARTICLE_BODY.search(names.lower()) else 0
    for word in _WORDS.findall(names):
        bits |= _bits("classes").get(word.lower(), 0)
    return bits


def _mask(*names: str) -> int:
    return sum(kinds()[name] for name in names)


class _Page:
    """The elements of a page with what lies in and below them."""

    def __init__(self, blocks: Blocks, counts: Counts) -> None:
        self.blocks = blocks
        self.count = len(blocks.tags)
        self.parents: Integers = np.array(blocks.parents)
        self.element: Integers = np.array(blocks.element)
        self.link_ratio: Floats = np.array(blocks.link_chars) / counts.chars
        is_prose = (counts.size >= PROSE_SIZE) & (self.link_ratio < PROSE_LINKS) & ((counts.sentences > 0) | (counts.commas > 0))
        self.prose: Floats = np.where(is_prose, counts.size * (1 - self.link_ratio), 0)
        self.own = self._own_bits()
        self.bits = self._inherited_bits()
        frame = _mask(*_FRAME_CLASSES, *(f"<{tag}>" for tag in _FRAME_TAGS), "unseen")
        self.in_frame = (self.bits[self.element] & frame) != 0
        self.main_prose: Floats = np.where(self.in_frame, 0.1 * self.prose, self.prose)
        self.mass = self.below(self.main_prose)

    def below(self, values: Floats) -> Floats:
        """Sum the values of the blocks in each element and below it."""
        sums: list[float] = np.bincount(self.element, values, self.count).tolist()
        for element in range(self.count - 1, 0, -1):
            sums[self.blocks.parents[element]] += sums[element]
        return np.array(sums)

    def _own_bits(self) -> Integers:
        """Describe the elements; what wraps the page's content does not count as a part of its frame."""
        own = np.array([0, *map(_describe, self.blocks.tags[1:], self.blocks.attributes[1:])], np.int64)
        prose = self.below(self.prose)
        share = prose / max(prose[0], 1)
        wraps = share > WRAPPER_SHARE
        headlines = [element for element, tag in enumerate(self.blocks.tags) if tag == "h1"]
        if len(headlines) == 1:
            above = self.blocks.parents[headlines[0]]
            while above:
                wraps[above] |= share[above] > HEADLINE_SHARE
                above = self.blocks.parents[above]
        frame = _mask(*_FRAME_CLASSES, *_DOUBTFUL_CLASSES, *(f"<{tag}>" for tag in (*_FRAME_TAGS, "header", "noscript")), "unseen")
        return np.where(wraps, own & ~frame, own)

    def _inherited_bits(self) -> Integers:
        bits: list[int] = self.own.tolist()
        for element in range(1, self.count):
            bits[element] |= bits[self.blocks.parents[element]]
        return np.array(bits)

    def within(self) -> list[Floats]:
        """Mark the blocks in the smallest element that holds 0.9, 0.7 and 0.45 of the main prose, gone down step by step."""
        heaviest = [0] * self.count
        mass: list[float] = self.mass.tolist()
        for element in range(self.count - 1, 0, -1):  # of equals the first
            parent = self.blocks.parents[element]
            if not heaviest[parent] or mass[element] >= mass[heaviest[parent]]:
                heaviest[parent] = element
        marks, root = [], 0
        for share in SHARES:
            while mass[0] > 0 and heaviest[root] and mass[heaviest[root]] >= share * mass[0]:
                root = heaviest[root]
            inside = [0.0] * self.count
            inside[root] = 1.0
            for element in range(root + 1, self.count):
                inside[element] = inside[self.blocks.parents[element]]
            marks.append(np.array(inside)[self.element])
        return marks


def features(blocks: Blocks) -> dict[str, Integers]:
    """Describe the blocks of a page, of which there is at least one: name → one integer per block, in 1/1,024."""
    counts = count(blocks.texts)
    page = _Page(blocks, counts)
    floats = _of_text(blocks, counts, page) | _of_place(page, counts) | _of_neighbours(page, counts)
    floats |= _combined(floats)
    rounded = np.rint(np.array(list(floats.values())) * SCALE).astype(np.int64)
    return dict(zip(floats, rounded, strict=True))


def _of_text(blocks: Blocks, counts: Counts, page: _Page) -> dict[str, Floats]:
    size, chars, times = np.log1p(counts.size) / 6, counts.chars, Counter(blocks.texts)
    return {
        "constant": np.ones(len(chars)),
        "size": size,
        "size²": size**2,
        "links": page.link_ratio,
        "any link": (page.link_ratio > 0) * 1.0,
        "all link": (page.link_ratio > 0.8) * 1.0,
        "links per word": np.minimum(np.array(blocks.links) / counts.words, 1),
        "sentences": np.minimum(counts.sentences, 5) / 5,
        "ends sentence": counts.ends_sentence,
        "prose": (page.prose > 0) * 1.0,
        "main prose": np.log1p(page.main_prose) / 6,
        "≤ 2 words": (counts.words <= 2) * 1.0,
        "≤ 5 words": (counts.words <= 5) * 1.0,
        "digits": counts.digits / chars,
        "upper": counts.upper / chars,
        "signs": np.minimum(counts.signs / chars * 10, 1),
        "word length": np.minimum(chars / counts.words / 10, 2),
        "date": ((counts.digits >= 4) & (chars < 60)) * 1.0,
        "repeated": np.array([times[text] > 1 for text in blocks.texts]) * 1.0,
    } | {f"phrase {kind}": column.astype(np.float64) for kind, column in zip(phrase_kinds(), counts.phrases.T, strict=True)}


def _of_place(page: _Page, counts: Counts) -> dict[str, Floats]:
    place, above = page.element, page.parents[page.element]
    higher, highest = page.parents[above], page.parents[page.parents[above]]
    share = page.mass / max(page.mass[0], 1e-9)
    chars, blocks = page.below(counts.chars), page.below(np.ones(len(place)))
    linked = page.below(page.link_ratio * counts.chars) / np.maximum(chars, 1)
    mean_chars = np.log1p(chars / np.maximum(blocks, 1)) / 6
    found = {f"within {limit}": marks for limit, marks in zip(SHARES, page.within(), strict=True)}
    for name, at in (("parent", above), ("grandparent", higher), ("third parent", highest)):
        found |= {f"share of {name}": share[at], f"links of {name}": linked[at]}
    for name, at in (("element", place), ("parent", above), ("grandparent", higher)):
        found |= {f"mean size in {name}": mean_chars[at]}
    found |= {
        "blocks in parent": np.log1p(blocks[above]) / 4,
        "chars in parent": np.log1p(chars[above]) / 8,
        "prose of page": np.full(len(place), np.log1p(page.mass[0]) / 9),
        "prose share of page": np.full(len(place), page.main_prose.sum() / counts.chars.sum()),
        "<h1>": np.array([tag == "h1" for tag in page.blocks.tags])[place] * 1.0,
        "frame": page.in_frame * 1.0,
    }
    bits = np.array(list(kinds().values()))[:, None]
    inherited, own = (((described[place] & bits) != 0) * 1.0 for described in (page.bits, page.own))
    for name, is_in, is_own in zip(kinds(), inherited, own, strict=True):
        found[f"in {name}"] = is_in
        if name[0] != "<" or name[1:-1] in _OWN_TAGS:
            found[f"is {name}"] = is_own
    return found


def _of_neighbours(page: _Page, counts: Counts) -> dict[str, Floats]:
    order, prose = np.arange(len(counts.chars)), np.log1p(page.main_prose) / 6
    at = np.flatnonzero(page.main_prose > 0)
    first, last = (at[0], at[-1]) if len(at) else (0, len(order))
    after = (order > last) * 1.0
    nearest = np.abs(order[:, None] - at[np.clip(np.searchsorted(at, order)[:, None] - [0, 1], 0, len(at) - 1)]) if len(at) else 99
    distance = np.broadcast_to(np.min(nearest, axis=-1), order.shape)
    teaser = counts.phrases[:, phrase_kinds().index("related")] * (counts.words <= 8)
    ending = (
        counts.phrases[:, [phrase_kinds().index(kind) for kind in ("related", "comment", "ad")]].max(axis=1) * (counts.words <= 6) * after
    )
    same_parent = np.append(0, np.diff(page.parents[page.element]) == 0) * 1.0
    return {
        "before": (order < first) * 1.0,
        "after": after,
        "outside by": np.clip(np.maximum(first - order, order - last), 0, 30) / 30,
        "position": order / len(order),
        "distance": np.minimum(distance, 20) / 20,
        "adjoins": (distance <= 1) * 1.0,
        "next prose": _shift(prose, -1),
        "second next prose": _shift(prose, -2),
        "second previous prose": _shift(prose, 2),
        "previous links": _shift(page.link_ratio, 1),
        "next links": _shift(page.link_ratio, -1),
        "prose before it in parent": same_parent * _shift(prose, 1),
        "since ending": (np.cumsum(ending) > 0) * 1.0,
        "teaser before": _shift(teaser * 1.0, 1),
        "teaser two before": _shift(teaser * 1.0, 2),
        "few prose": np.full(len(order), min(len(at), 40) / 40),
    }


def _combined(one: dict[str, Floats]) -> dict[str, Floats]:
    """Multiply what means something else together."""
    item, inside = one["is <li>"], one["within 0.7"]
    return {
        "heading before prose": one["is <h>"] * (one["next prose"] + one["second next prose"]),
        "frame inside": one["frame"] * inside,
        "item × links": item * one["links"],
        "item inside": item * inside,
        "item × prose": item * one["prose"],
        "≤ 2 words inside": one["≤ 2 words"] * inside,
        "after inside": one["after"] * inside,
        "before inside": one["before"] * inside,
        "prose inside": one["prose"] * inside,
        "prose outside": one["prose"] * (1 - one["within 0.9"]),
        "within 0.9 of little": one["within 0.9"] * (one["prose of page"] < np.log1p(300) / 9),
    }


def _shift(values: Floats, by: int) -> Floats:
    """Move values to later blocks, or to earlier ones when `by` is negative; zeros move in."""
    moved = np.zeros_like(values)
    if by > 0:
        moved[by:] = values[:-by]
    else:
        moved[:by] = values[-by:]
    return moved
