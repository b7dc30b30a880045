"""`clustering`: k-means worked by hand, beside scikit-learn and FAISS, and the same bits however it is computed."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import _multiarray_umath

from curate.errors import OperatorError
from curate_scorers.clustering import assign, train, unit
from curate_scorers.clustering_merge import merged
from curate_scorers.clustering_nearest import FaissSearch, MatrixSearch, Search, Vectors, nearest, on_gpu, similarities

GPU = on_gpu("auto")
SEARCHES = ["matrix", "faiss", *(["gpu"] if GPU else [])]


def blobs(count: int, kinds: int, dimension: int, seed: int = 0, spread: float = 0.5) -> Vectors:
    """Return vectors around so many directions."""
    dice = np.random.default_rng(seed)
    centres = dice.standard_normal((kinds, dimension))
    return unit(centres[dice.integers(0, kinds, count)] + spread * dice.standard_normal((count, dimension)))


def search(name: str, centroids: Vectors) -> Search:
    if name == "matrix":
        return MatrixSearch(centroids)
    pytest.importorskip("faiss")
    return FaissSearch(centroids, gpu=name == "gpu")


def whole(vectors: Vectors) -> Any:
    """Return vectors in whole numbers, 2⁻²⁴ each, of Python's own integers."""
    return (vectors.astype(np.float64) * 2**24).astype(np.int64).astype(object)


FOUR = unit(np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]]))


@pytest.mark.parametrize("seed", range(8))
def test_four_vectors_by_hand(seed: int) -> None:
    trained = train(FOUR, 2, seed=seed)
    first, second = trained.centroids[np.argsort(-trained.centroids[:, 0])]
    assert first == pytest.approx(np.array([3, 1]) / 10**0.5, abs=1e-7)
    assert second == pytest.approx(np.array([-1, 3]) / 10**0.5, abs=1e-7)
    assert trained.converged and trained.objective[-1] == pytest.approx(3 / 10**0.5)
    clusters, cosines = assign(FOUR, trained.centroids)
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3]
    assert cosines == pytest.approx([3 / 10**0.5] * 4)


def test_units_have_length_one_on_a_grid() -> None:
    given = np.array([[3, 4], [0, 0], [1e-300, 0], [np.nan, 1], [np.inf, 1], [1e200, 0], [-5e-4, 0]])
    made = unit(given)
    assert made[0] == pytest.approx([0.6, 0.8]) and not made[1].any() and not made[2].any() and made[6].tolist() == [-1, 0]
    assert np.isnan(made[3:6]).all()
    rows = unit(np.random.default_rng(0).standard_normal((300, 384)))
    assert np.array_equal(np.rint(rows.astype(np.float64) * 2**24), rows.astype(np.float64) * 2**24)
    assert np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1).max() < 5e-7
    assert np.array_equal(unit(rows.astype(np.float16)), np.concatenate([unit(row[None].astype(np.float16)) for row in rows]))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 40), count=st.integers(0, 60), dimension=st.sampled_from([1, 2, 7, 64]))
