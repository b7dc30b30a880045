"""Makes files of a wanted size: words of the sample crawl drawn by their frequency, documents as long as its pages.

Such text compresses about as well as real text of the same vocabulary does (zstd: 2.5 to 3 times).
"""

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
WORDS_PER_LINE = 12


def sample_texts(workspace: Path) -> list[str]:
    """Return the texts of the sample crawl's English pages."""
    pipeline = Pipeline(
        "texts", {"crawl": Input(str(SAMPLE / "*_en*.warc.gz"))}, {"text": Stage("crawl", [Step("extract_html"), Step("normalize")])}
    )
    report = curate.run_pipeline(pipeline, workspace=str(workspace), on="local", workers=1)
    dataset = curate.load(report["stages"][0]["dataset"])
    return [text for batch in dataset.batches(["text"]) for text in batch.column("text").to_pylist() if text]


def groups(texts: list[str], seed: int) -> Iterator[pa.Table]:
    """Yield tables of documents without end."""
    words = np.array([word for text in texts for word in text.split()], dtype=object)
    lengths = np.array([len(text.split()) for text in texts])
    dice = np.random.default_rng(seed)
    number = 0
    while True:
        sizes = dice.choice(lengths, DOCS_PER_GROUP)
        ends = np.cumsum(sizes)
        drawn = words[dice.integers(0, len(words), ends[-1])].tolist()
        docs = [_lines(drawn[end - size : end]) for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)]
        ids = [f"doc-{seed}-{number + i}" for i in range(len(docs))]
        number += len(docs)
        yield pa.table({"id": ids, "text": pa.array(docs, pa.large_string())})


def _lines(words: list[str]) -> str:
    return "\n".join(" ".join(words[i : i + WORDS_PER_LINE]) for i in range(0, len(words), WORDS_PER_LINE))


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
