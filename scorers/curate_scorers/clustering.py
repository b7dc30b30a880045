"""Spherical k-means: vectors of length 1, centroids of length 1, similarity by the cosine.

Shapes and units: `vectors` is n × d, `centroids` k × d, both float32 as `unit` makes them; clusters are numbered from 0 (int32);
similarities are cosines, float64, from -1 to 1. `nearest` in `clustering_nearest` says why the result is the same bits for any number of
threads, batch size and processor, and on a GPU.

Each iteration gives every vector to the nearest centroid (of equally near ones, the first), and makes each centroid the direction of its
vectors' sum. Sums of vectors of `unit` are exact in doubles (up to 2²⁹ vectors), so that no order of additions matters, and only vectors
that moved have to be added and taken away.
A cluster that has lost all its vectors takes half of a large one: see `_split`.

Sources: Dhillon and Modha, *Concept Decompositions for Large Sparse Text Data using Clustering* (2001); used by SemDeDup (Abbas et al.
2023), D4 (Tirumala et al. 2023) and MiniPile (Kaddour 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curate.errors import OperatorError
from curate_scorers.clustering_nearest import (
    BLOCK_ROWS,
    Clusters,
    Device,
    Doubles,
    Numbers,
    Search,
    Vectors,
    nearest,
    similarities,
    total,
    unit,
)

__all__ = ["Trained", "assign", "train", "unit"]

STEP = 1 / 1024  # how far the two halves of a cluster are moved apart
ALIKE = 1e-4  # vectors that are nearer to their centroid than this are copies, which no split separates


@dataclass(frozen=True)
class Trained:
    """What training found.

    `objective` has the mean cosine of the vectors to their centroids, before each update; `converged` says whether the last iteration
    changed nothing; `splits` counts clusters that were empty and took half of another.
    """

    centroids: Vectors
    objective: list[float] = field(default_factory=list)
    converged: bool = False
    splits: int = 0


def train(vectors: Vectors, k: int, iterations: int = 20, seed: int = 0, device: Device = "auto") -> Trained:
    """Return k centroids of vectors that `unit` made; fewer iterations are done when one changes nothing.

    The first centroids are k of the vectors, drawn by `seed`. Raises `OperatorError` for k < 1, k > n, or a GPU that is not there.
    """
    if not 1 <= k <= len(vectors):
        raise OperatorError(f"k-means: {k:,} clusters of {len(vectors):,} vectors", "`k` is from 1 to the number of vectors")
    centroids = vectors[_drawn(len(vectors), k, seed)]
    objective: list[float] = []
    sums, moved, splits, converged = np.zeros((k, vectors.shape[1])), np.arange(len(vectors)), 0, False
    before: Clusters | None = None
    for _ in range(iterations):
        clusters = nearest(vectors, centroids, device)
        if before is not None:
            moved = np.flatnonzero(clusters != before)
            _add(sums, vectors, before, moved, -1)
        _add(sums, vectors, clusters, moved, 1)
        objective.append(total(sums * centroids) / len(vectors))
        converged = not len(moved)
        if converged:
            break
        centroids = np.where(sums.any(axis=1, keepdims=True), unit(sums), centroids)
        splits += _split(vectors, clusters, centroids)
        before = clusters
    return Trained(centroids, objective, converged, splits)


def assign(vectors: Vectors, centroids: Vectors, search: Search | Device = "auto") -> tuple[Clusters, Doubles]:
    """Return each vector's nearest centroid and its cosine to it; both are rows that `unit` made.

    `search` is what `search_on` gives, for many calls with the same centroids, or a device.
    """
    clusters = nearest(vectors, centroids, search)
    return clusters, similarities(vectors, centroids, clusters)


def _drawn(n: int, k: int, seed: int) -> Clusters:
    """Return k different numbers below n, by the hash of each number (SplitMix64)."""
    with np.errstate(over="ignore"):
        mixed = (np.arange(1, n + 1, dtype=np.uint64) + np.uint64(seed * 0xD1342543DE82EF95 % 2**64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")[:k].astype(np.int32)


def _add(sums: Doubles, vectors: Vectors, clusters: Clusters, moved: Numbers, sign: int) -> None:
    """Add vectors that moved to the sums of their clusters, or take them away; sums are exact, so that nothing is left behind."""
    for start in range(0, len(moved), 64 * BLOCK_ROWS):
        rows = moved[start : start + 64 * BLOCK_ROWS]
        rows = rows[np.argsort(clusters[rows], kind="stable")]
        edges = np.flatnonzero(np.diff(clusters[rows], prepend=-1, append=len(sums)))
        for first, stop in zip(edges[:-1], edges[1:], strict=True):
            sums[clusters[rows[first]]] += sign * vectors[rows[first:stop]].sum(axis=0, dtype=np.float64)


def _split(vectors: Vectors, clusters: Clusters, centroids: Vectors) -> int:
    """Give each empty cluster half of another, in place, and return how many were given one.

    The first empty cluster halves the largest, the next one the next largest, each at most once. The halves lie on both sides of the
    centroid along the line to its farthest member. A cluster of copies cannot be halved; an empty cluster that finds none to halve stays
    as it is.
    """
    sizes = np.bincount(clusters, minlength=len(centroids))
    donors = iter(np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes > 1)])
    done = 0
    for empty in np.flatnonzero(sizes == 0):
        for donor in donors:
            halves = _halves(vectors[clusters == donor], centroids[donor])
            if halves is not None:
                centroids[donor], centroids[empty] = halves
                done += 1
                break
    return done


def _halves(members: Vectors, centroid: Vectors) -> Vectors | None:
    """Return two centroids for one, None when its members are copies of one another."""
    cosines = similarities(members, centroid[None], np.zeros(len(members), np.int32))
    far = int(cosines.argmin())
    away = members[far] - cosines[far] * centroid.astype(np.float64)
    length = np.sqrt(total(away * away))
    if length < ALIKE:
        return None
    return unit(centroid + STEP / length * np.stack([away, -away]))
