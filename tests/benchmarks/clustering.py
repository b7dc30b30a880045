"""`python -m tests.benchmarks.clustering [--write]`: k-means of `cluster` beside FAISS and scikit-learn, its memory, and what clusters are.

Speed: 50,000 made vectors of 384 dimensions; all begin at the same centroids and do 20 iterations or end before; one thread, CPU time,
medians of rounds in turn. Memory: the operator over shards of 100,000 and 1,000,000 documents. Quality: real documents with labels,
embedded by MiniLM (`clustering_vectors.py`); purity and normalised mutual information with the labels, means over five seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import normalized_mutual_info_score

import curate
from curate_scorers.clustering import assign, train, unit
from curate_scorers.clustering_nearest import Vectors
from tests.benchmarks import readme
from tests.benchmarks.clustering_vectors import labelled, made

NAME = "clustering"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
VECTORS, DIMENSION, ITERATIONS, ROUNDS = 50_000, 384, 20, 3
SEEDS = range(5)
MB = 1 << 20


@dataclass(frozen=True)
class Run:
    """What one training took and gave."""

    seconds: float
    iterations: int
    centroids: Vectors


Method = Callable[[Vectors, Vectors, int], Run]


def timed(run: Callable[[], tuple[int, Any]]) -> Run:
    begun = time.process_time()
    iterations, centroids = run()
    return Run(time.process_time() - begun, iterations, unit(np.asarray(centroids)))


def ours(vectors: Vectors, begun: Vectors, iterations: int) -> Run:
    def run() -> tuple[int, Any]:
        trained = train(vectors, len(begun), iterations)
        return len(trained.objective), trained.centroids

    return timed(run)


def plain_faiss(vectors: Vectors, begun: Vectors, iterations: int) -> Run:
    def run() -> tuple[int, Any]:
        found = faiss.Kmeans(
            vectors.shape[1], len(begun), niter=iterations, spherical=True, min_points_per_centroid=1, max_points_per_centroid=len(vectors)
        )
        found.train(vectors, init_centroids=begun)
        return iterations, found.centroids

    return timed(run)


def plain_sklearn(vectors: Vectors, begun: Vectors, iterations: int) -> Run:
    def run() -> tuple[int, Any]:
        found = KMeans(len(begun), init=begun, n_init=1, max_iter=iterations, algorithm="lloyd", tol=0).fit(vectors)
        return found.n_iter_, found.cluster_centers_

    return timed(run)


def stepped_sklearn(vectors: Vectors, begun: Vectors, iterations: int) -> Run:
    def run() -> tuple[int, Any]:
        centroids = begun
        for _ in range(iterations):
            found = KMeans(len(begun), init=centroids, n_init=1, max_iter=1, algorithm="lloyd", tol=0).fit(vectors)
            centroids = unit(found.cluster_centers_)
        return iterations, centroids

    return timed(run)


def mini_batches(vectors: Vectors, begun: Vectors, iterations: int) -> Run:
    def run() -> tuple[int, Any]:
        found = MiniBatchKMeans(len(begun), init=begun, n_init=1, max_iter=iterations, batch_size=16_384, random_state=0).fit(vectors)
        return found.n_iter_, found.cluster_centers_

    return timed(run)


METHODS: dict[str, Method] = {
    "`clustering.train`": ours,
    "`faiss.Kmeans(spherical=True)`": plain_faiss,
    "`sklearn.cluster.KMeans`": plain_sklearn,
    "the same, centroids brought to length 1 after each iteration": stepped_sklearn,
    "`sklearn.cluster.MiniBatchKMeans`": mini_batches,
}


def speed() -> Iterator[str]:
    """Yield the tables of speed."""
    vectors = made(VECTORS)
    yield f"{VECTORS:,} × {DIMENSION} made vectors, one thread, median of {ROUNDS} rounds in turn, CPU time."
    yield from ("", "| k | | s | iterations | s for each | we are faster | mean cosine | one step differs by |")
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for k in (220, 1000):
        begun = train(vectors, k, 0).centroids
        step = {name: method(vectors, begun, 1).centroids for name, method in METHODS.items() if method is not mini_batches}
        runs: dict[str, list[Run]] = {name: [] for name in METHODS}
        for _ in range(ROUNDS):
            for name, method in METHODS.items():
                runs[name].append(method(vectors, begun, ITERATIONS))
        first, *_ = (statistics.median(run.seconds / run.iterations for run in found) for found in runs.values())
        for name, found in runs.items():
            seconds = statistics.median(run.seconds for run in found)
            each = statistics.median(run.seconds / run.iterations for run in found)
            cosine = assign(vectors, found[0].centroids, "cpu")[1].mean()
            off = f"{np.abs(step[name] - step[next(iter(METHODS))]).max():.0e}" if name in step else ""
            faster = f"{each / first:.2f} ×" if name != next(iter(METHODS)) else ""
            yield f"| {k} | {name} | {seconds:.2f} | {found[0].iterations} | {each:.3f} | {faster} | {cosine:.5f} | {off} |"


def memory(counts: tuple[int, ...] = (100_000, 1_000_000), k: int = 1000) -> Iterator[str]:
    """Yield the table of the operator's memory."""
    yield from ("", f"`cluster` with k = {k:,} over one shard of {DIMENSION} dimensions, one core:", "")
    yield "| documents | file | peak RSS of the task that assigns | CPU time | documents/s |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="curate-benchmark-") as folder:
            size = write(Path(folder, "vectors.parquet"), count)
            params = {"column": "vector", "k": k, "iterations": 2, "train_sample": 20_000, "device": "cpu"}
            stages = {"clusters": curate.Stage("crawl", use="cluster", params=params)}
            crawl = curate.Input(str(Path(folder, "*.parquet")))
            pipeline = curate.Pipeline(name="memory", inputs={"crawl": crawl}, stages=stages, shard_bytes=1 << 40)
            report = curate.run_pipeline(pipeline, workspace=str(Path(folder, "ws")), on="local", workers=2)
            [shard] = curate.load(next(stage["dataset"] for stage in report["stages"] if stage["name"] == "clusters")).manifest.shards
        peak, seconds = shard.measured.peak_rss_bytes / MB, shard.measured.cpu_seconds
        yield f"| {count:,} | {size / MB:,.0f} MB | {peak:,.0f} MB | {seconds:.1f} s | {count / seconds:,.0f} |"


