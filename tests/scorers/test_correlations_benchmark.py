"""The benchmark on the authors' table finds planted usefulness, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import readme
from tests.benchmarks.perplexity_correlations import FOLDER, NAME, WAYS, Models, agreement, predicted, read


def planted(useful: int) -> Models:
    """Return 30 models of 10 families and 100 documents of which the first so many say what the errors are; the others are noise."""
    dice = np.random.default_rng(3)
    errors = dice.random(30)
    losses = dice.random((100, 30))
    losses[:useful] = errors + 0.1 * dice.random((useful, 30))
    return Models(losses, {"planted": errors}, np.arange(30) // 3)


@pytest.mark.parametrize("way", sorted(WAYS))
def test_useful_documents_are_found_from_other_families(way: str) -> None:
    models = planted(useful=10)
    errors = models.errors["planted"]
    told = agreement(np.stack([predicted(models, errors, WAYS[way]), models.losses.mean(axis=0)]), errors)
    assert told[0] > told[1] + 0.1
    if "L2" not in way:
        assert told[0] > 0.98


@pytest.mark.parametrize("way", sorted(WAYS))
def test_noise_predicts_nothing_about_a_family_that_was_left_out(way: str) -> None:
    models = planted(useful=0)
    assert abs(agreement(predicted(models, models.errors["planted"], WAYS[way]), models.errors["planted"])[0]) < 0.4


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no models_and_tables (set CURATE_TEST_DATA)")
def test_the_table_is_read_with_models_in_one_order() -> None:
    models = read()
    assert models.losses.shape == (263, 90) and len(models.errors) == 9 and len(set(models.families.tolist())) == 40
    assert agreement(models.losses.mean(axis=0), models.errors["arc_easy"])[0] == pytest.approx(0.978, abs=5e-4)


def test_the_table_has_its_place() -> None:
    text = readme.README.read_text()
    assert [text.count(mark) for mark in readme.marks(NAME)] == [1, 1]
