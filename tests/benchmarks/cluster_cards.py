"""`python -m tests.benchmarks.cluster_cards [--write]`: what cards of clusters cost, and that their memory does not grow with the corpus.

Made documents of 100 words in two lines, drawn by Zipf's law of 60,000 words, with vectors of 384 dimensions in 220 clusters, 4,000 in a
shard. Each size is a process of its own that does everything, driver and tasks one after another: its peak RSS is that of Python, Arrow
and the largest task together.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import curate
from tests.benchmarks import readme

NAME = "cluster cards"
DIMENSIONS, CLUSTERS, WORDS, ROWS = 384, 220, 60_000, 4_000
SIZES = (8_000, 40_000, 200_000)
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "url": pa.string(),
        "cluster": pa.int32(),
        "distance": pa.float32(),
        "vector": pa.list_(pa.float32(), DIMENSIONS),
    }
)


def shard(number: int) -> pa.RecordBatch:
    """Return made documents."""
    random = np.random.default_rng(number)
    words = np.array([f"word{place:x}" for place in range(WORDS)])[np.minimum(random.zipf(1.3, (ROWS, 100)), WORDS) - 1]
    columns: list[Any] = [
        [f"{number}/{row}" for row in range(ROWS)],
        [f"{' '.join(row[:50])}\n{' '.join(row[50:])}" for row in words],
        [f"https://site{row % 977}.example/{number}/{row}" for row in range(ROWS)],
        random.integers(0, CLUSTERS, ROWS),
        random.random(ROWS),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=False)]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=ROWS * DIMENSIONS).astype(np.float32)), DIMENSIONS)
    return pa.RecordBatch.from_arrays([*arrays, vectors], schema=SCHEMA)


def measure(folder: Path) -> dict[str, float]:
    """Make the cards of a folder's documents in this process; return CPU seconds and the peak of resident memory in bytes."""
    places = {name: name for name in ("cluster", "distance", "vector")}
    stages = {"cards": curate.Stage("crawl", use="cluster_cards", params=places)}
    pipeline = curate.Pipeline(name="cards", inputs={"crawl": curate.Input(str(folder / "*.parquet"))}, stages=stages, shard_bytes=1)
    begun = time.process_time()
    curate.run_pipeline(pipeline, workspace=str(folder / "ws"), on="local", workers=1)
    return {"seconds": time.process_time() - begun, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def table() -> Iterator[str]:
    """Yield the table, a row for each size."""
    yield "| documents | shards | text | CPU time | documents/s | peak RSS |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="curate-benchmark-") as place:
            text = 0
            for number in range(size // ROWS):
                docs = shard(number)
                text += docs.column("text").nbytes
                pq.write_table(pa.Table.from_batches([docs]), Path(place, f"{number:04d}.parquet"))
            command = [sys.executable, "-m", "tests.benchmarks.cluster_cards", "--one", place]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        seconds, peak = found["seconds"], found["peak"]
        yield f"| {size:,} | {size // ROWS} | {text / 1e6:.0f} MB | {seconds:.1f} s | {size / seconds:,.0f} | {peak / 1e6:.0f} MB |"


def main() -> None:
    """Print the table, or write it into README.md; `--one` measures one folder for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one)))
        return
    text = "\n".join(table())
    print(text)
    if arguments.write:
        readme.write(NAME, text)


if __name__ == "__main__":
    main()