def write(path: Path, count: int) -> int:
    """Write documents that have vectors, and return the size of the file."""
    schema = pa.schema({"id": pa.string(), "text": pa.large_string(), "vector": pa.list_(pa.float32(), DIMENSION)})
    with pq.ParquetWriter(path, schema) as out:
        for start in range(0, count, 20_000):
            vectors = made(20_000, seed=start)
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)
            ids = [f"d{number}" for number in range(start, start + 20_000)]
            out.write_batch(pa.RecordBatch.from_arrays([pa.array(ids), pa.array([""] * 20_000, pa.large_string()), column], schema=schema))
    return path.stat().st_size


def quality() -> Iterator[str]:
    """Yield the table of agreement with labels."""
    yield from ("", "| documents | labels | k | ours: purity | NMI | scikit-learn: purity | NMI | random: purity | NMI |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in labelled():
        kinds = len(set(one.labels))
        for k in (kinds, 4 * kinds):
            cells = []
            for method in (our_clusters, sklearn_clusters, random_clusters):
                found = [agreement(method(one.vectors, k, seed), one.labels) for seed in SEEDS]
                cells += [f"{statistics.mean(values):.3f}" for values in zip(*found, strict=True)]
            yield f"| {one.name}: {len(one.labels):,} | {kinds} | {k} | {' | '.join(cells)} |"


def our_clusters(vectors: Vectors, k: int, seed: int) -> Any:
    return assign(vectors, train(vectors, k, 100, seed, "cpu").centroids, "cpu")[0]


def sklearn_clusters(vectors: Vectors, k: int, seed: int) -> Any:
    return KMeans(k, init="random", n_init=1, random_state=seed).fit_predict(vectors)


def random_clusters(vectors: Vectors, k: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, k, len(vectors))


def agreement(clusters: Any, labels: list[str]) -> tuple[float, float]:
    """Return purity (the share of documents whose label is the most frequent of their cluster) and NMI."""
    codes = np.unique(np.array(labels), return_inverse=True)[1]
    table = np.zeros((int(clusters.max()) + 1, int(codes.max()) + 1), np.int64)
    np.add.at(table, (clusters, codes), 1)
    return float(table.max(axis=1).sum() / len(labels)), float(normalized_mutual_info_score(codes, clusters))


PARTS: dict[str, Callable[[], Iterator[str]]] = {"speed": speed, "memory": memory, "quality": quality}


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    parser.add_argument("--only", choices=list(PARTS), help="one part; never written")
    chosen = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in THREADS.items()):
        os.execve(sys.executable, [sys.executable, "-m", "tests.benchmarks.clustering", *sys.argv[1:]], os.environ | THREADS)
    warnings.simplefilter("ignore")  # of iterations that do not converge
    lines = []
    for name, part in PARTS.items():
        for line in part() if chosen.only in (None, name) else ():
            print(line, flush=True)
            lines.append(line)
    if chosen.write and chosen.only is None:
        readme.write(NAME, "\n".join(lines))


if __name__ == "__main__":
    main()
