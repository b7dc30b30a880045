"""An output is a versioned folder and one pointer: readers see the old version or the new one, and nobody is overwritten."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import PipelineError
from curate.manifest import MANIFEST
from curate.pipeline import Output, Pipeline, Stage, Step
from tests.engine import small


def pipeline(tmp_path: Path, keep: str = "even", **output: Any) -> Pipeline:
    source = tmp_path / "in/a.jsonl"
    if not source.exists():
        small.write_jsonl(source, small.documents(60))
    steps = {"even": [Step("my_ops.py:Even")], "none": [Step("length", {"min_chars": 10**6})], "all": [Step("length")]}
    outputs = {"corpus": Output(**{"path": str(tmp_path / "out"), "stage": "clean"} | output)}
    return small.pipeline(source, {"clean": Stage("crawl", steps[keep])}, outputs=outputs, shard_bytes=700)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def json_lines(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("v-*/*.jsonl.zst")):
        with pa.input_stream(path, compression="zstd") as stream:
            found += [orjson.loads(line) for line in stream.read().splitlines()]
    return found


@pytest.mark.parametrize("shard_bytes", [1, 1500, 1 << 30])
def test_shards_are_joined_to_the_target_size(tmp_path: Path, shard_bytes: int) -> None:
    plan, result = small.run(pipeline(tmp_path, shard_bytes=shard_bytes), tmp_path / "ws")
    dataset, out = plan.dataset("clean"), curate.load(str(tmp_path / "out"))
    assert small.rows(out) == small.rows(dataset) == out.scan().collect().to_dicts()
    assert out.rows == dataset.rows == 30 == result.outputs["corpus"].rows
    shards = len(out.manifest.shards)
    assert shards == (len(dataset.manifest.shards) if shard_bytes == 1 else 1 if shard_bytes > 1500 else shards)
    assert 1 <= shards <= len(dataset.manifest.shards) and len(dataset.manifest.shards) > 3
    assert [s.data.rows for s in out.manifest.shards] == [
        pq.read_metadata(tmp_path / "out" / s.data.path).num_rows for s in out.manifest.shards
    ]
    assert result.outputs["corpus"].bytes == sum(len(data) for name, (_, data) in files(tmp_path / "out").items() if name != MANIFEST)


def test_the_same_version_is_not_written_again(tmp_path: Path) -> None:
    small.run(pipeline(tmp_path), tmp_path / "ws")
    before = files(tmp_path / "out")
    small.run(pipeline(tmp_path), tmp_path / "ws")
    assert files(tmp_path / "out") == before
    small.run(pipeline(tmp_path), tmp_path / "fresh")
    assert files(tmp_path / "out") == before


def test_a_new_version_stands_beside_the_old_one(tmp_path: Path) -> None:
    small.run(pipeline(tmp_path), tmp_path / "ws")
    before, old = files(tmp_path / "out"), small.rows(curate.load(str(tmp_path / "out")))
    small.run(pipeline(tmp_path, "all"), tmp_path / "ws")
    after = files(tmp_path / "out")
    assert {name: after[name] for name in before if name != MANIFEST} == {name: it for name, it in before.items() if name != MANIFEST}
    assert curate.load(str(tmp_path / "out")).rows == 60
    (tmp_path / "out" / MANIFEST).write_bytes(before[MANIFEST][1])
    assert small.rows(curate.load(str(tmp_path / "out"))) == old


@pytest.mark.parametrize("change", [{"format": "jsonl"}, {"shard_bytes": 1}])
def test_another_format_or_size_is_another_version(tmp_path: Path, change: dict[str, Any]) -> None:
    small.run(pipeline(tmp_path), tmp_path / "ws")
    small.run(pipeline(tmp_path, **change), tmp_path / "ws")
    manifest = orjson.loads((tmp_path / "out" / MANIFEST).read_bytes())
    assert len({path.parent for path in (tmp_path / "out").glob("v-*/*")}) == 2
    assert {Path(shard["data"]["path"]).suffix for shard in manifest["shards"]} == {".zst" if "format" in change else ".parquet"}
    assert len(manifest["shards"]) == (1 if "format" in change else len({p.name for p in (tmp_path / "out").glob("v-*/*")}))


def test_a_publication_that_was_killed_is_finished(tmp_path: Path) -> None:
    small.run(pipeline(tmp_path), tmp_path / "ws")
    before = {name: data for name, (_, data) in files(tmp_path / "out").items()}
    (tmp_path / "out" / MANIFEST).unlink()
    next(iter((tmp_path / "out").glob("v-*/*"))).write_bytes(b"half")
    small.run(pipeline(tmp_path), tmp_path / "ws")
    assert {name: data for name, (_, data) in files(tmp_path / "out").items()} == before


def test_a_place_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("precious")
    result = small.execute(small.plan(pipeline(tmp_path), tmp_path / "ws"))
    assert isinstance(result.error, PipelineError) and "is not empty: it holds thesis.tex" in result.error.message
    assert result.status == "failed" and list((tmp_path / "out").iterdir()) == [tmp_path / "out/thesis.tex"]
    (tmp_path / "out/thesis.tex").unlink()
    small.run(pipeline(tmp_path), tmp_path / "ws")
    before = files(tmp_path / "out")
    result = small.execute(small.plan(dataclasses.replace(pipeline(tmp_path, "all"), name="stranger"), tmp_path / "ws"))
    assert isinstance(result.error, PipelineError) and "belongs to pipeline `small`" in result.error.message
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_an_empty_corpus(tmp_path: Path, format: str) -> None:
    _, result = small.run(pipeline(tmp_path, "none", format=format), tmp_path / "ws")
    assert result.outputs["corpus"].rows == 0
    out = curate.load(str(tmp_path / "out"))
    assert out.rows == 0 and len(out.manifest.shards) == 1
    if format == "parquet":
        assert small.rows(out) == [] and out.scan().collect().columns == out.schema.names
    assert json_lines(tmp_path / "out") == []


def test_json_lines_hold_every_type(tmp_path: Path) -> None:
    stamp = datetime.datetime(2026, 11, 24, 6, 5, 4, 123456, datetime.UTC)
    table = pa.table(
        {
            "id": ["a", "b"],
            "text": pa.array(["ä\n\u2028", "𝄞"], pa.large_string()),
            "html": [b"\xff\x00<p>", None],
            "price": [decimal.Decimal("1.50"), None],
            "time": pa.array([stamp, None], pa.timestamp("us", "UTC")),
            "exact": pa.array([1_764_000_000_123_456_789, None], pa.timestamp("ns")),
            "day": [datetime.date(2026, 11, 24), None],
            "span": pa.array([datetime.timedelta(seconds=90), None]),
            "score": pa.array([float("nan"), 1.5]),
            "small": pa.array(np.array([0.5, 2], np.float16)),
            "lang": [{"code": "en", "raw": b"x"}, None],
            "tags": [["a", None], []],
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "big": pa.array([2**64 - 1, 0], pa.uint64()),
        }
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet")
    pipe = small.pipeline(
        tmp_path / "in/a.parquet", {"all": Stage("crawl", [Step("length")])}, outputs={"all": Output(str(tmp_path / "out"), format="jsonl")}
    )
    small.run(pipe, tmp_path / "ws")
    first, second = json_lines(tmp_path / "out")
    assert first["text"] == "ä\n\u2028" and second["text"] == "𝄞"
    assert first["html"] == "/wA8cD4=" and second["html"] is None
    assert first["price"] == "1.50" and first["day"] == "2026-11-24" and first["time"] == "2026-11-24T06:05:04.123456+00:00"
    assert first["exact"] == "2025-11-24 16:00:00.123456789" and first["score"] is None and second["score"] == 1.5
    assert first["small"] == 0.5 and first["lang"] == {"code": "en", "raw": "eA=="} and first["tags"] == ["a", None]
    assert first["map"] == [["k", 1]] and first["big"] == 2**64 - 1 and first["span"] == "0:01:30"
    assert set(first) == set(second) == {*table.column_names, "source"}
    assert pl.read_ndjson(pa.input_stream(next((tmp_path / "out").glob("v-*/*")), compression="zstd").read()).height == 2
