"""Samples of clusters are what a sort in memory draws: exact numbers, small clusters whole, the same for any shards and workers."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError, PipelineError
from curate.hashing import hash64
from curate.pipeline import Stage
from curate_scorers import sample_clusters_phases as phases
from curate_scorers.sample_clusters_quota import quotas, weights_of
from tests.engine import small
from tests.scorers import planted_clusters as planted
from tests.scorers.planted_clusters import HERE, Docs

SIZES = (60, 40, 9, 3)


def stages(**params: Any) -> dict[str, Stage]:
    places = {"cluster": "cluster", "distance": "distance"}
    sample = Stage("crawl", use="sample_clusters", params=places | {"documents": 40} | params)
    return {"sample": sample, "kept": Stage(["crawl", "sample"], apply=["sample"])}


@pytest.fixture(scope="module")
def docs() -> Docs:
    return planted.documents(SIZES, without=3)


def drawn_of(dataset: Dataset) -> dict[int, set[str]]:
    """Return the documents that are drawn of each cluster: ids begin with its number."""
    found: dict[int, set[str]] = {}
    for row in small.rows(dataset):
        if row["keep"]:
            found.setdefault(int(row["id"].partition("-")[0]), set()).add(row["id"])
    return found


@pytest.mark.parametrize(
    ("total", "sizes", "expected"),
    [
        (10, [50, 50, 50], [4, 3, 3]),
        (40, [60, 40, 9, 3], [14, 14, 9, 3]),
        (100, [1, 2, 3], [1, 2, 3]),
        (5, [1, 1, 9], [1, 1, 3]),
        (2, [5, 5, 5], [1, 1, 0]),
        (6, [2, 2, 2], [2, 2, 2]),
    ],
)
def test_even_shares_by_hand(total: int, sizes: list[int], expected: list[int]) -> None:
    there = dict(enumerate(sizes))
    assert list(quotas(total, there, weights_of(there, {}, None)).values()) == expected


def test_the_papers_numbers() -> None:
    given = quotas(1_010_500, dict.fromkeys(range(182), 100_000), dict.fromkeys(range(182), Fraction(1)))
    assert Counter(given.values()) == {1_010_500 // 182: 182 - 1_010_500 % 182, 1_010_500 // 182 + 1: 1_010_500 % 182}


def test_sparse_clusters_gain_with_omega_and_dense_ones_lose() -> None:
    sizes, distances = {0: 1000, 1: 1000, 2: 500}, {0: Fraction(100), 1: Fraction(500), 2: Fraction(50)}
    by_size = quotas(250, sizes, weights_of(sizes, distances, 0.0))
    assert by_size == {0: 100, 1: 100, 2: 50}
    weights = weights_of(sizes, distances, 0.5)
    assert weights == {0: 1050, 1: 1250, 2: 525}  # |C| (1 + omega rho), with rho 0.1, 0.5, 0.1
    assert quotas(2825 // 5, sizes, weights) == {0: 210, 1: 250, 2: 105}
    dense = quotas(250, sizes, weights_of(sizes, distances, -0.4))
    assert dense[0] > 100 > dense[1]


@given(st.integers(1, 400), st.lists(st.tuples(st.integers(1, 100), st.integers(1, 9)), min_size=1, max_size=12))
def test_shares_add_up_and_are_as_even_as_they_can_be(total: int, clusters: list[tuple[int, int]]) -> None:
    sizes = {number: size for number, (size, _) in enumerate(clusters)}
    weights = {number: Fraction(weight) for number, (_, weight) in enumerate(clusters)}
    given = quotas(total, sizes, weights)
    assert sum(given.values()) == min(total, sum(sizes.values())) and list(given) == sorted(sizes)
    assert all(0 <= given[number] <= size for number, size in sizes.items())
    open_ = [number for number, size in sizes.items() if given[number] < size]
    for number in open_:  # what is not whole has its fair share, to less than one, beside every other
        assert all(given[other] / weights[other] < (given[number] + 1) / weights[number] + 1 / weights[other] for other in sizes)


def test_each_cluster_gives_the_lowest_hashes(docs: Docs, tmp_path: Path) -> None:
    made = planted.made(tmp_path, docs, stages())
    found = drawn_of(made["sample"])
    for cluster, quota in enumerate((14, 14, 9, 3)):
        own = [doc["id"] for doc in docs if doc.get("cluster") == cluster]
        order = dict(zip(own, hash64(pa.array(own), 0).tolist(), strict=True))
        assert found[cluster] == set(sorted(own, key=lambda name: order[name])[:quota])
    rows = small.rows(made["sample"])
    assert [row["id"] for row in rows] == [doc["id"] for doc in docs]
    assert Counter(row["reason"] for row in rows) == {None: 40, "not_sampled": 72, "no_cluster": 3}
    assert {row["split"] for row in rows if row["keep"]} == {"train"} and {row["split"] for row in rows if not row["keep"]} == {None}
    [note] = made["sample"].manifest.notes
    assert note["passed"] and note["message"] == "40 documents drawn of 4 clusters; 2 clusters gave all"
    assert made["kept"].rows == 40


def test_shards_workers_and_small_tables_change_nothing(docs: Docs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"validation": 7, "test": 5, "omega": 0.75}
    first = small.rows(planted.made(tmp_path, docs, stages(**params), 1)["sample"])
    assert small.rows(planted.made(tmp_path, docs, stages(**params), 6, 2)["sample"]) == first
    monkeypatch.setattr(phases, "HELD", 3)
    monkeypatch.setattr("curate.shuffle.PARTITION_BYTES", 500)
    assert small.rows(planted.made(tmp_path, docs, stages(**params), 4)["sample"]) == first


def test_equal_hashes_change_no_number(docs: Docs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "hash64", lambda ids, seed: np.zeros(len(ids), np.uint64))
    made = planted.made(tmp_path, docs, stages(validation=4, test=3))
    found = drawn_of(made["sample"])
    assert found[0] == {f"0-{number:04d}" for number in range(14)}
    assert Counter(row["split"] for row in small.rows(made["sample"])) == {"test": 3, "validation": 4, "train": 33, None: 75}


def test_splits_have_their_sizes_and_are_drawn_from_all(docs: Docs, tmp_path: Path) -> None:
    made = planted.made(tmp_path, docs, stages(documents=100, validation=20, test=30, seed=3))
    rows = [row for row in small.rows(made["sample"]) if row["keep"]]
    assert Counter(row["split"] for row in rows) == {"train": 50, "validation": 20, "test": 30}
    for split in ("train", "validation", "test"):
        assert {row["id"][0] for row in rows if row["split"] == split} >= {"0", "1"}
    assert made["sample"].manifest.about["splits"] == {"train": 50, "validation": 20, "test": 30}
    other = planted.made(tmp_path / "other", docs, stages(documents=100, validation=20, test=30, seed=4))
    assert drawn_of(other["sample"]) != drawn_of(made["sample"])


def test_what_was_dropped_is_not_drawn_and_keeps_its_reason(docs: Docs, tmp_path: Path) -> None:
    every = {
        "cards": Stage("crawl", use="cluster_cards", params=HERE),
        "dropped": Stage(["crawl", "cards"], use="drop_clusters", params={"cluster": "cluster", "drop": "cluster = 1"}),
        **stages(dropped="dropped"),
    }
    every["sample"] = Stage(["crawl", "dropped"], use="sample_clusters", params=every["sample"].params)
    made = planted.made(tmp_path, docs, every)
    assert {cluster: len(ids) for cluster, ids in drawn_of(made["sample"]).items()} == {0: 28, 2: 9, 3: 3}
    reasons = Counter(row["reason"] for row in small.ledger(made["kept"], "drops"))
    assert reasons == {"cluster 1: cluster = 1": 40, "not_sampled": 32, "no_cluster": 3}


def test_fewer_documents_than_asked_for_is_a_warning(docs: Docs, tmp_path: Path) -> None:
    made = planted.made(tmp_path, docs, stages(documents=5000, test=4))
    [note] = made["sample"].manifest.notes
    assert not note["passed"] and note["message"] == "112 documents drawn of 4 clusters; 5,000 were asked for; 4 clusters gave all"
    assert made["kept"].rows == 112 and made["sample"].manifest.about["splits"]["train"] == 108


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60), st.integers(1, 5), st.integers(1, 4))
def test_the_lowest_of_tables_cut_at_any_place(rows: list[tuple[int, int]], quota: int, held: int) -> None:
    before, phases.HELD = phases.HELD, held
    try:
        lowest = phases._Lowest({0: quota, 2: 1, 3: 0})
        for number, (cluster, order) in enumerate(rows):
            lowest.add(np.array([cluster]), np.array([order], np.uint64), pa.array([f"{number:03d}"]))
        table = lowest.table().to_pylist()
    finally:
        phases.HELD = before
    named = [(order, f"{number:03d}", cluster) for number, (cluster, order) in enumerate(rows)]
    expected = [row for wanted, most in ((0, quota), (2, 1)) for row in sorted(row for row in named if row[2] == wanted)[:most]]
    assert [(row["order"], row["id"], row["cluster"]) for row in table] == expected


def test_what_is_wrong_is_told(docs: Docs, tmp_path: Path) -> None:
    none = [doc | {"cluster": None} for doc in docs]
    cases: list[tuple[Docs, dict[str, Any], type[CurateError], str]] = [
        (docs, {"documents": 0}, PipelineError, "`documents` is less than 1: 0"),
        (docs, {"omega": -0.5}, PipelineError, "`omega` is -0.5"),
        (docs, {"validation": 30, "test": 11}, PipelineError, "are more than the 40 documents that are drawn"),
        (docs, {"cluster": "clusters.cluster"}, PipelineError, "reads the column `clusters.cluster`, which is not there"),
        (docs, {"dropped": "dropped"}, PipelineError, "reads the column `dropped.keep`, which is not there"),
        (docs, {"cluster": "lang"}, PipelineError, "column `lang` is string, not a cluster's number"),
        (none, {}, OperatorError, "no cluster is left to draw from"),
        (docs[:20], {"validation": 15, "test": 10}, OperatorError, "to validate and to test on"),
    ]
    for number, (rows, params, kind, message) in enumerate(cases):
        with pytest.raises(CurateError) as caught:
            planted.made(tmp_path / str(number), rows, stages(**params), 1)
        assert isinstance(caught.value, kind) and message in caught.value.message, caught.value
