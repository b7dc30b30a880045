"""Marks agree with a few lines of plain Python however the documents are cut into shards; on real sites the menu goes and prose stays."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
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
from curate_operators.boilerplate_lines import BoilerplateLines
from curate_operators.remove_lines import RemoveLines
from curate_operators.site_lines import sites_of
from tests.engine import small
from tests.operators.conftest import ROOT, batch

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "url": pa.string()})
LINES = st.sampled_from(["menu", "MENU ", " the  footer", "the footer", "one", "two 2", "two 3", "x", "", "  "])
URLS = st.sampled_from(["http://a.example/1", "https://www.a.example/2", "http://b.example/", "not an address", "", None])


def normal(line: str, ignore_digits: bool) -> str:
    line = re.sub(r"\s+", " ", line.strip().lower())
    return re.sub(r"\d+", "0", line) if ignore_digits else line


def site(url: str | None) -> str | None:
    if url and "://" in url:
        return re.sub(r"^https?://(www\.)?|/.*", "", url)
    return url or None


def reference(docs: list[dict[str, Any]], operator: BoilerplateLines) -> list[tuple[str, bool, list[int], list[int]]]:
    """Return (id, keep, numbers of lines, documents with each) for every document."""
    having: dict[tuple[str, str], list[str]] = defaultdict(list)
    members: dict[str, int] = defaultdict(int)
    for doc in docs:
        name = site(doc["url"])
        if name is not None:
            members[name] += 1
            for line in {normal(line, operator.ignore_digits) for line in doc["text"].split("\n")}:
                having[name, line].append(doc["id"])
    answers = []
    for doc in docs:
        lines = [normal(line, operator.ignore_digits) for line in doc["text"].split("\n")]
        marked = []
        for number, line in enumerate(lines, 1):
            name = site(doc["url"])
            ids = having[name, line] if name is not None else []
            enough = len(ids) >= max(operator.min_documents, (operator.min_share or 0) * members[name or ""])
            spared = operator.first == "keep" and ids[:1] == [doc["id"]]
            if enough and not spared and len(line) >= max(operator.min_line_chars, 1):
                marked.append((number, len(ids)))
        keep = not marked or len(marked) < sum(map(bool, lines))
        answers.append((doc["id"], keep, [n for n, _ in marked], [n for _, n in marked]))
    return answers


def corpus(folder: Path, docs: list[dict[str, Any]], shards: int) -> Path:
    return small.write_shards(folder / "in", docs, shards, SCHEMA)


def pipe(path: Path, params: dict[str, Any], shard_bytes: int = 1) -> Pipeline:
    stages = {
        "boilerplate": Stage("crawl", use="boilerplate_lines", params=params),
        "clean": Stage(
            ["crawl", "boilerplate"], [Step("apply", {"by": "boilerplate"}), Step("remove_lines", {"by": "boilerplate"})], trace="documents"
        ),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=shard_bytes)


def told(dataset: Any) -> list[tuple[str, bool, list[int], list[int]]]:
    rows = small.rows(dataset)
    assert all(row["reason"] == (None if row["keep"] else "only_boilerplate") for row in rows)
    return [(row["id"], row["keep"], row["lines"], row["documents"]) for row in rows]


@settings(max_examples=30)
@given(
    docs=st.lists(st.tuples(URLS, st.lists(LINES, max_size=6)), min_size=1, max_size=24),
    shards=st.sampled_from([1, 2, 5]),
    partitions=st.sampled_from([1, 3]),
    chunk=st.sampled_from([1, 10, 1 << 20]),
    operator=st.builds(
        BoilerplateLines,
        min_documents=st.integers(2, 5),
        min_share=st.sampled_from([None, 0.25, 0.5, 1.0]),
        min_line_chars=st.sampled_from([0, 1, 3]),
        first=st.sampled_from(["remove", "keep"]),
        ignore_digits=st.booleans(),
    ),
)
def test_agrees_with_plain_python(
    docs: list[tuple[str | None, list[str]]],
    shards: int,
    partitions: int,
    chunk: int,
    operator: BoilerplateLines,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows = [{"id": f"d{i:03d}", "url": url, "text": "\n".join(lines)} for i, (url, lines) in enumerate(docs)]
    folder = tmp_path_factory.mktemp("lines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        patch.setattr(line_counts, "CHUNK_LINES", chunk)
        plan, _ = small.run(pipe(corpus(folder, rows, shards), dataclasses.asdict(operator)), folder / "ws")
    assert told(plan.dataset("boilerplate")) == reference(rows, operator)
    numbers = {doc_id: set(lines) for doc_id, keep, lines, _ in reference(rows, operator) if keep}
    left = [
        (str(row["id"]), "\n".join(line for n, line in enumerate(str(row["text"]).split("\n"), 1) if n not in numbers[row["id"]]))
        for row in rows
        if row["id"] in numbers
    ]
    assert [(row["id"], row["text"]) for row in small.rows(plan.dataset("clean"))] == left


def planted(count: int) -> list[dict[str, Any]]:
    """Return documents of two sites; `menu` is on every page of one, `notice` on a fifth, `rare` on four."""
    rows = []
    for i in range(count):
        lines = [f"A sentence about the matter number {i}.", f"Another one, {i * i}."]
        if i % 2:
            lines = ["Home | News", *lines, *(["Our shop is closed."] if i % 10 == 1 else []), *(["Read this too"] if i < 8 else [])]
        rows.append({"id": f"d{i:03d}", "url": f"https://{'ab'[i % 2]}.example/{i}", "text": "\n".join(lines)})
    return [*rows, {"id": "menu", "url": "https://b.example/menu", "text": "\nHome | News\n"}]


def test_planted_lines_go_and_prose_stays(tmp_path: Path) -> None:
    docs = planted(100)
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 3), {}), tmp_path / "ws")
    texts = {row["id"]: row["text"] for row in small.rows(plan.dataset("clean"))}
    for doc in docs[:-1]:
        expected = [line for line in doc["text"].split("\n") if line not in ("Home | News", "Our shop is closed.")]
        assert texts[doc["id"]] == "\n".join(expected)
    drop = {"id": "menu", "step": "boilerplate", "reason": "only_boilerplate", "kept_id": None, "similarity": None}
    assert small.ledger(plan.dataset("clean"), "drops") == [drop | {"value": 11 / 13}]
    edited = plan.dataset("clean").manifest.counts.edited["remove_lines"]
    assert (edited["rows"], edited["bytes_removed"]) == (50, 50 * len("Home | News\n") + 10 * len("Our shop is closed.\n"))
    events = {event.stage: event for event in explain.explain([plan.dataset("boilerplate"), plan.dataset("clean")], "d011")}
    assert events["boilerplate"].details == {
        "keep": True, "value": 30 / len(docs[11]["text"]), "site": "b.example", "site_documents": 51, "lines": [1, 4], "documents": [51, 10],
    }  # fmt: skip


def digest(plan: Any, name: str) -> list[tuple[str, str]]:
    return [(shard.data.path, shard.data.sha256) for shard in plan.dataset(name).manifest.shards]


def test_same_bytes_for_any_workers_and_same_rows_for_any_shards(tmp_path: Path) -> None:
    docs = planted(60)
    one, _ = small.run(pipe(corpus(tmp_path, docs, 4), {"first": "keep"}), tmp_path / "one")
    two, _ = small.run(pipe(tmp_path / "in", {"first": "keep"}), tmp_path / "two", workers=2)
    for name in ("boilerplate", "clean"):
        assert digest(one, name) == digest(two, name)
    other, _ = small.run(pipe(corpus(tmp_path / "other", docs, 1), {"first": "keep"}), tmp_path / "three")
    assert told(other.dataset("boilerplate")) == told(one.dataset("boilerplate"))
    kept = {row["id"]: row["text"] for row in small.rows(one.dataset("clean"))}
    assert [doc_id for doc_id, text in kept.items() if "Home | News" in text] == ["d001"]


def pages(*names: str) -> list[dict[str, Any]]:
    """Return all the text of the pages of the sample crawl, menus included."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    rows: list[dict[str, Any]] = []
    for name in names:
        with open(ROOT / "pipelines/sample" / f"{name}.warc.gz", "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                url, body = record.headers["WARC-Target-URI"], record.reader.read()
                if b"<html" in body[:3000].lower():
                    text = extract_plain_text(HTMLTree.parse_from_bytes(body, "utf-8"), main_content=False)
                    rows.append({"id": f"{name}/{len(rows)}", "url": url, "text": text})
    return rows


def test_real_sites(tmp_path: Path) -> None:
    docs = pages("handbook_en-US", "help_en-US", "pydoc_en")
    plan, _ = small.run(pipe(corpus(tmp_path, docs, 3), {}), tmp_path / "ws", workers=2)
    assert told(plan.dataset("boilerplate")) == reference(docs, BoilerplateLines())
    after = {row["id"]: row["text"] for row in small.rows(plan.dataset("clean"))}
    for menu in ("Download the ebook", "LibreOffice 7.4 Help", "The Python Software Foundation is a non-profit corporation."):
        assert sum(menu in doc["text"] for doc in docs) >= 20
        assert not any(menu in text for text in after.values())
    prose = [(doc["id"], line) for doc in docs for line in doc["text"].split("\n") if len(line) > 200]
    assert len(prose) > 900
    lost = {line for doc_id, line in prose if line not in after[doc_id].split("\n")}
    assert not lost, lost


def test_sites() -> None:
    values = pa.array(["http://www.A.example:80/x", "https://b.example", "a source", "", None, "://"])
    assert sites_of(values).to_pylist() == ["a.example", "b.example", "a source", None, None, None]


def test_lines_out_of_texts() -> None:
    marks = pa.array(
        [{"lines": [1, 3]}, {"lines": []}, {"lines": None}, None, {"lines": [9, 0, -1, 2]}, {"lines": [1]}, {"lines": [1]}],
        pa.struct({"lines": pa.list_(pa.int32())}),
    )
    docs = batch(["a\n\nb\n", "a", "b", "c", "a\nb", "only", None], marks=marks)
    for piece, start in ((docs, 0), (docs.slice(4, 2), 4), (docs.slice(0, 0), 0)):
        result = RemoveLines("marks").map(piece)
        assert result.schema.names == ["id", "text"]
        assert result.column("text").to_pylist() == ["\n", "a", "b", "c", "a", "", None][start : start + len(piece)]


def test_mistakes() -> None:
    with pytest.raises(PipelineError, match="min_documents is less than 2"):
        BoilerplateLines(min_documents=1)
    with pytest.raises(PipelineError, match="min_share"):
        BoilerplateLines(min_share=1.5)
    with pytest.raises(PipelineError, match="has no list of whole numbers"):
        RemoveLines("marks").verify(pa.schema({"marks": pa.struct({"keep": pa.bool_()})}))
