"""Sources that lose too many of their documents are named, or the stage fails, for every operator that marks duplicates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate import shuffle
from curate.errors import OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate_operators import removal_guard
from curate_operators.exact_dedup import ExactDedup
from curate_operators.removal_guard import Guard, parse
from tests.engine import small

OPERATORS = ["exact_dedup", "line_dedup", "minhash_dedup", "paragraph_dedup"]
SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "source": pa.string(), "url": pa.string()})
LOSSES = {"books": (150, 120), "wiki": (200, 20), "tiny": (50, 50), None: (100, 0)}  # documents, and how many repeat an earlier one


def corpus(folder: Path, shards: int) -> Path:
    """Write the sources mixed, so that each shard has some of each; a repeated document repeats one of `origin`."""
    rows: list[dict[str, Any]] = [_document("origin", n, 0) for n in range(200)]
    for source, (documents, repeated) in LOSSES.items():
        rows += [_document(source, n, repeated) for n in range(documents)]
    for shard in range(shards):
        part = rows[:200] if shards > 1 and not shard else rows[200 * (shards > 1) :][max(shard - 1, 0) :: max(shards - 1, 1)]
        small.write_shard(folder / f"in/{shard}.parquet", [pa.RecordBatch.from_pylist(part, SCHEMA)], SCHEMA)
    return folder / "in"


def _document(source: str | None, n: int, repeated: int) -> dict[str, Any]:
    own = f"origin{n}" if n < repeated else f"{source}{n}"
    text = " ".join(f"{own}word{k}" for k in range(30))
    return {"id": f"{source}/{n}", "text": text, "source": source, "url": f"https://www.{source}.example.org/{n}" if source else None}


def pipe(path: Path, operator: str, **params: Any) -> Pipeline:
    stages = {"dedup": Stage("crawl", use=operator, params=params)}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def sources(folder: Path, operator: str, **params: Any) -> dict[str, Any]:
    plan, _ = small.run(pipe(folder / "in", operator, **params), folder / "ws")
    [note] = [note for note in plan.dataset("dedup").manifest.notes if note["name"] == "sources"]
    return dict(note)


@pytest.mark.parametrize("operator", OPERATORS)
def test_what_each_source_loses(operator: str, tmp_path: Path) -> None:
    corpus(tmp_path, 4)
    note = sources(tmp_path, operator)
    assert not note["passed"]
    assert note["message"] == "1 of 4 sources (`source`) lost more than 50%: `books` 80.0% of 150; 50 documents of smaller ones not judged"
    texts = {name: [row.pop(f"text {key}", None) for key in ("bytes", "removed", "ratio")] for name, row in note["measures"].items()}
    books = [_document("books", n, 120)["text"] for n in range(150)]
    size, removed = (sum(map(len, some)) for some in (books, books[:120]))
    of_text = operator in ("line_dedup", "paragraph_dedup")  # the others take no text from documents that stay
    assert texts["`books`"] == ([size, removed, round(removed / size, 4)] if of_text else [None] * 3)
    assert note["measures"] == {
        "`books`": {"documents": 150, "removed": 120, "ratio": 0.8},
        "`wiki`": {"documents": 200, "removed": 20, "ratio": 0.1},
        "`origin`": {"documents": 200, "removed": 0, "ratio": 0.0},
        "`crawl`": {"documents": 100, "removed": 0, "ratio": 0.0},  # what the reader calls documents without a source
    }


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_stage_that_may_not_go_on_fails_before_its_dataset_exists(operator: str, tmp_path: Path) -> None:
    corpus(tmp_path, 2)
    failing = pipe(tmp_path / "in", operator, max_removed_ratio_per_source={"ratio": 0.7, "otherwise": "fail"})
    for _ in range(2):  # a rerun does not slip through
        plan = small.plan(failing, tmp_path / "ws")
        result = small.execute(plan)
        assert isinstance(result.error, OperatorError)
        assert f"{operator}: 1 of 4 sources" in result.error.message and "`books` 80.0% of 150" in result.error.message
        assert plan.status("dedup") == "partial"
        assert [note["passed"] for note in result.stages["dedup"].notes if note["name"] == "sources"] == [False]
    small.run(pipe(tmp_path / "in", operator, max_removed_ratio_per_source={"ratio": 0.8, "otherwise": "fail"}), tmp_path / "ws")


def test_sources_that_lose_nothing_and_nearly_all(tmp_path: Path) -> None:
    rows = [{"id": f"{n}", "text": f"only {n}", "source": "own", "url": None} for n in range(100)]
    small.write_shard(tmp_path / "in/0.parquet", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    assert sources(tmp_path, "exact_dedup")["message"] == "no `source` lost any document"
    rows = [{"id": f"{n}", "text": "the same", "source": "copies", "url": None} for n in range(2001)]
    small.write_shard(tmp_path / "b/in/0.parquet", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    note = sources(tmp_path / "b", "exact_dedup", max_removed_ratio_per_source=0.995)
    assert note["message"] == "1 of 1 source (`source`) lost more than 99.5%: `copies` >99.9% of 2,001"


def test_small_sources_and_hosts(tmp_path: Path) -> None:
    corpus(tmp_path, 3)
    note = sources(tmp_path, "exact_dedup", max_removed_ratio_per_source={"column": "url", "min_documents": 50, "ratio": 0.9})
    assert note["message"].endswith("lost more than 90%: `tiny.example.org` 100% of 50")
    assert note["measures"]["``"] == {"documents": 100, "removed": 0, "ratio": 0.0}
    note = sources(tmp_path, "exact_dedup", max_removed_ratio_per_source=0.8)
    assert note["passed"]
    assert note["message"] == "no `source` lost more than 80%; most lost `books` 80.0% of 150; 50 documents of smaller ones not judged"


def test_the_same_for_any_shards_partitions_and_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = []
    for shards, partition_bytes, workers in ((1, 64 << 20, 1), (4, 64 << 20, 2), (3, 5000, 1)):
        folder = tmp_path / str(shards)
        corpus(folder, shards)
        monkeypatch.setattr(shuffle, "PARTITION_BYTES", partition_bytes)
        plan, _ = small.run(pipe(folder / "in", "exact_dedup"), folder / "ws", workers)
        notes.append(plan.dataset("dedup").manifest.notes)
    assert notes[0] == notes[1] == notes[2]


def test_many_sources_above_are_counted_and_the_worst_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal_guard, "SHOWN", 4)
    monkeypatch.setattr(shuffle, "PARTITION_BYTES", 1000)
    rows = [{"id": f"{n}", "text": "the same", "source": f"s{n % 30:02d}", "url": None} for n in range(1, 300)]
    small.write_shard(tmp_path / "in/0.parquet", [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
    note = sources(tmp_path, "exact_dedup", max_removed_ratio_per_source={"min_documents": 10})
    assert note["message"].startswith("29 of 29 sources")
    assert note["message"].endswith(
        "`s02` 100% of 10, `s03` 100% of 10, `s04` 100% of 10, and 26 more; 9 documents of smaller ones not judged"
    )
    assert list(note["measures"]) == ["`s02`", "`s03`", "`s04`", "`s05`"]


def test_without_the_column_nothing_is_judged(tmp_path: Path) -> None:
    corpus(tmp_path, 2)
    whole = pipe(tmp_path / "in", "exact_dedup")
    stages = {"bare": Stage("crawl", [Step("my_ops.py:Anonymous")]), "dedup": Stage("bare", use="exact_dedup")}
    plan, _ = small.run(replace(whole, stages=stages), tmp_path / "ws")
    [note] = plan.dataset("dedup").manifest.notes
    assert note["passed"] and note["message"] == "not judged what each source loses: there is no column `source`"
    with pytest.raises(PipelineError, match="no column `host`|column `host`"):
        small.run(pipe(tmp_path / "in", "exact_dedup", max_removed_ratio_per_source={"column": "host"}), tmp_path / "ws")
    plan, _ = small.run(pipe(tmp_path / "in", "exact_dedup", max_removed_ratio_per_source=None), tmp_path / "ws")
    assert plan.dataset("dedup").manifest.notes == []


@pytest.mark.parametrize("given", [1.5, -0.1, {"ratio": 2}, {"rate": 0.5}, {"otherwise": "stop"}, {"min_documents": 0}, {"column": 3}])
def test_what_is_no_guard(given: Any) -> None:
    with pytest.raises(PipelineError, match="max_removed_ratio_per_source"):
        ExactDedup(max_removed_ratio_per_source=given)
    assert parse({"ratio": 0.3, "column": "lang.code"}) == Guard(0.3, "lang.code")
    assert ExactDedup(max_removed_ratio_per_source={"column": "lang.code"}).reads() == ("text", "lang.code")
