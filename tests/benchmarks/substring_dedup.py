"""`python -m tests.benchmarks.substring_dedup`: repeated spans: speed, memory, scratch, and what goes.

Real documents in several versions (`../shared/data/neardup_*`: manuals, licences) in their order, eight shards, one core; seconds are CPU
time of the whole stage, from Parquet to attributes, without `apply`. Two thirds of these words stand somewhere before: the worst that
can happen to it. `shuffled words` are the same documents with their words in random order, where nothing repeats: the best. Scratch is
what all phases leave until the stage is done, beside the text.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.pipeline import Input, Pipeline, Stage
from curate.run import Run
from curate.storage import LocalStorage
from tests.benchmarks.line_dedup import DATA, SETS, SHARDS, read, write

CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "50 words": ("in", {}),
    "50 words, all copies": ("in", {"first": "remove"}),
    "25 words": ("in", {"min_length": 25}),
    "200 bytes": ("in", {"unit": "bytes", "min_length": 200}),
    "50 words, shuffled words": ("mixed", {}),
}


def measured(folder: Path, work: Path, params: dict[str, Any]) -> tuple[Dataset, float, int, int]:
    """Return the attributes, CPU seconds, peak bytes of memory beyond what there was, and bytes of scratch before the marks are written."""
    stages = {"marks": Stage("docs", use="substring_dedup", params=params)}
    plan = plan_for(Pipeline("bench", {"docs": Input(str(folder))}, stages, shard_bytes=1), None, LocalStorage(work))
    scratch: list[int] = []

    def on_event(event: Mapping[str, Any]) -> None:
        if event.get("event") == "stage_started" and event.get("phase") == "write":
            scratch.append(sum(path.stat().st_size for path in work.glob("datasets/marks@*/.scratch/**/*") if path.is_file()))

    reset_peak_rss()
    before, begun = peak_rss_bytes(), time.process_time()
    with LocalExecutor(1) as executor:
        result = Run(plan, executor, "run", on_event).execute()
    seconds = time.process_time() - begun
    if result.error is not None:
        raise result.error
    return plan.dataset("marks"), seconds, peak_rss_bytes() - before, scratch[0]


def mixed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the documents with their words in random order."""
    dice = random.Random(5)
    found = []
    for row in rows:
        words = row["text"].split()
        dice.shuffle(words)
        found.append({"id": row["id"], "text": " ".join(words)})
    return found


def told(dataset: Dataset) -> tuple[int, int, int]:
    """Return the documents that go, the spans of all, and their bytes."""
    table = pa.Table.from_batches(list(dataset.batches()))
    starts, ends = (pc.list_flatten(table[name]) for name in ("starts", "ends"))
    return pc.sum(pc.invert(table["keep"])).as_py(), len(starts), pc.sum(pc.subtract(ends, starts)).as_py() or 0


def main() -> None:
    """Measure and print a table."""
    if absent := [name for name in SETS if not (DATA / name).is_dir()]:
        sys.exit(f"no {', '.join(absent)} in {DATA} (set CURATE_TEST_DATA)")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = read()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {}
        for kind, docs in (("few", rows[:: len(rows) // 40]), ("in", rows), ("mixed", mixed(rows))):
            write(folder / kind, docs)
            sizes[kind] = sum(len(doc["text"].encode()) for doc in docs)
        print(f"{len(rows):,} documents, {sizes['in'] / 1e6:.1f} MB of text, {SHARDS} shards, one core\n")
        print("| | MB/s/core | memory MB | scratch / text | documents that go | spans | bytes that go |\n|---|---|---|---|---|---|---|")
        for number, (label, (kind, params)) in enumerate(CASES.items()):
            measured(folder / "few", folder / f"warm{number}", params)
            work = folder / f"ws{number}"
            dataset, seconds, memory, scratch = measured(folder / kind, work, params)
            dropped, spans, gone = told(dataset)
            print(
                f"| {label} | {sizes[kind] / 1e6 / seconds:.0f} | {memory / 1e6:.0f} | {scratch / sizes[kind]:.2f} |"
                f" {dropped / len(rows):.1%} | {spans:,} | {gone / sizes[kind]:.1%} |",
                flush=True,
            )
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
