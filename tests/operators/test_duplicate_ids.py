"""An id that stands twice, in two shards, is told by whoever would mark a document as a copy of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.errors import DatasetError
from curate.pipeline import Input, Pipeline, Stage
from tests.engine import small

TEXT = " ".join(f"word{k}" for k in range(60))


def run(tmp_path: Path, use: str, params: dict[str, Any]) -> Any:
    for name, text in (("a", TEXT), ("b", TEXT if use == "exact_dedup" else f"{TEXT} tail")):
        small.write_jsonl(tmp_path / "in" / f"{name}.jsonl", [{"id": "x", "text": text}])
    stages = {"dedup": Stage("docs", use=use, params=params), "corpus": Stage(["docs", "dedup"], apply=["dedup"])}
    pipeline = Pipeline("twice", {"docs": Input(str(tmp_path / "in/*.jsonl"))}, stages, shard_bytes=10)
    return small.run(pipeline, tmp_path / "ws")


@pytest.mark.parametrize("use", ["exact_dedup", "minhash_dedup"])
def test_an_id_in_two_shards_is_told(tmp_path: Path, use: str) -> None:
    with pytest.raises(DatasetError, match="the id `x` stands twice") as caught:
        run(tmp_path, use, {})
    assert "by: id" in str(caught.value.hint)


def test_one_of_each_id_may_be_kept(tmp_path: Path) -> None:
    plan, _ = run(tmp_path, "exact_dedup", {"by": "id"})
    assert [row["id"] for row in small.rows(plan.dataset("corpus"))] == ["x"]
