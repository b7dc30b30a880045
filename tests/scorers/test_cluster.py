"""`cluster` and `nearest_centroid`: what the core gives, for any layout of shards, with every document accounted for, and clear mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import xxhash

from curate.dataset import Dataset
from curate.errors import CurateError, DatasetError, OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.plan import Plan
from curate.testing import check_operator
from curate_scorers import clustering_nearest
from curate_scorers.cluster import Cluster
from curate_scorers.cluster_nearest import NearestCentroid
from curate_scorers.cluster_vectors import BrokenVector, vectors_of
from curate_scorers.clustering import assign, train, unit
from curate_scorers.clustering_merge import merged
from curate_scorers.clustering_nearest import Device, FaissSearch, on_gpu
from tests.contracts.duplicates import workplace
from tests.engine import small

DIMENSION = 12
SIZED = pa.list_(pa.float32(), DIMENSION)
Docs = list[dict[str, Any]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def schema(kind: pa.DataType = SIZED) -> pa.Schema:
    return pa.schema({"id": pa.string(), "text": pa.large_string(), "vector": kind})


def documents(count: int = 240, kinds: int = 6) -> Docs:
    """Return documents with vectors around six directions; a few have none, or one of zeros."""
    dice = np.random.default_rng(7)
    centres = dice.standard_normal((kinds, DIMENSION))
    rows = (centres[dice.integers(0, kinds, count)] + 0.4 * dice.standard_normal((count, DIMENSION))).astype(np.float32)
    docs: Docs = [{"id": f"d{number}", "text": "", "vector": row.tolist()} for number, row in enumerate(rows)]
    for number in range(0, count, 40):
        docs[number]["vector"] = None
    docs[5]["vector"] = [0.0] * DIMENSION
    return docs


DOCS = documents()
KNOWN = [doc for doc in DOCS if doc["vector"] is not None and any(doc["vector"])]


def matrix(docs: Docs) -> Any:
    return unit(np.array([doc["vector"] for doc in docs], np.float32))


def pipeline(folder: Path, docs: Docs, shards: int = 2, kind: pa.DataType = SIZED, **params: Any) -> Pipeline:
    path = small.write_shards(folder / f"crawl-{shards}", docs, shards, schema(kind))
    stages = {"clusters": Stage("crawl", use="cluster", params={"column": "vector", "k": 6} | params)}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def clustered(folder: Path, docs: Docs = DOCS, shards: int = 2, workers: int = 1, **params: Any) -> Dataset:
    pipe = pipeline(folder, docs, shards, **params)
    return small.run(pipe, folder / f"ws-{shards}", workers)[0].dataset("clusters")


def described(made: Dataset) -> dict[str, Any]:
    return orjson.loads(Path(made.url, "clusters.json").read_bytes())


def files(made: Dataset) -> dict[str, str]:
    return {file.name: file.sha256 for file in made.manifest.files}


@pytest.fixture(scope="module")
def made() -> Iterator[Dataset]:
    with workplace() as place:
        yield clustered(place, merge={"count": 2})


def test_clusters_are_those_of_the_core(made: Dataset) -> None:
    centroids = np.load(Path(made.url, "centroids.npy"))
    assert centroids.shape == (6, DIMENSION) and centroids.dtype == np.float32
    rows = {row["id"]: row for row in small.rows(made)}
    assert list(rows) == [doc["id"] for doc in DOCS]
    clusters, cosines = assign(matrix(KNOWN), centroids)
    groups = merged(centroids, {"count": 2})
    for doc, cluster, cosine in zip(KNOWN, clusters.tolist(), cosines.tolist(), strict=True):
        assert rows.pop(doc["id"]) == {
            "id": doc["id"],
            "cluster": cluster,
            "distance": float(np.float32(1 - cosine)),
            "group": groups[cluster],
        }
    assert len(rows) == 7 and all(row["cluster"] is row["distance"] is row["group"] is None for row in rows.values())
    assert made.schema.types == [pa.string(), pa.int32(), pa.float32(), pa.int32()]
    assert np.array_equal(centroids, train(matrix(_drawn(KNOWN)), 6, 20).centroids)


def _drawn(docs: Docs, seed: int = 0) -> Docs:
    """Return documents in the order in which they are trained on."""
    return sorted(docs, key=lambda doc: xxhash.xxh3_64_intdigest(f"{seed}:{doc['id']}".encode()))


def test_the_description_fits_the_rows(made: Dataset) -> None:
    rows, told = [row for row in small.rows(made) if row["cluster"] is not None], described(made)
    sizes = Counter(row["cluster"] for row in rows)
    assert told["clusters"]["documents"] == [sizes[cluster] for cluster in range(6)]
    for cluster, mean in enumerate(told["clusters"]["mean_distance"]):
        assert mean == pytest.approx(np.mean([row["distance"] for row in rows if row["cluster"] == cluster]), abs=1e-8)
    assert told["clusters"]["group"] == [next(row["group"] for row in rows if row["cluster"] == cluster) for cluster in range(6)]
    assert told["mean_distance"] == pytest.approx(np.mean([row["distance"] for row in rows]), abs=1e-8)
    wanted = {"format": 1, "column": "vector", "k": 6, "dimension": DIMENSION, "seed": 0, "sample": 233, "documents": 233}
    wanted |= {"without_vector": 6, "without_direction": 1, "merge": {"count": 2}, "groups": 2, "converged": True}
    assert {name: told[name] for name in wanted} == wanted
    assert told["iterations"] == len(told["objective"]) and 1 - told["mean_distance"] == pytest.approx(told["objective"][-1], abs=1e-6)
    [note] = made.manifest.notes
    assert note["passed"] and note["message"].startswith("233 documents in 6 clusters") and "7 without a vector" in note["message"]
    largest = sorted(told["clusters"]["documents"], reverse=True)
    assert note["curve"]["lines"]["documents"] == [[n, pytest.approx(sum(largest[:n]) / 233)] for n in range(7)]
    assert next(iter(note["measures"].values()))["documents"] == largest[0]
    assert made.manifest.about == {"operator": "cluster"} | {
        key: value for key, value in told.items() if key not in ("objective", "clusters")
    }


@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (7, 2)])
def test_the_layout_does_not_matter(made: Dataset, folder: Path, shards: int, workers: int) -> None:
    again = clustered(folder, shards=shards, workers=workers, merge={"count": 2})
    assert small.rows(again) == small.rows(made) and files(again) == files(made)
    assert again.manifest.about == made.manifest.about and again.manifest.notes == made.manifest.notes


def test_a_sample_is_drawn_by_hash(folder: Path) -> None:
    one = clustered(folder, shards=3, train_sample=50, seed=3)
    two = clustered(folder, shards=5, workers=2, train_sample=50, seed=3)
    assert files(one) == files(two) and described(one)["sample"] == 50 and described(one)["documents"] == 233
    wanted = train(matrix(_drawn(KNOWN, 3)[:50]), 6, 20, 3)
    assert np.array_equal(np.load(Path(one.url, "centroids.npy")), wanted.centroids)
    assert described(one)["objective"] == wanted.objective
    assert files(clustered(folder, shards=4, train_sample=50, seed=4)) != files(one)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float16(), DIMENSION), pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), DIMENSION)],
    ids=str,
)
def test_every_kind_of_list(folder: Path, kind: pa.DataType, made: Dataset) -> None:
    rows, wanted = small.rows(clustered(folder, kind=kind)), small.rows(made)
    same = [row["cluster"] == other["cluster"] for row, other in zip(rows, wanted, strict=True)]
    assert all(same) if kind.value_type != pa.float16() else np.mean(same) > 0.99
    assert set(rows[0]) == {"id", "cluster", "distance"}


def attributes(folder: Path, stages: Mapping[str, Stage]) -> Plan:
    """Run stages over documents whose vectors are attributes beside them."""
    path = small.write_shards(folder / "crawl", DOCS, 3, schema())
    vectors = Stage("crawl", operators=(Step("../scorers/vectors.py:Vector", into="embedding"),))
    return small.run(
        small.pipeline(path, {"vectors": vectors, **stages}, inputs={"crawl": Input(str(path))}, shard_bytes=1), folder / "ws"
    )[0]


def test_vectors_beside_documents_and_centroids_for_later_ones(folder: Path, made: Dataset) -> None:
    clusters = Stage(["crawl", "vectors"], use="cluster", params={"column": "vectors.embedding.vector", "k": 6, "merge": {"count": 2}})
    nearest = Step("nearest_centroid", into="kind", params={"column": "vectors.embedding.vector", "centroids": "stage:clusters"})
    plan = attributes(folder, {"clusters": clusters, "kinds": Stage(["crawl", "vectors"], operators=(nearest,))})
    assert small.rows(plan.dataset("clusters")) == small.rows(made)
    for row, kind in zip(small.rows(made), small.rows(plan.dataset("kinds")), strict=True):
        assert kind == {"id": row.pop("id"), "kind": row if row["cluster"] is not None else None}


def test_a_file_of_centroids(folder: Path, made: Dataset) -> None:
    batch = pa.RecordBatch.from_pylist(DOCS, schema())
    for place in (made.url, f"{made.url}/centroids.npy"):
        found = NearestCentroid("vector", place).score(batch)
        assert [kind["cluster"] if kind else None for kind in found.to_pylist()] == [row["cluster"] for row in small.rows(made)]
    assert {kind["group"] for kind in found.to_pylist() if kind} == {None}
    check_operator(NearestCentroid("vector", made.url), batch.slice(0, 50))
    scaled = folder / "other.npy"
    np.save(scaled, 3 * np.load(f"{made.url}/centroids.npy").astype(np.float64))
    assert NearestCentroid("vector", str(scaled)).score(batch).equals(found)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (b"none", "not a NumPy file of numbers"),
        (np.array([{}]), "pickled objects are never read"),
        (np.zeros(3), "no matrix of floats"),
        (np.zeros((2, 0)), "no matrix of floats"),
        (np.ones((2, 3), np.int64), "no matrix of floats"),
        (np.array([[1.0, 0], [0, 0]]), "a centroid has no direction"),
        (np.array([[1.0, np.nan]]), "a centroid has no direction"),
    ],
)
def test_files_that_are_no_centroids(folder: Path, found: Any, message: str) -> None:
    path = folder / "centroids.npy"
    if isinstance(found, bytes):
        path.write_bytes(found)
    else:
        np.save(path, found)
    with pytest.raises(DatasetError, match=message) as told:
        NearestCentroid("vector", str(path)).score(pa.RecordBatch.from_pylist(DOCS, schema()))
    assert told.value.hint


def test_a_broken_vector_costs_its_document(folder: Path, made: Dataset) -> None:
    docs = [
        doc | ({"vector": [np.nan] * DIMENSION} if doc["id"] == "d3" else {"vector": [1.0]} if doc["id"] == "d9" else {}) for doc in DOCS
    ]
    path = small.write_shards(folder / "crawl", docs, 1, schema(pa.list_(pa.float32())))
    step = Step("nearest_centroid", into="kind", params={"column": "vector", "centroids": made.url})
    pipe = small.pipeline(
        path, {"kinds": Stage("crawl", operators=(step,), emits="documents", max_errors=2)}, inputs={"crawl": Input(str(path))}
    )
    kinds = small.run(pipe, folder / "ws")[0].dataset("kinds")
    assert {row["id"] for row in small.ledger(kinds, "errors")} == {"d3", "d9"} and kinds.rows == len(DOCS) - 2


ODD = [doc | ({"vector": doc["vector"][:5]} if doc["id"] == "d100" else {}) for doc in DOCS]
LATE = [doc | ({"vector": [1.0] * 5} if number >= 120 else {}) for number, doc in enumerate(DOCS)]
NAN = [doc | ({"vector": [0.0] * 11 + [np.nan]} if doc["id"] == "d100" else {}) for doc in DOCS]
GAP = [doc | ({"vector": [0.0] * 11 + [None]} if doc["id"] == "d100" else {}) for doc in DOCS]
ANY = pa.list_(pa.float32())


@pytest.mark.parametrize(
    ("docs", "kind", "params", "message"),
    [
        (ODD, ANY, {}, "the vector of document `d100` is of 5 numbers, not 12"),
        (LATE, ANY, {}, "vectors are of different lengths: `d1` has 12 numbers, `d120` has 5 numbers"),
        (NAN, SIZED, {}, "the vector of document `d100` has a number that is not finite"),
        (GAP, ANY, {}, "the vector of document `d100` has a number that is not finite"),
        (DOCS, SIZED, {"k": 234}, "234 clusters of 233 documents with a vector"),
        ([doc | {"vector": None} for doc in DOCS], SIZED, {"k": 1}, "1 cluster of 0 documents with a vector"),
        (DOCS[:0], SIZED, {"k": 1}, "1 cluster of 0 documents with a vector"),
    ],
    ids=["mixed", "mixed shards", "nan", "null", "k", "no vectors", "no documents"],
)
def test_vectors_that_cannot_be_clustered(folder: Path, docs: Docs, kind: pa.DataType, params: Mapping[str, Any], message: str) -> None:
    with pytest.raises(OperatorError, match=message) as told:
        clustered(folder, docs, kind=kind, **params)
    assert told.value.hint


@pytest.mark.parametrize(
    ("docs", "hint"),
    [
        (DOCS, "lower `k`, or give more documents; 6 more have none in `vector`, 1 nothing but zeros"),
        (KNOWN, "lower `k`, or give more documents"),
    ],
)
def test_too_many_clusters_are_told_with_what_is_missing(folder: Path, docs: Docs, hint: str) -> None:
    with pytest.raises(OperatorError) as told:
        clustered(folder, docs, k=240)
    assert told.value.hint == hint


def test_as_many_clusters_as_vectors(folder: Path) -> None:
    made = clustered(folder, k=233, merge={"distance": 0.5})
    assert sorted(described(made)["clusters"]["documents"]) == [1] * 233 and described(made)["mean_distance"] < 1e-7
    assert 6 <= described(made)["groups"] < 100


def test_empty_clusters_are_a_warning(folder: Path) -> None:
    copies = [doc | {"vector": DOCS[number % 3 + 1]["vector"]} for number, doc in enumerate(DOCS)]
    [note] = clustered(folder, copies).manifest.notes
    assert not note["passed"] and "3 clusters without a document" in note["message"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"k": 0}, "`k` is 0, not 1 or more"),
        ({"iterations": 0}, "`iterations` is 0"),
        ({"train_sample": 5}, "`train_sample` is 5, less than the 6 clusters"),
        ({"merge": {"count": 7}}, "`merge` makes 7 groups of 6 clusters"),
        ({"merge": {"count": 1.5}}, "`merge` makes 1.5 groups"),
        ({"merge": {"distance": -1}}, "has the distance -1"),
        ({"merge": {"distance": float("nan")}}, "has the distance nan"),
        ({"merge": {"groups": 3}}, "`merge` has `groups`, not `count` or `distance`"),
        ({"merge": {"count": 2, "distance": 1}}, "`merge` has `count`, `distance`"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Cluster(**({"column": "vector", "k": 6} | params))


@pytest.mark.parametrize("operator", [Cluster("vector", 2), NearestCentroid("vector", "x.npy")])
@pytest.mark.parametrize(
    ("kind", "hint"), [(pa.string(), "name a column"), (pa.list_(pa.int64()), "name a column"), (pa.struct({"a": SIZED}), "vector.a")]
)
def test_columns_that_hold_no_vectors(operator: Cluster | NearestCentroid, kind: pa.DataType, hint: str) -> None:
    with pytest.raises(PipelineError, match="not a vector") as told:
        operator.verify(schema(kind))
    assert hint in str(told.value.hint)
    operator.verify(schema())
    with pytest.raises(OperatorError, match="a vector is a list of float"):
        vectors_of(pa.array(["a"]), pa.nulls(1, kind))


def test_a_missing_column_is_told_before_anything_runs(folder: Path) -> None:
    small.write_shards(folder / "in", DOCS, 1, schema())
    stages = {"text": Stage("crawl", operators=(Step("length"),)), "c": Stage("text", use="cluster", params={"column": "vectors", "k": 2})}
    with pytest.raises(PipelineError, match="reads the column `vectors`, which is not there"):
        small.plan(small.pipeline(folder / "in", stages), folder / "ws")


@pytest.mark.parametrize(
    ("centroids", "message"),
    [("nowhere.npy", "no such file"), ("odd.npy", "not a NumPy file of numbers"), ("empty", "no such file: .*empty/centroids.npy")],
)
def test_centroids_that_are_not_there_are_told_before_anything_runs(folder: Path, centroids: str, message: str) -> None:
    path = small.write_shards(folder / "in", DOCS, 1, schema())
    (folder / "odd.npy").write_bytes(b"odd")
    (folder / "empty").mkdir()
    step = Step("nearest_centroid", into="kind", params={"column": "vector", "centroids": str(folder / centroids)})
    with pytest.raises(PipelineError, match=message):
        small.plan(small.pipeline(path, {"kinds": Stage("crawl", operators=(step,))}), folder / "ws")


def test_centroids_of_another_length_are_told_before_anything_runs(folder: Path) -> None:
    for width in (5, DIMENSION):
        np.save(folder / f"{width}.npy", np.ones((3, width), np.float32))
        operator = NearestCentroid("vector", str(folder / f"{width}.npy"))
        operator.verify_file("centroids", folder / f"{width}.npy")
        operator.verify(schema(ANY))  # says nothing of its lengths
        if width == DIMENSION:
            operator.verify(schema())
        else:
            with pytest.raises(PipelineError, match="the centroids have 5 dimensions, and vectors in `vector` have 12"):
                operator.verify(schema())


@pytest.fixture
def faiss_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where there is no GPU, FAISS says that there is one, and leaves the index that goes to it where it is."""
    faiss = pytest.importorskip("faiss")
    if not on_gpu("auto"):
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda memory, device, index: index, raising=False)
    clustering_nearest._gpu_memory.cache_clear()
    yield
    clustering_nearest._gpu_memory.cache_clear()


