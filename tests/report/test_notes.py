"""Notes of stages: warnings come first and whole, measures are tables, curves are drawn to scale."""

from __future__ import annotations

import re
from typing import Any

from curate.report.curves import HEIGHT, LEFT, WIDTH, curve
from curate.report.html import render
from curate.report.text import WIDTH as COLUMNS
from curate.report.text import summary
from tests.report.test_html import HOSTILE, Page

Report = dict[str, Any]
CURVE: dict[str, Any] = {
    "measure": "similarity",
    "share": "compared",
    "lines": {"promised": [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]]},
    "dots": {"found": [[0.5, 0.75]]},
    "marks": {"target": 0.75},
}
LONG = "of the planted documents at 0.8 only 12 of 100 were found " * 4


def note(**changed: Any) -> dict[str, Any]:
    return {"name": "canary", "passed": True, "message": "97 of 100 found", "measures": {}, "curve": None} | changed


def noted(web: Report, *notes: dict[str, Any]) -> Report:
    web["stages"][2]["notes"] = list(notes)
    return web


def test_a_warning_stands_on_top_and_in_its_stage(web: Report) -> None:
    page = Page(render(noted(web, note(), note(name="sources", passed=False, message="wiki lost 98%"))))
    assert [page.text.find("wiki lost 98%") < page.text.find("The funnel"), page.text.count("wiki lost 98%")] == [True, 2]
    assert page.text.count("97 of 100 found") == 1
    assert ("div", "class", "warning") in page.attributes
    assert ("div", "class", "warning") not in Page(render(noted(web, note()))).attributes


def test_measures_are_rows_or_a_table_with_columns(web: Report) -> None:
    page = Page(render(noted(web, note(measures={"pairs": 1234567, "share": 0.12345, "mode": "verified"}))))
    assert re.search(r"pairs\s*1,234,567\s*share\s*0\.123\s*mode\s*verified", page.text)
    rows = {"0.7": {"planted": 100, "found": 31}, "0.9": {"planted": 100, "found": 1.5}}
    page = Page(render(noted(web, note(measures=rows))))
    assert re.search(r"planted\s*found\s*0\.7\s*100\s*31\s*0\.9\s*100\s*1\.5", page.text)


def test_a_curve_is_drawn_to_scale() -> None:
    drawn = str(curve("dedup", CURVE))
    half = LEFT + (WIDTH - LEFT) / 2
    assert f"M{LEFT} {HEIGHT}L{half} {HEIGHT * 0.75}L{WIDTH} 0.0" in drawn
    assert f'<circle cx="{half:.4g}" cy="{HEIGHT / 4:.4g}"' in drawn
    mark = LEFT + (WIDTH - LEFT) * 0.75
    assert re.search(rf'class="mark" x1="{mark:.4g}" x2="{mark:.4g}"', drawn)
    assert "target 0.75" in drawn and "promised" in drawn and "found" in drawn
    assert not curve("dedup", {"measure": "x", "share": "y", "lines": {}})


def test_a_fourth_line_is_dashed() -> None:
    drawn = str(curve("losses", {"measure": "x", "share": "y", "lines": {name: [(0, 0), (1, 1)] for name in "abcd"}}))
    assert [drawn.count(f'class="curved {kind}"') for kind in ("kept", "added", "errored", "kept dashed", "added dashed")] == [
        1,
        1,
        1,
        1,
        0,
    ]
    assert 'class="key kept dashed line"></i>d<' in drawn


def test_hostile_notes_stay_text(web: Report) -> None:
    hostile = CURVE | {"share": HOSTILE, "lines": {HOSTILE: CURVE["lines"]["promised"]}, "marks": {HOSTILE: 0.5}}
    page = Page(render(noted(web, note(name=HOSTILE, passed=False, message=HOSTILE, measures={HOSTILE: HOSTILE}, curve=hostile))))
    assert "script" not in page.tags and "img" not in page.tags
    assert page.text.count("alert(1)") >= 6


def test_the_ending_on_the_terminal(web: Report) -> None:
    told = summary(noted(web, note(message=LONG), note(name="sources", passed=False, message=LONG))).splitlines()
    start = next(i for i, line in enumerate(told) if line.startswith("dedup: of the planted"))
    warned = next(i for i, line in enumerate(told) if line.startswith("warning: dedup: of the planted"))
    for begun in (start, warned):
        assert LONG.strip() in " ".join(line.strip() for line in told[begun:][:4])
    assert warned > start and all(len(line) <= COLUMNS for line in told[start : warned + 4])
