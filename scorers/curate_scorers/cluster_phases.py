"""The phases of `cluster`.

    count     per shard: its vectors are counted, and every one is looked at, so that a broken one is told before anything is trained
    sample    per shard: the vectors whose hash of the id is low enough go on
    train     one task: the vectors of the lowest hashes, in their order; centroids and groups
    (write)   per shard: the nearest centroid of each document
    sizes     per shard: how many documents each cluster has there, and how far they are from the centroid
    describe  one task: all of them together, and the file that tells it

`train` holds the sample, 4 bytes per document and dimension, and with it the largest part of it that comes from one shard, which is what
`sample` holds; the others hold a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import read_shard
from curate.document import ID
from curate.errors import OperatorError
from curate.hashing import hash64
from curate.work import Place
from curate_scorers.cluster_vectors import BrokenVector, Found, Item, read, vectors_of
from curate_scorers.clustering import assign, train
from curate_scorers.clustering_merge import merged
from curate_scorers.clustering_nearest import Vectors, on_gpu, search_on

FORMAT = 1
CENTROIDS, DESCRIPTION = "centroids.npy", "clusters.json"
UNIT = 2.0**30  # of a distance, when many are added up as whole numbers: no layout of shards changes a sum
SIZES = pa.schema({"cluster": pa.int32(), "documents": pa.int64(), "distance": pa.int64()})


def count_shard(item: Item, place: Place) -> Item:
    """Count a shard's vectors."""
    on_gpu(item["device"])  # an error now, not when all vectors are read
    counts = {"vectors": 0, "empty": 0, "zero": 0}
    dimension, example = None, None
    for ids, found in _vectors(item, place):
        for name, count in (("vectors", len(found.vectors)), ("empty", found.empty), ("zero", found.zero)):
            counts[name] += count
        if len(found.vectors) and dimension is None:
            dimension, example = found.vectors.shape[1], ids[int(found.rows[0])].as_py()
    return counts | {"dimension": dimension, "example": example}


def _vectors(item: Item, place: Place) -> Iterator[tuple[pa.Array, Found]]:
    """Yield ids and vectors of a shard; a broken one is an `OperatorError`."""
    dimension = item.get("dimension")
    for ids, column in read(item, place):
        try:
            found = vectors_of(ids, column, dimension)
        except BrokenVector as error:
            raise OperatorError(f"cluster: {error.message}", error.hint) from error
        dimension = found.vectors.shape[1] if len(found.vectors) else dimension
        yield ids, found


def sample_shard(item: Item, place: Place) -> str:
    """Keep the vectors whose order is below a bound, with it."""
    kind = pa.list_(pa.float32(), item["dimension"])
    schema = pa.schema({"order": pa.uint64(), ID: pa.string(), "vector": kind})
    tables = [schema.empty_table()]
    for ids, found in _vectors(item, place):
        names = ids.cast(pa.string()).take(pa.array(found.rows))
        order = hash64(pc.binary_join_element_wise(str(item["seed"]), names, ":"))
        chosen = np.flatnonzero(order <= np.uint64(item["bound"]))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(found.vectors[chosen].reshape(-1)), type=kind)
        tables.append(pa.table([order[chosen], names.take(pa.array(chosen)), vectors], schema=schema))
    return place.write_table("sample", pa.concat_tables(tables))


def train_sample(item: Item, place: Place) -> Item:
    """Train centroids on the sample, and merge them."""
    vectors = _sample(item, place)
    trained = train(vectors, item["k"], item["iterations"], item["seed"], item["device"])
    groups = merged(trained.centroids, item["merge"]) if item["merge"] else None
    vector = pa.list_(pa.float32(), item["dimension"])
    rows = pa.FixedSizeListArray.from_arrays(pa.array(trained.centroids.reshape(-1)), type=vector)
    table = pa.table({"centroid": rows} | ({"group": pa.array(groups)} if groups is not None else {}))
    path = f"{place.prefix}.{CENTROIDS}"
    with place.storage.open_output(path) as out:
        np.lib.format.write_array(out, trained.centroids, allow_pickle=False)
    told = {"objective": trained.objective, "converged": trained.converged, "splits": trained.splits, "sample": len(vectors)}
    told["groups"] = groups.tolist() if groups is not None else None
    return told | {"table": place.write_table("centroids", table), "file": path}


