"""`python -m tests.benchmarks.dedup [--docs N …] [--workers N]`: near-duplicates: our kernels, the error of estimates, the whole job.

Documents are copies of the sample crawl's pages with words changed, so that a share of them is alike; seconds are CPU time on one core
for the kernels and wall time for the job, from Parquet to a corpus without duplicates. Quality, and speed beside the peers:
`dedup_peers.py`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.pipeline import Input, Pipeline, Stage
from curate.run import Run
from curate.storage import LocalStorage
from curate.writers import ParquetShard
from tests.kernels.conftest import sample_texts

MB = 1_000_000
SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string()})
DOC_WORDS = 500
Cells = list[str]
Rows = list[dict[str, Any]]


def documents(count: int, seed: int = 1) -> Iterator[Rows]:
    """Yield documents in thousands: passages of real pages, every third one with up to a fifth of an earlier one's words changed."""
    draw = random.Random(seed)
    words = " ".join(text for text in sample_texts(per_file=1000, max_chars=200_000)).split()
    made: Rows = []
    recent: list[list[str]] = []
    for number in range(count):
        if number % 3 == 2:
            passage = list(draw.choice(recent))
            for _ in range(draw.randrange(DOC_WORDS // 25)):
                passage[draw.randrange(len(passage))] = f"x{draw.randrange(10**6)}"
        else:  # no two passages begin alike, and words are marked, so that only the copies are alike
            start, mark = draw.randrange(len(words) - DOC_WORDS), f"{number:x}"
            passage = [f"{word}{mark}" if k % 4 == 0 else word for k, word in enumerate(words[start : start + DOC_WORDS])]
            recent = [*recent[-999:], passage]
        made.append({"id": f"d{number}", "text": " ".join(passage)})
        if len(made) == 1000:
            yield made
            made = []
    yield made


def write(folder: Path, count: int, shards: int) -> int:
    """Write documents as Parquet shards and return the bytes of text."""
    total = 0
    parts = documents(count)
    for shard in range(shards):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{shard:05d}.parquet", "wb") as out:
            writer = ParquetShard(out, SCHEMA)
            for _ in range(-(-count // 1000 // shards) or 1):
                batch = pa.RecordBatch.from_pylist(next(parts, []), SCHEMA)
                total += batch.column("text").nbytes
                writer.write(batch)
            writer.close()
    return total


def dedup(folder: Path, params: dict[str, Any], workers: int) -> tuple[float, float, Any]:
    """Run the whole job on Parquet files and return its seconds, this process's CPU seconds and the marks."""
    stages = {"dedup": Stage("crawl", use="minhash_dedup", params=params), "corpus": Stage(["crawl", "dedup"], apply=["dedup"])}
    pipe = Pipeline("dedup", {"crawl": Input(str(folder / "*.parquet"))}, stages, folder=folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workspace, LocalExecutor(workers) as executor:
        plan = plan_for(pipe, None, LocalStorage(Path(workspace)))
        begun, cpu_begun = time.perf_counter(), time.process_time()
        result = Run(plan, executor, "run", lambda event: None).execute()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        if result.error is not None:
            raise result.error
        return seconds, cpu_seconds, pa.Table.from_batches(list(plan.dataset("dedup").batches()))


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the second call."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def kernel_rows(count: int) -> list[Cells]:
    """Measure every kernel of the job on one core."""
    texts = kernels.Texts.of(pa.array([doc["text"] for part in documents(count) for doc in part], pa.large_string()))
    size = int(texts.sizes.sum()) / MB
    found = kernels.shingles(texts)
    signed = kernels.signatures(found, 112)
    jobs: dict[str, Callable[[], object]] = {
        "text → 5-word shingles": lambda: kernels.shingles(texts),
        "shingles → 112 permutations": lambda: kernels.signatures(found, 112),
        "text → signatures of 112 → 14 buckets": lambda: kernels.buckets(kernels.signatures(kernels.shingles(texts), 112), 14, 8),
        "the same folded as FineWeb does": lambda: kernels.buckets(kernels.signatures(kernels.shingles(texts, fold=True), 112), 14, 8),
        "shingles → sorted sets": lambda: kernels.shingle_sets(found),
    }
    rows = [[name, f"{size / cpu(job):.0f} MB/s"] for name, job in jobs.items()]
    sets, pairs = kernels.shingle_sets(found), np.arange(len(signed) - 1)
    seconds = cpu(lambda: kernels.jaccard(sets, sets, pairs, pairs + 1))
    return [*rows, ["exact similarity of two documents of 500 words", f"{len(pairs) / seconds / 1e6:.2f} million/s"]]


def error_rows(pairs: int = 900) -> list[Cells]:
    """Measure the error of the estimate from 128 permutations beside theory, sqrt(J (1 − J) / 128)."""
    draw, rows = random.Random(1), []
    for size in (30, 200, 2000):
        for target in (0.3, 0.5, 0.8, 0.95):
            shared, texts = round(2 * size * target / (1 + target)), []
            for _ in range(pairs):
                words = [f"w{draw.getrandbits(40):x}" for _ in range(2 * size - shared)]
                texts += [" ".join(words[:size]), " ".join(words[size - shared :])]
            found = kernels.shingles(kernels.Texts.of(pa.array(texts)), 1)
            signed, sets = kernels.signatures(found, 128), kernels.shingle_sets(found)
            exact = kernels.jaccard(sets, sets, np.arange(0, len(texts), 2), np.arange(1, len(texts), 2))
            error = (signed[::2] == signed[1::2]).mean(1) - exact
            theory = float(np.sqrt(exact * (1 - exact) / 128).mean())
            rows.append([str(size), f"{exact.mean():.2f}", f"{(error**2).mean() ** 0.5:.4f}", f"{theory:.4f}", f"{error.mean():+.4f}"])
    return rows


def job_rows(work: Path, counts: list[int], workers: int) -> Iterator[Cells]:
    """Yield the speed of the whole job for growing corpora."""
    for count in counts:
        folder = work / f"docs{count}"
        size = write(folder, count, max(1, count // 50_000))
        reset_peak_rss()
        seconds, cpu_seconds, marks = dedup(folder, {"bands": 14, "rows": 8}, workers)
        gone = marks.num_rows - sum(marks.column("keep").to_pylist())
        peak = peak_rss_bytes() / MB if workers == 1 else float("nan")  # that of the worker processes is in the receipts
        per_core = size / MB / cpu_seconds if workers == 1 else float("nan")
        speeds = [f"{seconds:.1f}", f"{size / MB / seconds:.1f}", f"{per_core:.1f}", f"{peak:.0f}"]
        yield [f"{marks.num_rows:,}", f"{size / MB:.0f}", f"{gone:,}", *speeds]
        shutil.rmtree(folder)


def table(head: Cells, rows: list[Cells]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--docs", type=int, nargs="*", default=[10_000, 100_000])
    options.add_argument("--workers", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-dedup-") as folder:
        work = Path(folder)
        text = "\n\n".join(
            [
                table(["kernel, one core", "speed"], kernel_rows(5000)),
                table(["set size", "Jaccard", "RMSE", "theory", "bias"], error_rows()),
                table(
                    ["documents", "MB", "removed", "seconds", "MB/s", "MB/s of CPU time", "peak RSS, MB"],
                    [*job_rows(work, chosen.docs, chosen.workers)],
                ),
            ]
        )
    print(text)


if __name__ == "__main__":
    main()
