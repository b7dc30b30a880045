"""Tests of what the comparison of near-duplicates counts, on sets small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import dedup_truth
from tests.benchmarks.dedup_truth import Truth
from tests.benchmarks.peers import make_env


@pytest.fixture
def chain() -> Truth:
    """Return 0 – 1 – 2, whose ends are not similar, and 3 by itself."""
    docs = [{"id": str(i), "text": ""} for i in range(4)]
    return Truth(docs, np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.9, 0.5, 0.8]))


def test_greedy_keeps_what_only_a_removed_document_resembles(chain: Truth) -> None:
    assert dedup_truth.greedy(chain, 0.8).tolist() == [0, 0, 2, 3]
    assert dedup_truth.components(4, *chain.similar(0.8)).tolist() == [0, 0, 0, 3]


def test_verified_answer_has_nothing_below_and_nothing_left(chain: Truth) -> None:
    got = dedup_truth.scores(chain, 0.8, np.array([0, 0, 2, 3]))
    assert (got.pair_recall, got.pair_precision, got.ari_greedy) == (0.5, 1.0, 1.0)
    assert (got.removed, got.below, got.left) == (1, 0, 0)


def test_component_removes_a_document_that_is_below(chain: Truth) -> None:
    got = dedup_truth.scores(chain, 0.8, np.array([0, 0, 0, 3]))
    assert (got.pair_recall, got.pair_precision, got.ari, got.macro_f1) == (1.0, pytest.approx(2 / 3), 1.0, 1.0)
    assert (got.removed, got.below) == (2, 1)


def test_what_is_not_found_is_left(chain: Truth) -> None:
    got = dedup_truth.scores(chain, 0.8, np.arange(4))
    assert (got.pair_recall, got.pair_precision, got.removed, got.left) == (0.0, 1.0, 0, 2)
    assert got.macro_f1 == pytest.approx(0.2)  # no duplicate found; of four said to have none, one has none


def test_cluster_that_keeps_nothing_removes_wrongly(chain: Truth) -> None:
    got = dedup_truth.scores(chain, 0.8, np.array([-1, -1, 2, 3]))
    assert (got.removed, got.below) == (2, 2)


def test_ari_of_unrelated_clusterings_is_about_zero() -> None:
    draw = np.random.RandomState(1)
    one, other = draw.randint(0, 20, 5000), draw.randint(0, 20, 5000)
    assert abs(dedup_truth.ari(one, other)) < 0.005
    assert dedup_truth.ari(one, one + 7) == pytest.approx(1.0)


@pytest.mark.skipif(not (dedup_truth.DATA / "neardup_doc_versions").is_dir(), reason="../shared/data is not there")
def test_pairs_are_those_of_the_set() -> None:
    truth = dedup_truth.load("neardup_doc_versions")
    assert len(truth.docs) == 766
    assert (truth.left < truth.right).all()
    assert np.array_equal(truth.of(truth.right, truth.left), truth.similarity)


def test_interpreter_of_no_version_is_this_one_and_of_an_unknown_one_none() -> None:
    assert Path(make_env.base(None)).exists()
    with pytest.raises(FileNotFoundError, match=r"python3\.99"):
        make_env.base("3.99")
