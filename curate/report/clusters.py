"""Clusters of a corpus: a map whose dots lead to cards, and the cards in a table, each with its documents behind a click.

The map needs no script: a dot's words stand above the picture while the pointer or the keyboard's focus is on it, and a click on it
goes to the card, which browsers open because it is the address's target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.clusters_cards import measures
from curate.report.evidence import Detail
from curate.report.funnel import Stage
from curate.report.markup import Child, Column, Markup, Row, code, details, element, table
from curate.report.units import clip, count, number, plural, share

WIDTH, HEIGHT, MARGIN, ABOVE = 640.0, 400.0, 30.0, 44.0
LEAST, MOST, ALL = 3.0, 26.0, 100.0  # radius of a dot; where there are many, that of all of one size in one dot
SHOWN = 40  # cards before the rest, which is behind a click
_WORD_CHARS, _ID_CHARS = 24, 200

Card = Mapping[str, Any]
_COLUMNS = (
    Column("Cluster"),
    Column("Documents", numeric=True),
    Column("Share", numeric=True),
    Column("Characters", numeric=True, minor=True),
    Column("Similarity of pairs", numeric=True),
    Column("Repeated lines", numeric=True),
    Column("Sites", numeric=True, minor=True),
)


def clusters(stage: Stage, detail: Detail) -> Markup:
    """Return the map and the cards of a stage that made cards of clusters; nothing for any other."""
    cards: Sequence[Card] = stage.get("clusters") or ()
    if not cards:
        return Markup()
    name = str(stage["name"])
    cards = cards[: detail.reasons]
    shown, rest = cards[:SHOWN], cards[SHOWN:]
    more = details(f"{count(len(rest))} more", _table(name, "the rest", rest, detail)) if rest else Markup()
    return element("div", [element("h4", "Clusters"), _map(name, cards), _table(name, "the largest", shown, detail), more])


def _map(stage: str, cards: Sequence[Card]) -> Markup:
    """Return the picture: a dot's area is its share of the documents, small ones lie on top."""
    scale = min(MOST, ALL / len(cards) ** 0.5) / max(card["documents"] for card in cards) ** 0.5
    dots = [_dot(stage, card, scale) for card in cards]
    hint = element("text", "Each dot is a cluster; what it is stands here while you point at it.", {"x": 0, "y": -28, "class": "hint"})
    box = f"0 -{ABOVE:.0f} {WIDTH:.0f} {HEIGHT + ABOVE:.0f}"
    label = f"{stage}: {plural(len(cards), 'cluster')} on the two main axes of their centroids; similar ones lie near each other."
    drawing = element("svg", [hint, *dots], {"viewBox": box, "role": "group", "class": "map", "aria-label": label})
    caption = element("figcaption", [element("b", "Map of clusters"), ": near = similar, area = documents"])
    return element("figure", [caption, drawing], {"class": "clusters"})


def _dot(stage: str, card: Card, scale: float) -> Markup:
    x, y = (MARGIN + (size - 2 * MARGIN) * (1 + place) / 2 for size, place in zip((WIDTH, HEIGHT), _place(card), strict=True))
    radius = max(LEAST, scale * card["documents"] ** 0.5)
    about = f"cluster {card['cluster']}: {plural(card['documents'], 'document')}, {share(card['share'], 1)}; {', '.join(measures(card))}"
    words = _words(card, 8)
    circle = element("circle", None, {"cx": round(x, 1), "cy": round(y, 1), "r": round(radius, 1), "class": "kept"})
    tips = [element("text", line, {"x": 0, "y": place, "class": "tip"}) for line, place in ((clip(about, 110), -28), (words, -10))]
    return element("a", [circle, *tips], {"href": f"#{_anchor(stage, card)}", "aria-label": f"{about}; {words}"})


def _place(card: Card) -> tuple[float, float]:
    """Return a card's place with the second axis upwards, within the picture whatever the numbers are."""
    x, y = (min(max(float(value), -1.0), 1.0) for value in card["place"])
    return x, -y


def _anchor(stage: str, card: Card) -> str:
    return f"card-{stage}-{int(card['cluster'])}"


def _words(card: Card, most: int) -> str:
    return ", ".join(clip(str(word), _WORD_CHARS) for word in card["words"][:most])


def _table(stage: str, which: str, cards: Sequence[Card], detail: Detail) -> Markup:
    rows: list[Row | Markup] = []
    for card in cards:
        rows.append(_row(card))
        rows.append(element("tr", element("td", _card(stage, card, detail), {"colspan": len(_COLUMNS)}), {"class": "evidence"}))
    return table(f"Clusters of {stage}, {which}", _COLUMNS, rows, css="drops")


def _row(card: Card) -> Row:
    alike, repeated = card["pairwise_similarity"], card["line_repetition"]
    return (
        str(card["cluster"]),
        count(card["documents"]),
        share(card["share"], 1),
        count(card["characters"]),
        f"{alike:.3f}" if alike is not None else "–",
        share(repeated, 1) if repeated is not None else "–",
        count(card["sites"]) if card["sites"] is not None else "–",
    )


def _card(stage: str, card: Card, detail: Detail) -> Markup:
    """Return what a card says, behind a click; the address of its dot is inside, so that the browser opens it."""
    told = element("article", element("p", ", ".join(measures(card))))
    shown = [_example(side, one, detail) for side in ("nearest", "farthest") for one in card[side][: detail.samples]]
    summary = element("bdi", _words(card, 10) or "(no words)")
    return details(summary, element("div", [told, shown], {"id": _anchor(stage, card)}))


def _example(side: str, example: Mapping[str, Any], detail: Detail) -> Markup:
    url: list[Child] = [element("span", element("bdi", clip(str(example["url"]), _ID_CHARS)))] if example.get("url") else []
    where = [element("span", f"{side}: {number(example['distance'])}"), code(clip(str(example["id"]), _ID_CHARS)), *url]
    return element(
        "article",
        [element("p", where), element("pre", element("bdi", clip(str(example["opening"]), detail.excerpt_chars)), {"tabindex": 0})],
    )
