"""Merges clusters into groups: Ward's method on centroids, each counted once, whatever its size."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

import numpy as np

from curate.errors import OperatorError
from curate_scorers.clustering_nearest import Clusters, Vectors

MAX_CLUSTERS = 20_000  # all pairs of them are 1.6 GB


def merged(centroids: Vectors, merge: Mapping[str, float]) -> Clusters:
    """Return the group of each centroid, numbered from 0 in the order of their first centroids.

    `merge` is `{"count": …}` or `{"distance": …}`. Those two groups whose merging adds the least to the squared distances within groups
    are merged, until `count` groups are left, or the next merge would be at more than `distance`: Ward's, which is √(2ab / (a + b)) times
    the distance of the means of groups of a and b centroids.
    """
    k = len(centroids)
    if k > MAX_CLUSTERS:
        raise OperatorError(f"merge: {k:,} clusters are too many", f"at most {MAX_CLUSTERS:,} can be merged: all pairs are compared")
    if k == 1:
        return np.zeros(1, np.int32)
    if importlib.util.find_spec("scipy") is None:
        raise OperatorError("merge: the package `scipy` is not installed", "pip install '.[cluster]'")
    tree = importlib.import_module("scipy.cluster.hierarchy").linkage(centroids.astype(np.float64), "ward")
    merges = k - int(merge["count"]) if "count" in merge else int(np.count_nonzero(tree[:, 2] <= merge["distance"]))
    return _numbered(tree[:merges, :2].astype(np.int64).tolist(), k)


def _numbered(merges: list[list[int]], k: int) -> Clusters:
    """Carry out merges of pairs of groups, where the merge number i makes the group k + i."""
    members = {cluster: [cluster] for cluster in range(k)}
    for number, (one, other) in enumerate(merges):
        members[k + number] = members.pop(one) + members.pop(other)
    groups = np.zeros(k, np.int32)
    for number, clusters in enumerate(sorted(members.values(), key=min)):
        groups[clusters] = number
    return groups
