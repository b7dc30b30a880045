"""Finds the nearest of many centroids, to the same bits for any number of threads, batch size and processor, and on a GPU.

`unit` brings vectors to the length 1 and rounds their components to multiples of 2⁻²⁴, which float32 holds exactly. The products of two
such vectors are multiples of 2⁻⁴⁸, and any part of their sum is at most |a|·|b| ≈ 1, so that a double holds every step exactly: no order
of additions changes a bit. Rounding moves a cosine by some 10⁻⁸, as float32 vectors do themselves.

A fast search in float32 proposes; where the second nearest is within its error of the nearest, doubles decide (of equals, the first
centroid wins). On a CPU the search is a blocked matrix product, of which `faiss.Kmeans` took some three times as much time on one core
with AVX-512 (`tests/benchmarks/clustering.py`). On a GPU it is FAISS's flat index, which keeps TensorFloat-32 off.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any, Literal, Protocol

import numpy as np

from curate.errors import OperatorError

Device = Literal["auto", "cpu", "gpu"]
Vectors = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
Clusters = np.ndarray[Any, np.dtype[np.int32]]
BLOCK_ROWS, BLOCK_CENTROIDS = 1024, 1024  # 4 MiB of products stay in a cache
UNIT_ROWS = 128
GPU_ROWS = 1 << 16
GRID = float(1 << 24)
HINT = "leave `device` out to work on the CPU, or install the extra `gpu` on a machine with a GPU, in an environment without `faiss-cpu`"
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Found = tuple[Numbers, Vectors, Vectors]
"""For each vector, the nearest centroid, its cosine, and that of the second nearest (-inf where there is one centroid)."""


class Search(Protocol):
    """Finds the two nearest centroids in float32."""

    def best_two(self, vectors: Vectors) -> Found:
        """Return the nearest centroid, its cosine and that of the second nearest."""


def unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    """Return rows (n × d, any float) at the length 1, in multiples of 2⁻²⁴; a row of zeros stays one.

    A row whose numbers are not finite, or whose squares are not, becomes NaN throughout.
    """
    made = np.empty(vectors.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(vectors), UNIT_ROWS):
            rows = vectors[start : start + UNIT_ROWS].astype(np.float64)
            length = np.sqrt(row_sums(rows * rows))
            length[length == 0] = 1.0
            length[np.isinf(length)] = np.nan
            rows *= (GRID / length)[:, None]
            np.rint(rows, out=rows)
            made[start : start + UNIT_ROWS] = rows / GRID
    return made


def row_sums(values: Doubles) -> Doubles:
    """Return the sum of each row, halves added to halves: one order of additions on every processor. Overwrites `values`."""
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        values[:, : values.shape[1] - half] += values[:, half:]
        values = values[:, :half]
    return values[:, 0] if values.shape[1] else np.zeros(len(values))


def total(values: Doubles) -> float:
    """Return the sum of all numbers in one order of additions."""
    return float(row_sums(values.reshape(1, -1).copy())[0])


def similarities(vectors: Vectors, centroids: Vectors, clusters: Clusters) -> Doubles:
    """Return the cosine of each vector to its cluster's centroid, exactly, and at most 1."""
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        found[rows] = np.einsum("ij,ij->i", vectors[rows].astype(np.float64), centroids[clusters[rows]].astype(np.float64))
    return np.minimum(found, 1.0)


def nearest(vectors: Vectors, centroids: Vectors, search: Search | Device = "auto") -> Clusters:
    """Return each vector's nearest centroid, the first of equally near ones; both are rows that `unit` made."""
    search = search_on(centroids, search) if isinstance(search, str) else search
    clusters, best, second = search.best_two(vectors)
    error = 2.1 * vectors.shape[1] * 2.0**-24  # what two sums of d products in float32 can be off for vectors of length 1, and a little
    close = np.flatnonzero(best - second <= error)
    for start in range(0, len(close), BLOCK_ROWS):
        rows = close[start : start + BLOCK_ROWS]
        clusters[rows] = _exactly(vectors[rows].astype(np.float64), centroids)
    return clusters.astype(np.int32)


def _exactly(rows: Doubles, centroids: Vectors) -> Numbers:
    best, at = np.full(len(rows), -np.inf), np.zeros(len(rows), np.int64)
    for start in range(0, len(centroids), BLOCK_CENTROIDS):
        products = rows @ centroids[start : start + BLOCK_CENTROIDS].astype(np.float64).T
        found = products.argmax(axis=1)
        value = products[np.arange(len(rows)), found]
        better = value > best
        best[better], at[better] = value[better], found[better] + start
    return at


class MatrixSearch:
    """Searches by blocks of the matrix of all products."""

    def __init__(self, centroids: Vectors) -> None:
        self._centroids = centroids

    def best_two(self, vectors: Vectors) -> Found:
        at = np.zeros(len(vectors), np.int64)
        best, second = np.full((2, len(vectors)), -np.inf, np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            for first in range(0, len(self._centroids), BLOCK_CENTROIDS):
                products = vectors[rows] @ self._centroids[first : first + BLOCK_CENTROIDS].T
                _merge(products, first, (at[rows], best[rows], second[rows]))
        return at, best, second


def _merge(products: Vectors, first: int, found: Found) -> None:
    """Take over what a block of centroids has that is nearer."""
    at, best, second = found
    own = products.argmax(axis=1)
    every = np.arange(len(products))
    value = products[every, own]
    products[every, own] = -np.inf
    np.maximum(second, np.minimum(best, value), out=second)
    np.maximum(second, products.max(axis=1), out=second)
    better = value > best
    at[better], best[better] = own[better] + first, value[better]


class FaissSearch:
    """Searches an exact FAISS index, on a GPU or not."""

    def __init__(self, centroids: Vectors, gpu: bool = True) -> None:
        faiss = importlib.import_module("faiss")
        index = faiss.IndexFlatIP(centroids.shape[1])
        index.add(np.ascontiguousarray(centroids))
        self._index = faiss.index_cpu_to_gpu(_gpu_memory(), 0, index) if gpu else index

    def best_two(self, vectors: Vectors) -> Found:
        found = [self._index.search(vectors[start : start + GPU_ROWS], 2) for start in range(0, len(vectors), GPU_ROWS)]
        cosines = np.concatenate([np.empty((0, 2), np.float32), *(own for own, _ in found)])
        at = np.concatenate([np.empty((0, 2), np.int64), *(own for _, own in found)])
        return at[:, 0].copy(), cosines[:, 0], np.where(at[:, 1] < 0, np.float32(-np.inf), cosines[:, 1])


@functools.cache
def _gpu_memory() -> Any:
    """Return what FAISS works in on a GPU, one for the process."""
    return importlib.import_module("faiss").StandardGpuResources()


def search_on(centroids: Vectors, device: Device) -> Search:
    """Return the search for a device; raise `OperatorError` when it is `gpu` and there is none."""
    return FaissSearch(centroids) if on_gpu(device) else MatrixSearch(centroids)


def on_gpu(device: Device) -> bool:
    """Tell whether FAISS is to search on a GPU: `auto` = where it finds one. Raise `OperatorError` when `gpu` is not there."""
    if device == "cpu":
        return False
    if importlib.util.find_spec("faiss") is None:
        if device == "auto":
            return False
        raise OperatorError("`device: gpu`: the package `faiss` is not installed", HINT)
    found = importlib.import_module("faiss").get_num_gpus() > 0
    if device == "gpu" and not found:
        raise OperatorError("`device: gpu`: FAISS finds no GPU here", HINT)
    return bool(found)
