"""Makes files of a wanted size from the real pages of the sample crawl: same words, other order, so that they compress like text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import curate
from curate.pipeline import Input, Pipeline, Stage, Step

SAMPLE = Path(__file__).parents[2] / "pipelines" / "sample"
DOCS_PER_GROUP = 4096


def sample_texts(workspace: Path) -> list[str]:
    """Return the texts of the sample crawl's English pages."""
    pipeline = Pipeline("texts", {"crawl": Input(str(SAMPLE / "*_en*.warc.gz"))}, {"text": Stage("crawl", [Step("extract_html"), Step("normalize")])})
    report = curate.run_pipeline(pipeline, workspace=str(workspace), on="local", workers=1)
    dataset = curate.load(report["stages"][0]["dataset"])
    return [text for batch in dataset.batches(["text"]) for text in batch.column("text").to_pylist() if text]


def groups(texts: list[str], seed: int) -> Iterator[pa.Table]:
    """Yield tables of documents without end: runs of the sample's lines, cut and joined at random."""
    lines = [line for text in texts for line in text.split("\n") if line]
    dice = np.random.default_rng(seed)
    number = 0
    while True:
        starts = dice.integers(0, len(lines) - 40, size=(DOCS_PER_GROUP, 6))
        lengths = dice.integers(1, 8, size=(DOCS_PER_GROUP, 6))
        docs = [
            "\n".join(line for s, n in zip(row_starts, row_lengths, strict=True) for line in lines[s : s + n])
            for row_starts, row_lengths in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]
        ids = [f"doc-{seed}-{number + i}" for i in range(len(docs))]
        number += len(docs)
        yield pa.table({"id": ids, "text": pa.array(docs, pa.large_string())})


def write_parquet(path: Path, texts: list[str], size: int, seed: int = 0) -> None:
    """Write one Parquet file of at least `size` bytes, in row groups of 4,096 documents."""
    made = groups(texts, seed)
    first = next(made)
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=3) as writer:
        table = first
        while True:
            writer.write_table(table)
            if path.stat().st_size >= size:
                return
            table = next(made)


def write_jsonl(path: Path, texts: list[str], size: int, seed: int = 0) -> None:
    """Write one JSONL file of at least `size` bytes."""
    with open(path, "wb") as out:
        for table in groups(texts, seed):
            for row in table.to_pylist():
                out.write(orjson.dumps(row) + b"\n")
            if out.tell() >= size:
                return
