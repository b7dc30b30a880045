"""One document's story: read, edited, kept, dropped with evidence, quarantined, or made into others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.explain import Event, changed_lines, explain, parents
from curate.pipeline import Stage, Step
from tests.engine import small

ROWS = [
    {"id": "kept", "text": "plenty of text"},
    {"id": "edited", "text": "banana|and more"},
    {"id": "dropped", "text": "x"},
    {"id": "errored", "text": "this is poison"},
    {"id": "copied", "text": "plenty  of TEXT"},
    {"id": "odd/name", "text": "b|no|longer here"},
    {"id": "odd.name", "text": "cc|yes"},
]
STAGES = {
    "clean": Stage(
        "crawl",
        [Step("my_ops.py:Short", {"min_chars": 3, "poison": "poison"}, name="short"), Step("my_ops.py:Upper", name="upper")],
        max_errors=1,
        trace="documents",
    ),
    "mark": Stage("clean", use="exact_dedup"),
    "unique": Stage(["clean", "mark"], apply=["mark"]),
    "parts": Stage("unique", [Step("my_ops.py:Parts", name="parts"), Step("my_ops.py:Short", {"min_chars": 3}, name="short")]),
    "long": Stage("parts", [Step("my_ops.py:Short", {"min_chars": 9}, name="long")]),
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("explain")
    source = small.write_jsonl(folder / "a.jsonl", ROWS)
    plan, _ = small.run(small.pipeline(source, STAGES, shard_bytes=90), folder / "ws")
    found = [plan.dataset(name) for name in plan.stages]
    assert len(next(d for d in found if d.name == "clean").manifest.shards) > 2
    return found


def story(datasets: list[Any], doc_id: str) -> list[tuple[str, str]]:
    return [(event.stage, event.what) for event in explain(datasets, doc_id)]


def events(datasets: list[Any], doc_id: str, what: str) -> list[dict[str, Any]]:
    return [event.details for event in explain(datasets, doc_id) if event.what == what]


def test_kept(datasets: list[Any]) -> None:
    stages = [("clean", "kept"), ("mark", "measured"), ("unique", "kept"), ("parts", "expanded")]
    assert story(datasets, "kept") == stages
    assert events(datasets, "kept", "measured") == [{"keep": True, "cluster": "kept"}]
    assert events(datasets, "kept", "kept")[0] == {"source": "crawl", "characters": 14}


def test_edited(datasets: list[Any]) -> None:
    assert story(datasets, "edited")[:2] == [("clean", "edited"), ("clean", "kept")]
    assert events(datasets, "edited", "edited") == [{"step": "upper", "before": "banana|and more", "after": "bbÄnÄnÄ|Änd more"}]


def test_dropped_with_evidence(datasets: list[Any]) -> None:
    assert story(datasets, "dropped") == [("clean", "dropped")]
    assert events(datasets, "dropped", "dropped") == [{"step": "short", "reason": "short", "value": 1.0}]
    assert story(datasets, "copied") == [("clean", "kept"), ("mark", "measured"), ("unique", "dropped")]
    assert events(datasets, "copied", "dropped") == [{"step": "mark", "reason": "duplicate", "kept_id": "kept", "similarity": 1.0}]


def test_errored(datasets: list[Any]) -> None:
    assert explain(datasets, "errored") == [Event("clean", "errored", 1, {"step": "short", "error": "ValueError: cannot bear 'poison'"})]


def test_expanded(datasets: list[Any]) -> None:
    assert explain(datasets, "odd/name")[-1].details == {"documents": 3}
    assert explain(datasets, "odd.name")[-1] == Event("parts", "expanded", explain(datasets, "odd.name/1")[0].shard, {"documents": 2})
    assert story(datasets, "odd/name/0") == [("parts", "dropped")]
    assert [event.what for event in explain(datasets, "odd/name")].count("expanded") == 1  # whatever later stages do with the parts
    assert story(datasets, "odd/name/2") == [("parts", "kept"), ("long", "kept")]
    assert events(datasets, "odd/name/2", "kept")[0]["parent_id"] == "odd/name"
    assert parents(datasets, "odd/name/2")[0] == "odd/name"


def test_lines_that_an_edit_changed() -> None:
    before, after = "-- a\nb\nc\nd\n++ e", "b\nc\nD\n++ e\n--"
    changed = [("-", "-- a"), ("@", "…"), ("-", "d"), ("+", "D"), ("@", "…"), ("+", "--")]
    assert list(changed_lines(before, after))[1:] == changed
    assert ("+", "D") in changed_lines(before, after, around=1) and (" ", "c") in changed_lines(before, after, around=1)
    assert list(changed_lines(before, before)) == []


def test_nobody(datasets: list[Any]) -> None:
    assert explain(datasets, "nobody") == [] == explain(datasets, "odd") == explain(datasets, "kep")


def test_stories_do_not_depend_on_the_shards(datasets: list[Any], tmp_path: Path) -> None:
    plan, _ = small.run(small.pipeline(small.write_jsonl(tmp_path / "a.jsonl", ROWS), STAGES), tmp_path / "ws")
    whole = [plan.dataset(name) for name in plan.stages]
    for row in ROWS:
        assert [(e.stage, e.what, e.details) for e in explain(whole, row["id"])] == [
            (e.stage, e.what, e.details) for e in explain(datasets, row["id"])
        ]