@pytest.mark.usefixtures("faiss_gpu")
def test_whole_stages_on_faiss_make_the_same_bytes(made: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    search = FaissSearch.best_two
    monkeypatch.setattr(FaissSearch, "best_two", lambda self, vectors: searched.append(len(vectors)) or search(self, vectors))
    other = clustered(folder, merge={"count": 2}, device="gpu")
    assert files(other) == files(made) and small.rows(other) == small.rows(made)
    assert searched.count(len(KNOWN)) > 1 and sum(searched) > len(KNOWN) * described(other)["iterations"]  # training, then the shards
    searched.clear()
    batch = pa.RecordBatch.from_pylist(DOCS, schema())
    devices: tuple[Device, ...] = ("gpu", "cpu")
    found = [NearestCentroid("vector", made.url, device).score(batch) for device in devices]
    assert found[0].equals(found[1]) and searched == [len(KNOWN)]


@pytest.mark.skipif(on_gpu("auto"), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_vectors_are_read(folder: Path) -> None:
    with pytest.raises(OperatorError, match="`device: gpu`: ") as told:
        clustered(folder, NAN, device="gpu")
    assert told.value.hint and "gpu" in told.value.hint


@pytest.mark.parametrize("dimension", [None, 2])
def test_vectors_of_a_batch(dimension: int | None) -> None:
    column = pa.array([None, [3, 4], [0, 0], None, [0, -2]], pa.list_(pa.float64()))
    found = vectors_of(pa.array(list("abcde")), column, dimension)
    assert (
        found.vectors == pytest.approx(np.array([[0.6, 0.8], [0, -1]]))
        and found.rows.tolist() == [1, 4]
        and (found.empty, found.zero) == (2, 1)
    )
    none = vectors_of(pa.array(list("abc")), pa.nulls(3, column.type), dimension)
    assert len(none.vectors) == 0 and none.empty == 3
    with pytest.raises(BrokenVector, match="document `e` is of 2 numbers, not 3; embed all documents"):
        vectors_of(pa.array(list("e")), column.slice(4), 3)


def test_a_damaged_file_of_centroids(folder: Path) -> None:
    made = clustered(folder)
    with open(f"{made.url}/centroids.npy", "r+b") as file:
        file.seek(200)
        file.write(b"odd")
    with pytest.raises(CurateError, match="damaged"):
        NearestCentroid("vector", made.url).score(pa.RecordBatch.from_pylist(DOCS, schema()))


def test_nothing_depends_on_what_the_battery_looks_for() -> None:
    operators: Sequence[Any] = (Cluster("vector", 6, merge={"count": 2}), Cluster("a.b", 3, train_sample=9))
    for operator in operators:
        check_operator(operator)
