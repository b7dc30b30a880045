"""What a stage's sources lost, and how their shares moved where it chose."""

from __future__ import annotations

import re
from typing import Any

import pytest

from curate.report.html import render
from tests.report.test_html import Page

Groups = dict[str, dict[str, int]]


def group(rows: tuple[int, int], text: tuple[int, int] = (0, 0)) -> dict[str, int]:
    return {"rows_in": rows[0], "rows_out": rows[1], "text_bytes_in": text[0], "text_bytes_out": text[1]}


def written(simulated: Any, groups: Groups, kind: str = "documents") -> str:
    """Return the page of a run of one stage with these groups."""
    stage = simulated.stage("top", 1000, ["crawl"])
    stage |= {"kind": kind}
    stage["statistics"]["groups"] = {"site": groups}
    return render(simulated.report([stage]))


def told(simulated: Any, groups: Groups, kind: str = "documents") -> str:
    """Return the page's words."""
    return Page(written(simulated, groups, kind)).text


def test_shares_of_text_are_told_before_and_after_the_largest_first(simulated: Any) -> None:
    groups = {"a": group((600, 20), (6000, 200)), "b": group((300, 60), (3000, 600)), "c": group((100, 20), (1000, 200))}
    words = told(simulated, groups).partition("Share of the text by site")[2]
    assert words.startswith("beforeafter")
    assert "b30.0%60.0%2.00 ×a60.0%20.0%0.33 ×c10.0%20.0%2.00 ×" in words


def test_without_text_the_shares_are_of_documents(simulated: Any) -> None:
    words = told(simulated, {"a": group((75, 5)), "b": group((25, 5))}).partition("Share of the documents by site")[2]
    assert "a75.0%50.0%0.67 ×b25.0%50.0%2.00 ×" in words


def test_bars_of_all_values_are_on_one_scale(simulated: Any) -> None:
    page = written(simulated, {"a": group((1, 1), (800, 10)), "b": group((1, 1), (200, 30))})
    bars = re.findall(r'<rect x="0" y="[\d.]+" width="([\d.]+)" height="4.5" class="(\w+)"', page)
    assert bars == [("25", "time"), ("93.75", "kept"), ("100", "time"), ("31.25", "kept")]


def test_a_value_that_was_not_there_before_has_no_ratio_and_one_that_went_is_at_nothing(simulated: Any) -> None:
    words = told(simulated, {"a": group((10, 0), (100, 0)), "b": group((0, 10), (0, 100))}).partition("Share of the text")[2]
    assert "b0%100%–a100%0%0.00 ×" in words


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ({"a": group((90, 9), (900, 90)), "b": group((10, 1), (100, 10))}, "documents"),
        ({"a": group((90, 0), (900, 0))}, "documents"),
        ({"a": group((90, 9), (900, 90))}, "documents"),
        ({"a": group((90, 0), (900, 0)), "b": group((10, 0), (100, 0))}, "attributes"),
    ],
    ids=["alike", "nothing left", "one value", "attributes"],
)
def test_shares_that_did_not_move_are_not_told(simulated: Any, groups: Groups, kind: str) -> None:
    text = told(simulated, groups, kind)
    assert "By site" in text
    assert "Share of the" not in text


def test_many_values_are_behind_a_click(simulated: Any) -> None:
    groups = {f"site-{number:02d}": group((10, number), (100, 10 * number)) for number in range(30)}
    text = told(simulated, groups)
    assert text.count("18 more") == 2
    assert text.count("site-07") == 2
