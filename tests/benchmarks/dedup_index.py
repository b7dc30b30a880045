"""`python -m tests.benchmarks.dedup_index [--indexed N …] [--new N] [--workers N] [--write]`: a new dump against an index.

Makes a corpus (see `dedup_shapes.py`: every third document is a changed copy), of which the first documents are the dump before and
the last ones the new dump. Prints seconds, CPU time and memory of three jobs – the dump before with its index, the new dump against
that index, both at once – and what the index takes on disk. Ends with an error unless the marks of the new dump are the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.pipeline import Input, Pipeline, Stage
from curate.plan import Plan
from curate.run import Run
from curate.storage import LocalStorage
from curate.writers import ParquetShard
from tests.benchmarks import dedup_shapes, readme
from tests.benchmarks.dedup_scale import MB, MIB, table
from tests.benchmarks.task_costs import MeasuringExecutor, Took

PARAMS = {"bands": 14, "rows": 8}
MARKS = ["id", "keep", "kept_id", "similarity", "reason"]


@dataclass(frozen=True)
class Job:
    """How one job went; `seconds` and `took` are those of all stages but the reading of files."""

    plan: Plan
    seconds: float
    took: list[Took]

    @property
    def cpu_seconds(self) -> float:
        return sum(task.cpu_seconds for task in self.took)

    @property
    def peak(self) -> Took:
        return max(self.took, key=lambda task: task.peak_bytes)


def run(folder: Path, inputs: dict[str, Input], stages: dict[str, Stage], workers: int) -> Job:
    """Run a pipeline: first what reads files, which every job has in the same way, then the rest, measured."""
    plan = plan_for(Pipeline("dumps", inputs, stages, folder=folder), None, LocalStorage(folder / "workspace"))
    with MeasuringExecutor(LocalExecutor(workers)) as executor:
        for only in (["crawl"], None):
            executor.took, begun = [], time.perf_counter()
            result = Run(plan, executor, "run", lambda event: None).execute(only)
            if result.error is not None:
                raise result.error
    return Job(plan, time.perf_counter() - begun, executor.took)


def write(folder: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write documents as one Parquet file each 50,000 and return the bytes of text."""
    folder.mkdir(parents=True)
    size = 0
    for number, batch in enumerate(batches):
        size += pc.sum(pc.binary_length(batch.column("text"))).as_py()
        with open(folder / f"{number:05d}.parquet", "wb") as out:
            shard = ParquetShard(out, dedup_shapes.SCHEMA)
            shard.write(batch)
            shard.close()
    return size


def cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the next `rows` rows, a whole number of batches."""
    while rows > 0:
        batch = next(batches)
        rows -= batch.num_rows
        yield batch


def marks(dataset: Dataset) -> pa.Table:
    return pa.Table.from_batches(dataset.batches(MARKS)).select(MARKS)


def bytes_of(dataset: Dataset) -> int:
    return sum(shard.data.bytes for shard in dataset.manifest.shards)


def row(name: str, job: Job, size: int) -> list[str]:
    documents = job.plan.dataset("crawl").rows
    peak = f"{job.peak.peak_bytes / MIB:.0f} (`{job.peak.phase}`)"
    return [name, f"{documents:,}", f"{size / MB:,.0f}", f"{job.seconds:.1f}", f"{job.cpu_seconds:.1f}", peak]


def jobs(folder: Path, workers: int) -> tuple[Job, Job, Job]:
    """Return the dump before with its index, the new one against it, and both at once."""
    dedup = Stage("crawl", use="minhash_dedup", params=PARAMS)
    corpus = {"corpus": Stage(["crawl", "dedup"], apply=["dedup"])}
    old = {"dedup": dedup, "index": Stage(["crawl", "dedup"], use="minhash_index"), **corpus}
    before = run(folder, {"crawl": Input(str(folder / "crawl/0"))}, old, workers)
    new = {
        "dedup": Stage(["crawl", "last"], use="minhash_dedup", params=PARAMS),
        "index": Stage(["crawl", "dedup", "last"], use="minhash_index"),
        **corpus,
    }
    last = Input(artifact=before.plan.dataset("index").url)
    after = run(folder, {"crawl": Input(str(folder / "crawl/1")), "last": last}, new, workers)
    return before, after, run(folder, {"crawl": Input(str(folder / "crawl"))}, {"dedup": dedup, **corpus}, workers)


def compared(folder: Path, indexed: int, new: int, workers: int) -> str:
    """Make dumps, run the three jobs on them, and return what is to be told."""
    chunks = dedup_shapes.Corpus("copies", 0).chunks(indexed + new)
    sizes = [write(folder / f"crawl/{i}", cut(chunks, rows)) for i, rows in enumerate((indexed, new))]
    before, after, both = jobs(folder, workers)
    names = ["the dump before, with its index", "the new dump against the index, which grows", "both at once, without an index"]
    rows = zip(names, (before, after, both), (*sizes, sum(sizes)), strict=True)
    told = table(["job", "documents", "MB of text", "seconds", "CPU s", "largest task, MiB"], [row(*one) for one in rows])
    index = after.plan.dataset("index")
    told += (
        f"\n\nThe index of {index.rows:,} documents takes {bytes_of(index) / MB:.1f} MB, {bytes_of(index) / index.rows:.0f} bytes for each."
    )
    found, wanted = marks(after.plan.dataset("dedup")), marks(both.plan.dataset("dedup"))
    if not found.equals(wanted.slice(before.plan.dataset("crawl").rows)):
        raise SystemExit("the marks of the new dump are not those of both dumps at once")
    gone = found.num_rows - pc.sum(found.column("keep")).as_py()
    return f"{told} Of the new dump, {gone:,} documents go, the same ones as at once."


def main() -> None:
    """Measure, print, and on request write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--indexed", type=int, nargs="*", default=[200_000], help="documents of the dump before, multiples of 50,000")
    options.add_argument("--new", type=int, default=50_000, help="documents of the new dump, likewise")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--work", type=Path, help="a folder on a disk with room")
    options.add_argument("--write", action="store_true", help="put the tables into README.md")
    chosen = options.parse_args()
    tables = []
    for indexed in chosen.indexed:
        with tempfile.TemporaryDirectory(prefix="curate-index-", dir=chosen.work) as folder:
            tables.append(compared(Path(folder), indexed, chosen.new, chosen.workers))
        print(tables[-1], end="\n\n", flush=True)
    if chosen.write:
        readme.write("dump after dump", "\n\n".join(tables))


if __name__ == "__main__":
    main()
