"""Marks agree with a few lines of plain Python however documents are cut into shards; planted repeats go, and nothing else does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import explain, shuffle
from curate.errors import PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate_operators import line_counts
from curate_operators.line_dedup import LineDedup
from tests.engine import small
from tests.operators.test_boilerplate_lines import corpus, digest, normal, pages, site

LINES = st.sampled_from(["one", "ONE ", " the  other one", "the other one", "two 2", "two 3", "x", "", "", " ", "!"])
URLS = st.sampled_from(["http://a.example/1", "https://www.a.example/2", "http://b.example/", "", None])
Unit = tuple[int, int, str, int]  # its first line, its last, its normal form, its characters


def units(text: str, operator: LineDedup) -> list[Unit]:
    """Return the units of a text, those without text left out."""
    lines = text.split("\n")
    spans = [(number, number) for number in range(len(lines))]
    if operator.unit == "paragraph":
        begun = len(text[: len(text) - len(text.lstrip())].split("\n")) - 1
        spans, last = [], begun
        for block in re.split(r"(\n{2,})", text.strip()):
            if block.startswith("\n\n"):
                last += len(block) - 1
            else:
                spans.append((last, last + block.count("\n")))
                last += block.count("\n") + 1
    found = []
    for first, final in spans:
        raw = "\n".join(lines[first : final + 1])
        form = normal(raw, "digits" in operator.ignore)
        found.append((first + 1, final + 1, form, len(raw.strip() if operator.unit == "paragraph" else raw)))
    return [unit for unit in found if unit[2]]


def long_enough(unit: Unit, operator: LineDedup) -> bool:
    return len(unit[2]) >= (operator.min_chars or 0) and len(unit[2].split()) >= (operator.min_words or 0)


def reference(docs: list[dict[str, Any]], operator: LineDedup) -> list[tuple[Any, ...]]:
    """Return (id, keep, kept id, lines, documents, first ids) of every document."""
    having: dict[Any, list[str]] = {}
    for doc in docs:
        name = "all" if operator.by is None else site(doc["url"])
        for form in {unit[2] for unit in units(doc["text"], operator) if name is not None and long_enough(unit, operator)}:
            having.setdefault((name, form), []).append(doc["id"])
    answers = []
    for doc in docs:
        name = "all" if operator.by is None else site(doc["url"])
        gone, met, with_text = [], set(), units(doc["text"], operator)
        for first, last, form, _ in (unit for unit in with_text if name is not None and long_enough(unit, operator)):
            ids = having[name, form]
            frequent = len(ids) >= operator.min_documents
            elsewhere = frequent and (operator.first == "remove" or ids[0] != doc["id"])
            if elsewhere or (operator.within and form in met):
                gone.append((first, last, len(ids) if frequent else 1, ids[0] if frequent else doc["id"]))
            met.add(form)
        lines = [(number, count, first_id) for first, last, count, first_id in gone for number in range(first, last + 1)]
        kept_id = gone[0][3] if gone and operator.first == "keep" and gone[0][3] != doc["id"] else None
        keep = not gone or len(gone) < len(with_text)
        answers.append((doc["id"], keep, kept_id, *([line[k] for line in lines] for k in range(3))))
    return answers


def pipe(path: Path, params: dict[str, Any], shard_bytes: int = 1) -> Pipeline:
    stages = {
        "repeats": Stage("crawl", use="line_dedup", params=params),
        "clean": Stage(["crawl", "repeats"], [Step("apply", {"by": "repeats"}), Step("remove_lines", {"by": "repeats"})]),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=shard_bytes)


def told(dataset: Any) -> list[tuple[Any, ...]]:
    rows = small.rows(dataset)
    assert all((row["reason"] is None) == row["keep"] for row in rows)
    return [tuple(row[name] for name in ("id", "keep", "kept_id", "lines", "documents", "first_ids")) for row in rows]


@settings(max_examples=25)
@given(
    docs=st.lists(st.tuples(URLS, st.lists(LINES, max_size=7)), min_size=1, max_size=20),
    shards=st.sampled_from([1, 2, 5]),
    partitions=st.sampled_from([1, 3]),
    chunk=st.sampled_from([1, 10, 1 << 20]),
    operator=st.builds(
        LineDedup,
        unit=st.sampled_from(["line", "paragraph"]),
        by=st.sampled_from([None, "url"]),
        min_documents=st.integers(2, 4),
        first=st.sampled_from(["remove", "keep"]),
        within=st.booleans(),
        ignore=st.sampled_from([("case", "spaces"), ("case", "spaces", "digits")]),
        min_chars=st.sampled_from([None, 4]),
        min_words=st.sampled_from([None, 2]),
    ),
)
def test_agrees_with_plain_python(
    docs: list[tuple[str | None, list[str]]],
    shards: int,
    partitions: int,
    chunk: int,
    operator: LineDedup,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows = [{"id": f"d{i:03d}", "url": url, "text": "\n".join(lines)} for i, (url, lines) in enumerate(docs)]
    folder = tmp_path_factory.mktemp("lines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(line_counts, "CHUNK_LINES", chunk)
        plan, _ = small.run(pipe(corpus(folder, rows, shards), dataclasses.asdict(operator)), folder / "ws")
    wanted = reference(rows, operator)
    assert told(plan.dataset("repeats")) == wanted
    gone = {doc_id: set(lines) for doc_id, keep, _, lines, _, _ in wanted if keep}
    left = [
        (str(row["id"]), "\n".join(line for n, line in enumerate(str(row["text"]).split("\n"), 1) if n not in gone[row["id"]]))
        for row in rows
        if row["id"] in gone
    ]
    assert [(row["id"], row["text"]) for row in small.rows(plan.dataset("clean"))] == left


def planted(docs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return documents, every fifth of which also has a paragraph of an earlier one, and a copy; and those paragraphs."""
    rows, paragraphs = [], []
    for i, doc in enumerate(docs):
        text = doc["text"]
        long = [block for block in text.split("\n\n") if len(block) > 200]
        if i % 5 == 0 and long:
            paragraphs.append(long[0])
        elif i % 5 == 3 and paragraphs:
            text = f"{text}\n\n{paragraphs[-1].upper()}"
        rows.append(doc | {"text": text})
    return [*rows, docs[0] | {"id": "copy"}], paragraphs