@pytest.mark.parametrize("name", SEARCHES)
def test_the_nearest_is_that_of_whole_numbers(name: str, seed: int, k: int, count: int, dimension: int) -> None:
    dice = np.random.default_rng(seed)
    centroids = unit(dice.standard_normal((k, dimension)))
    centroids[k // 2 :] = centroids[: k - k // 2]  # equally near
    nudged = dice.integers(0, k, k // 3)
    centroids[nudged, dice.integers(0, dimension, k // 3)] += np.float32(2.0**-24)  # nearer than float32 can tell
    vectors = np.concatenate([unit(dice.standard_normal((count, dimension))), centroids])
    products = whole(vectors) @ whole(centroids).T
    wanted = [row.index(max(row)) for row in products.tolist()]
    found = nearest(vectors, centroids, search(name, centroids))
    assert found.tolist() == wanted and found.dtype == np.int32
    cosines = similarities(vectors, centroids, found)
    assert cosines.tolist() == [min(1.0, row[at] / 2**48) for row, at in zip(products.tolist(), wanted, strict=True)]


@pytest.mark.parametrize("name", SEARCHES)
def test_many_centroids(name: str) -> None:
    """More than a block of them, each of the first thousand thrice, half of these a little moved: nearest ones lie in different blocks."""
    vectors = blobs(300, 20, 6)
    centroids = np.concatenate([*[blobs(1000, 20, 6, seed=1)] * 3, blobs(500, 20, 6, seed=2)])
    centroids[1500:2500, 2] += np.float32(2.0**-24)
    products = whole(vectors) @ whole(centroids).T
    wanted = [row.index(max(row)) for row in products.tolist()]
    assert nearest(vectors, centroids, search(name, centroids)).tolist() == wanted
    assert len({at // 500 for at in wanted}) > 4


def test_batches_and_the_order_of_numbers_do_not_matter() -> None:
    vectors, centroids = blobs(3000, 40, 96), blobs(1100, 40, 96, seed=1)
    clusters, cosines = assign(vectors, centroids)
    order = np.random.default_rng(2).permutation(96)
    again = assign(vectors[:, order].copy(), centroids[:, order].copy())
    assert np.array_equal(clusters, again[0]) and np.array_equal(cosines, again[1])
    for size in (1, 7, 210):
        parts = [assign(vectors[start : start + size], centroids) for start in range(0, 210, size)]
        assert np.array_equal(np.concatenate([part[0] for part in parts]), clusters[:210])
        assert np.array_equal(np.concatenate([part[1] for part in parts]), cosines[:210])


THREADS = """
import hashlib
import numpy as np
from curate_scorers.clustering import assign, train, unit
dice = np.random.default_rng(4)
centres = dice.standard_normal((30, 64))
vectors = unit(np.concatenate([centres[dice.integers(0, 30, 3000)] + dice.standard_normal((3000, 64)), np.repeat(centres, 10, axis=0)]))
trained = train(vectors, 90, 8, seed=1)
clusters, cosines = assign(vectors, trained.centroids)
found = trained.centroids.tobytes() + clusters.tobytes() + cosines.tobytes() + repr(trained).encode()
print(trained.splits, hashlib.sha256(found).hexdigest())
"""


def test_threads_and_processors_do_not_matter() -> None:
    """Kernels of another generation add in another order, with other roundings."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    one, two = (dict.fromkeys(limits, threads) for threads in ("1", "2"))
    older = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": " ".join(_multiarray_umath.__cpu_dispatch__)}
    runs = [
        subprocess.run([sys.executable, "-c", THREADS], env=os.environ | own, capture_output=True, text=True, check=True).stdout
        for own in (one, two, older)
    ]
    assert len(set(runs)) == 1 and not runs[0].startswith("0 ")


@pytest.mark.parametrize("seed", [0, 1])
def test_one_step_and_the_end_are_those_of_scikit_learn(seed: int) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    vectors = blobs(2000, 25, 48, seed=seed, spread=1.0)
    first = train(vectors, 20, 1, seed)
    begun = _begun(vectors, 20, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and is not meant to
        one = cluster.KMeans(20, init=begun, n_init=1, max_iter=1, algorithm="lloyd").fit(vectors)
    assert np.abs(unit(one.cluster_centers_) - first.centroids).max() < 1e-6
    end = cluster.KMeans(20, init=begun, n_init=1, algorithm="lloyd", tol=0).fit(vectors)
    ours = assign(vectors, train(vectors, 20, 300, seed).centroids)[1].mean()
    theirs = assign(vectors, unit(end.cluster_centers_))[1].mean()
    assert ours == pytest.approx(theirs, rel=0.005)


def _begun(vectors: Vectors, k: int, seed: int) -> Vectors:
    """Return the centroids that training begins with."""
    return train(vectors, k, 0, seed).centroids


def test_seeds_draw_different_vectors() -> None:
    vectors = blobs(500, 5, 8)
    begun = [_begun(vectors, 30, seed) for seed in (0, 1, 1)]
    assert np.array_equal(begun[1], begun[2]) and not np.array_equal(begun[0], begun[1])
    assert all(len(np.unique(one, axis=0)) == 30 for one in begun)
    assert {tuple(row) for one in begun for row in one.tolist()} <= {tuple(row) for row in vectors.tolist()}


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), k=st.integers(1, 60), kinds=st.integers(1, 30), copies=st.integers(1, 5))
def test_the_objective_is_never_worse(seed: int, k: int, kinds: int, copies: int) -> None:
    vectors = np.repeat(blobs(80, kinds, 12, seed), copies, axis=0)
    trained = train(vectors, k, 50, seed)
    assert all(later >= earlier - 1e-6 for earlier, later in zip(trained.objective, trained.objective[1:], strict=False))
    assert trained.objective[0] <= assign(vectors, trained.centroids)[1].mean() + 1e-6
    assert trained.converged and trained.centroids.shape == (k, 12) and np.isfinite(trained.centroids).all()


def test_empty_clusters_take_half_of_the_largest() -> None:
    vectors = np.concatenate([np.repeat(blobs(1, 1, 16), 300, axis=0), blobs(100, 4, 16, seed=1)])
    trained = train(vectors, 12, 30)
    sizes = np.bincount(assign(vectors, trained.centroids)[0], minlength=12)
    assert trained.splits > 0 and sizes.min() > 0 and sizes.max() == 300


def test_a_pair_of_halves_by_hand() -> None:
    """Both first centroids are copies, so that the second is empty; the cluster of all four is halved along its farthest vector."""
    vectors = unit(np.array([[1, 0], [1, 0], [1, 0.1], [1, -0.2]]))
    seed = next(seed for seed in range(100) if np.array_equal(*_begun(vectors, 2, seed)))
    trained = train(vectors, 2, 1, seed)
    assert trained.splits == 1
    clusters, _ = assign(vectors, trained.centroids)
    assert clusters[0] == clusters[1] == clusters[2] != clusters[3]
    middle = unit(vectors.astype(np.float64).sum(axis=0)[None])[0]
    assert np.abs(trained.centroids - middle).max() < 1.1 / 1024 and not np.array_equal(*trained.centroids)


def test_copies_cannot_be_halved() -> None:
    vectors = np.repeat(unit(np.eye(3)), 10, axis=0)
    trained = train(vectors, 8, 10)
    sizes = np.bincount(assign(vectors, trained.centroids)[0], minlength=8)
    assert trained.converged and sorted(sizes)[-3:] == [10, 10, 10] and trained.objective[-1] == pytest.approx(1)


def test_vectors_that_add_up_to_nothing_leave_their_centroid() -> None:
    vectors = unit(np.array([[1, 0], [-1, 0]]))
    assert train(vectors, 1, 5).centroids[0].tolist() in ([1, 0], [-1, 0])


def test_mistakes() -> None:
    for k in (0, 5):
        with pytest.raises(OperatorError, match=f"k-means: {k} clusters of 4 vectors"):
            train(FOUR, k)


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    with pytest.raises(OperatorError, match="finds no GPU"):
        assign(FOUR, FOUR, "gpu")
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert assign(FOUR, FOUR, "auto")[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(OperatorError, match="`faiss` is not installed") as caught:
        train(FOUR, 2, device="gpu")
    assert str(caught.value.hint).startswith("leave `device` out to work on the CPU, or install the extra `gpu`")


def test_groups_by_hand() -> None:
    """Two pairs at Ward's distance 0.2 and 0.3; the pairs are farther apart."""
    at = np.array([[0, 0], [5, 0], [0.2, 0], [5, 0.3]], np.float32)
    assert merged(at, {"count": 4}).tolist() == [0, 1, 2, 3]
    assert merged(at, {"count": 3}).tolist() == merged(at, {"distance": 0.25}).tolist() == [0, 1, 0, 2]
    assert merged(at, {"count": 2}).tolist() == merged(at, {"distance": 6}).tolist() == [0, 1, 0, 1]
    assert merged(at, {"count": 1}).tolist() == merged(at, {"distance": 8}).tolist() == [0, 0, 0, 0]
    assert merged(at[:1], {"distance": 0}).tolist() == [0]


@pytest.mark.parametrize("merge", [{"count": 7}, {"distance": 1.5}, {"distance": 0.9}])
def test_groups_are_those_of_scikit_learn(merge: dict[str, float]) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    centroids = blobs(120, 12, 32, seed=3)
    options = {"n_clusters": merge.get("count"), "distance_threshold": merge.get("distance"), "linkage": "ward"}
    theirs = cluster.AgglomerativeClustering(**options).fit_predict(centroids.astype(np.float64))
    ours = merged(centroids, merge)
    pairs = set(zip(ours.tolist(), theirs.tolist(), strict=True))
    assert len(pairs) == len(set(theirs.tolist())) == ours.max() + 1 > 1
    assert list(dict.fromkeys(ours.tolist())) == list(range(ours.max() + 1))


def test_too_many_clusters_to_merge() -> None:
    with pytest.raises(OperatorError, match="20,001 clusters are too many"):
        merged(np.zeros((20_001, 1), np.float32), {"count": 2})