def _sample(item: Item, place: Place) -> Vectors:
    """Return the vectors of the lowest hashes in their order; one shard's are read at a time."""
    keys = [place.read_table(path).select(["order", ID]) for path in item["samples"]]
    order = pc.sort_indices(pa.concat_tables(keys), [("order", "ascending"), (ID, "ascending")]).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    vectors = np.empty((min(item["wanted"], len(order)), item["dimension"]), np.float32)
    begun = 0
    for path, own in zip(item["samples"], keys, strict=True):
        to = rank[begun : begun + own.num_rows]
        used = to < len(vectors)
        vectors[to[used]] = _matrix(place.read_table(path).column("vector"))[used]
        begun += own.num_rows
    return vectors


def _matrix(column: pa.ChunkedArray) -> Vectors:
    """Return a column of vectors of one size as rows."""
    whole = column.combine_chunks()
    return np.asarray(whole.flatten().to_numpy(), np.float32).reshape(len(whole), whole.type.list_size)


def assign_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield cluster and distance of each document of a shard, and its group."""
    table = place.read_table(item["centroids"])
    centroids = _matrix(table.column("centroid"))
    search = search_on(centroids, item["device"])
    for ids, found in _vectors(item, place):
        clusters, cosines = assign(found.vectors, centroids, search)
        values = {"cluster": clusters, "distance": (1 - cosines).astype(np.float32)}
        if "group" in table.column_names:
            values["group"] = table.column("group").to_numpy()[clusters]
        spread = [_spread(value, found.rows, len(ids)) for value in values.values()]
        yield pa.RecordBatch.from_arrays([ids, *spread], [ID, *values])


def _spread(values: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], count: int) -> pa.Array:
    """Return values at their rows, null elsewhere."""
    whole, none = np.zeros(count, values.dtype), np.ones(count, bool)
    whole[rows], none[rows] = values, False
    return pa.array(whole, mask=none)


def size_shard(item: Item, place: Place) -> str:
    """Keep how many documents of a shard each cluster has, and the sum of their distances."""
    tables = [SIZES.empty_table()]
    for rows in read_shard(place.storage, item["shard"], ["cluster", "distance"]):
        distance = np.rint(rows.column("distance").drop_null().to_numpy().astype(np.float64) * UNIT).astype(np.int64)
        own = rows.column("cluster").drop_null()
        tables.append(_added(pa.table([own, np.ones(len(own), np.int64), distance], schema=SIZES)))
    return place.write_table("sizes", _added(pa.concat_tables(tables)))


def _added(table: pa.Table) -> pa.Table:
    sums = table.group_by("cluster", use_threads=False).aggregate([("documents", "sum"), ("distance", "sum")])
    return pa.table([sums.column(name) for name in ("cluster", "documents_sum", "distance_sum")], schema=SIZES).sort_by("cluster")


def describe(item: Item, place: Place) -> Item:
    """Write what the clusters are as JSON; return it with the path."""
    whole = SIZES.empty_table()
    for path in item["sizes"]:
        whole = _added(pa.concat_tables([whole, place.read_table(path)]))
    documents, distance = np.zeros((2, item["told"]["k"]), np.int64)
    own = whole.column("cluster").to_numpy()
    documents[own], distance[own] = whole.column("documents").to_numpy(), whole.column("distance").to_numpy()
    mean = [int(far) / UNIT / int(count) if count else None for far, count in zip(distance, documents, strict=True)]
    clusters = {"documents": documents.tolist(), "mean_distance": mean} | ({"group": item["groups"]} if item["groups"] is not None else {})
    told = {"format": FORMAT, **item["told"], "mean_distance": int(distance.sum()) / UNIT / max(1, int(documents.sum()))}
    path = f"{place.prefix}.{DESCRIPTION}"
    with place.storage.open_output(path) as out:
        out.write(orjson.dumps(told | {"clusters": clusters}, option=orjson.OPT_APPEND_NEWLINE))
    return {"path": path, "told": told, "clusters": clusters}