def test_planted_paragraphs_of_the_sample_crawl(tmp_path: Path) -> None:
    """Every planted paragraph goes, the first stays; a copy of a whole page is dropped with the page that stays as evidence."""
    docs, paragraphs = planted(pages("handbook_en-US", "help_en-US", "pydoc_en"))
    assert len(paragraphs) > 10
    params = {"unit": "paragraph", "min_words": 10}
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 4), params), tmp_path / "one")
    wanted = reference(docs, LineDedup(unit="paragraph", min_words=10))
    assert told(plan.dataset("repeats")) == wanted
    after = {row["id"]: row["text"] for row in small.rows(plan.dataset("clean"))}
    for paragraph in paragraphs:
        assert sum(paragraph in text for text in after.values()) == 1
        assert not any(paragraph.upper() in text for text in after.values())


def test_whole_copies_are_dropped_and_explained(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "url": None, "text": f"First of {i}.\n\nSecond of {i}.\n"} for i in range(6)]
    docs += [docs[1] | {"id": "copy"}, {"id": "half", "url": None, "text": f"{docs[2]['text']}And more."}]
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 3), {}), tmp_path / "ws")
    assert small.ledger(plan.dataset("clean"), "drops") == [
        {"id": "copy", "step": "repeats", "reason": "only_repeated_lines", "value": 23 / 26, "kept_id": "d1", "similarity": None}
    ]
    events = {event.stage: event for event in explain.explain([plan.dataset("repeats"), plan.dataset("clean")], "half")}
    details = events["repeats"].details
    assert (details["lines"], details["documents"], details["first_ids"]) == ([1, 3], [2, 2], ["d2", "d2"])
    assert small.rows(plan.dataset("clean"))[-1]["text"] == "\nAnd more."


def test_same_bytes_for_any_workers_and_same_rows_for_any_shards(tmp_path: Path) -> None:
    docs, _ = planted(pages("handbook_de-DE"))
    one, _ = small.run(pipe(corpus(tmp_path, docs, 4), {"ignore": ["case", "spaces", "digits", "punctuation"]}), tmp_path / "one")
    two, _ = small.run(pipe(tmp_path / "in", {"ignore": ["punctuation", "case", "spaces", "digits"]}), tmp_path / "two", workers=2)
    assert digest(one, "repeats") == digest(two, "repeats")
    other, _ = small.run(
        pipe(corpus(tmp_path / "other", docs, 1), {"ignore": ["case", "spaces", "digits", "punctuation"]}), tmp_path / "three"
    )
    assert told(other.dataset("repeats")) == told(one.dataset("repeats"))
    assert any(lines for _, _, _, lines, _, _ in told(one.dataset("repeats")))


def test_mistakes() -> None:
    with pytest.raises(PipelineError, match="min_documents is less than 2"):
        LineDedup(min_documents=1)
    assert LineDedup().adds()["first_ids"] == pa.list_(pa.string())
