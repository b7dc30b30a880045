"""`python -m tests.benchmarks.line_dedup`: lines and paragraphs that repeat: speed, memory, what goes, and how often a Bloom filter errs.

Real documents in several versions (`../shared/data/neardup_*`: manuals, licences) in their order, eight shards, one core; seconds are CPU
time of the whole stage, from Parquet to attributes, without `apply`. The filter's errors are what it takes for seen beyond the exact
run's n-grams; its decisions follow from them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from curate.dataset import Dataset
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.pipeline import Input, Pipeline, Stage
from curate.run import Run
from curate.storage import LocalStorage
from curate.writers import ParquetShard

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SETS = ("neardup_doc_versions", "neardup_kernel_docs", "neardup_licenses")
SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string()})
SHARDS = 8
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "line_dedup": ("line_dedup", {}),
    "line_dedup, paragraphs": ("line_dedup", {"unit": "paragraph"}),
    "line_dedup as CCNet": ("line_dedup", {"ignore": ["case", "spaces", "digits", "punctuation"]}),
    "paragraph_dedup": ("paragraph_dedup", {}),
    "paragraph_dedup, bloom 1 %": ("paragraph_dedup", {"index": "bloom", "bloom_bytes": 1 << 22}),
    "paragraph_dedup, bloom 0.01 %": ("paragraph_dedup", {"index": "bloom", "bloom_bytes": 1 << 22, "false_positive_rate": 1e-4}),
}


def read() -> list[dict[str, str]]:
    """Return the documents of all sets."""
    rows = []
    for name in SETS:
        with pa.input_stream(str(DATA / name / "docs.jsonl.zst"), compression="zstd") as stream:
            docs = [orjson.loads(line) for line in stream.read().splitlines()]
        rows += [{"id": f"{name}/{number}", "text": doc["text"]} for number, doc in enumerate(docs)]
    return rows


def write(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write documents as the files of an input."""
    folder.mkdir()
    for shard in range(SHARDS):
        with open(folder / f"{shard}.parquet", "wb") as out:
            file = ParquetShard(out, SCHEMA)
            file.write(pa.RecordBatch.from_pylist(rows[len(rows) * shard // SHARDS : len(rows) * (shard + 1) // SHARDS], SCHEMA))
            file.close()


def run(folder: Path, work: Path, use: str, params: dict[str, Any]) -> tuple[Dataset, float, int, int]:
    """Return the attributes, CPU seconds, peak bytes of memory beyond what there was, and the rounds that were needed."""
    stages = {"marks": Stage("docs", use=use, params=params)}
    plan = plan_for(Pipeline("bench", {"docs": Input(str(folder))}, stages, shard_bytes=1), None, LocalStorage(work))
    phases: set[str] = set()
    reset_peak_rss()
    before, begun = peak_rss_bytes(), time.process_time()
    with LocalExecutor(1) as executor:
        result = Run(plan, executor, "run", lambda event: phases.add(str(event.get("phase")))).execute()
    seconds = time.process_time() - begun
    if result.error is not None:
        raise result.error
    return plan.dataset("marks"), seconds, peak_rss_bytes() - before, sum(phase.startswith("settle") for phase in phases)


def told(dataset: Dataset) -> dict[str, Any]:
    """Return every document's row."""
    return {row["id"]: row for batch in dataset.batches() for row in batch.to_pylist()}


def removed_bytes(rows: list[dict[str, str]], marks: Mapping[str, Any]) -> int:
    """Return the bytes that go with lines and documents."""
    gone = 0
    for row in rows:
        mark, text = marks[row["id"]], row["text"]
        lines = text.split("\n") if mark["keep"] else []
        gone += sum(len(lines[number - 1].encode()) for number in mark["lines"]) if mark["keep"] else len(text.encode())
    return gone


def main() -> None:
    """Measure and print a table."""
    if absent := [name for name in SETS if not (DATA / name).is_dir()]:
        sys.exit(f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = read()
    size = sum(len(row["text"].encode()) for row in rows)
    print(f"{len(rows):,} documents, {size / 1e6:.1f} MB of text, {SHARDS} shards, one core\n")
    print(
        "| | MB/s/core | memory MB | rounds | documents that go | bytes that go | other decisions than exact |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "few"), rows[:: len(rows) // 40])
        write(Path(folder, "in"), rows)
        exact: dict[str, Any] = {}
        for number, (name, (use, params)) in enumerate(CASES.items()):
            run(Path(folder, "few"), Path(folder, f"warm{number}"), use, params)
            dataset, seconds, memory, rounds = run(Path(folder, "in"), Path(folder, f"ws{number}"), use, params)
            marks = told(dataset)
            exact = marks if name == "paragraph_dedup" else exact
            others = (
                sum(marks[i]["lines"] != exact[i]["lines"] or marks[i]["keep"] != exact[i]["keep"] for i in exact)
                if "bloom" in name
                else None
            )
            dropped = sum(not mark["keep"] for mark in marks.values())
            print(
                f"| {name} | {size / 1e6 / seconds:.0f} | {memory / 1e6:.0f} | {rounds or '–'} | {dropped / len(rows):.1%} |"
                f" {removed_bytes(rows, marks) / size:.1%} | {'–' if others is None else f'{others} documents'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
