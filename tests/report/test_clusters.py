"""The map of clusters is to scale, every dot leads to a card, and what documents say stays text."""

from __future__ import annotations

import re
from typing import Any

import pytest

from curate.report.clusters import LEAST, MOST, SHOWN
from curate.report.html import MAX_BYTES, render
from tests.report.test_html import HOSTILE, Page

Report = dict[str, Any]


def card(number: int, documents: int = 10, **changed: Any) -> dict[str, Any]:
    """Return a card as the report has it."""
    example = {"id": f"d{number}", "distance": 0.125, "url": "https://a.example/", "opening": f"Opening of {number}."}
    measured = {"mean_distance": 0.25, "pairwise_similarity": 0.5, "line_repetition": 0.125, "sites": 3, "site_entropy": 1.5}
    unknown = dict.fromkeys(("languages", "language_entropy", "language_evenness"))
    return {
        "cluster": number,
        "documents": documents,
        "characters": 100,
        "share": documents / 1000,
        "words": [f"word{number}", "other"],
        "nearest": [example],
        "farthest": [example | {"id": f"far{number}"}],
        "site_evenness": 0.9,
        "scores": {"quality": 0.75, "none": None},
        "place": [0.5, -0.5],
        **measured,
        **unknown,
        **changed,
    }


def carded(web: Report, *cards: dict[str, Any]) -> Page:
    web["stages"][0]["clusters"] = list(cards)
    return Page(render(web))


def test_a_stage_without_clusters_has_no_map(web: Report) -> None:
    assert "Map of clusters" not in Page(render(web)).text
    assert "Map of clusters" not in carded(web).text


def test_dots_are_to_scale_and_lead_to_cards(web: Report) -> None:
    page = carded(web, card(7, 400, place=[-1, 1]), card(3, 100, place=[1, -1]), card(5, 1, place=[0, 0]))
    circles = [(name, value) for tag, name, value in page.attributes if tag == "circle" and name in ("cx", "cy", "r")]
    found = [tuple(float(str(value)) for _, value in circles[i : i + 3]) for i in range(0, 9, 3)]
    assert [place[:2] for place in found] == [(30, 30), (610, 370), (320, 200)]
    assert [place[2] for place in found] == [MOST, MOST / 2, LEAST]
    links = [str(value) for tag, name, value in page.attributes if tag == "a" and name == "href" and "card" in str(value)]
    assert links == [f"#card-{web['stages'][0]['name']}-{number}" for number in (7, 3, 5)]
    assert {link[1:] for link in links} <= {value for _, name, value in page.attributes if name == "id"}


def test_a_card_says_its_measures_words_and_documents(web: Report) -> None:
    text = carded(web, card(7, 400)).text
    for told in (
        "similarity of pairs 0.5, mean distance 0.25, repeated lines 12.5%, 3 sites (1.5 bits), quality 0.75, none –",
        "word7, other",
    ):
        assert told in text
    assert re.search(r"nearest: 0\.125\s*d7\s*https://a\.example/\s*Opening of 7\.", text) and "farthest: 0.125" in text
    alone = carded(web, card(7, 1, pairwise_similarity=None, line_repetition=None, site_entropy=None, sites=None)).text
    assert "mean distance 0.25, quality" in alone


def test_hostile_cards_stay_text(web: Report) -> None:
    example = {"id": HOSTILE, "distance": 0.5, "url": HOSTILE, "opening": HOSTILE}
    hostile = card(1, words=[HOSTILE], nearest=[example], farthest=[], place=[1e9, -1e9], scores={"a": 1.0})
    web["stages"][0]["clusters"] = [hostile]
    written = render(web)
    page = Page(written)
    assert written.count("<script") == 0 and "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert not re.search("[\x00\x1b\u202e]", written)
    assert all(str(value).startswith("#") for _, name, value in page.attributes if name == "href")


@pytest.mark.parametrize("number", [SHOWN + 1, 1000])
def test_many_large_cards_fit(web: Report, number: int) -> None:
    example = {"id": "i" * 400, "distance": 0.5, "url": "u" * 400, "opening": "o" * 240}
    cards = [card(n, nearest=[example] * 2, farthest=[example] * 2, words=["w" * 30] * 10) for n in range(number)]
    web["stages"][0]["clusters"] = cards
    written = render(web)
    page = Page(written)
    assert len(written.encode()) <= MAX_BYTES
    links = [str(value)[1:] for tag, name, value in page.attributes if tag == "a" and name == "href" and "card-" in str(value)]
    assert len(links) >= min(number, 200) and set(links) <= {value for _, name, value in page.attributes if name == "id"}
