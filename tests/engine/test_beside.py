"""Documents and the attributes beside them are read row by row, or it is told that they do not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import beside
from curate.errors import DatasetError, PipelineError
from curate.registry import OperatorSpec, build
from curate.storage import LocalStorage
from curate.work import Place

IDS = [f"d{k}" for k in range(10)]


def place(folder: Path, ids: list[str]) -> tuple[dict[str, Any], Place]:
    """Write a shard of documents, in small row groups, and one of attributes with these ids."""
    docs = pa.table({"id": IDS, "text": [f"text {k}" for k in range(10)], "url": IDS})
    marks = pa.table({"id": ids, "score": [float(k) for k in range(len(ids))], "rest": ids})
    pq.write_table(docs, folder / "docs.parquet", row_group_size=3)
    pq.write_table(marks, folder / "marks.parquet", row_group_size=4)
    return {"documents": "docs.parquet", "attributes": {"marks": "marks.parquet"}}, Place(LocalStorage(folder), "x")


def test_only_what_is_asked_for_is_read_and_rows_stay_together(tmp_path: Path) -> None:
    batches = list(beside.read(*place(tmp_path, IDS), ["marks.score", None, "url"]))
    assert {tuple(batch.schema.names) for batch in batches} == {("id", "url", "marks")}
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert rows == [{"id": f"d{k}", "url": f"d{k}", "marks": {"score": float(k)}} for k in range(10)]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (IDS[:9], "fewer rows than the documents"),
        ([*IDS, "d10"], "more rows than the documents"),
        ([*IDS[:8], "d9", "d8"], "`marks` do not describe the rows of docs.parquet"),
    ],
)
def test_attributes_of_other_documents_are_told(tmp_path: Path, ids: list[str], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        list(beside.read(*place(tmp_path, ids), ["marks.score"]))


OPERATORS: dict[str, dict[str, Any]] = {
    "calibrate": {"column": "scores.x"},
    "cluster": {"column": "vectors.embedding", "k": 2},
    "cluster_cards": {},
    "drop_clusters": {"drop": "documents < 2"},
    "perplexity_correlations": {"losses": ("l.a", "l.b"), "scores": (0.1, 0.2), "fraction": 0.1},
    "prototypes": {"keep_fraction": 0.5},
    "sample_clusters": {"documents": 5},
    "select_top": {"column": "scores.x", "fraction": 0.5},
    "semantic_dedup": {"eps": 0.1},
}


@pytest.mark.parametrize("name", OPERATORS)
def test_wrong_sources_are_told_before_anything_runs(name: str) -> None:
    operator: Any = build(OperatorSpec(name, OPERATORS[name]))
    cards: dict[str, Any] = {"cards": "artifact"} if name == "drop_clusters" else {}
    operator.verify_sources({"text": "documents", "marks": "attributes"} | cards)
    for kinds in ({"marks": "attributes", "text": "documents"}, {"text": "documents", "more": "documents"}):
        with pytest.raises(PipelineError, match=f"{name}: it reads one set of documents, and attributes of these; `(marks|more)` is a"):
            operator.verify_sources(kinds | cards)
