"""Tests of what the benchmarks of scorers make of their numbers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("fasttext")

from tests.benchmarks import fasttext_speed, quality_scorers, readme
from tests.benchmarks import quality_scorers_models as models
from tests.benchmarks import quality_scorers_sets as sets
from tests.benchmarks.quality_scorers import BASELINES, CEILING, CLASSIFIERS, Judged


@pytest.mark.parametrize("name", [quality_scorers.NAME, fasttext_speed.NAME])
def test_every_benchmark_has_its_place(name: str) -> None:
    text = readme.README.read_text()
    assert [text.count(mark) for mark in readme.marks(name)] == [1, 1]


@pytest.mark.parametrize(("first", "human"), [(1, False), (5, False), (6, True), (9, True)])
def test_one_sentence_is_judged_always_in_the_same_place(first: int, human: bool) -> None:
    targets = {f"Sentence {n}. ": 1.0 if n == first else 0.5 * (n > first) for n in range(10)}
    for given in (targets, str(targets)):
        assert sets.sentence({"id": "a", "target_scores": given}) == [{"id": "a", "text": "Sentence 5.", "human": human}]
    assert sets.sentence({"id": "a", "target_scores": {"Too few.": 1.0}}) == []


def test_pieces_lose_no_paragraph() -> None:
    text = "\n".join(f"paragraph {n} " + "x" * (n % 700) for n in range(300))
    found = sets.pieces([text, " \n", "short"])
    assert "\n".join(found[:-1]) == text and found[-1] == "short"
    assert all(sets.PIECE_CHARS <= len(piece) < sets.PIECE_CHARS + 1000 for piece in found[:-2])


def test_frequency_is_the_mean_log_share_of_words() -> None:
    mean = models.frequencies(["The cat the dog", "the"])  # 5 words of 3 kinds: the share of "the" is (3 + 1) / (5 + 3 + 1)
    assert mean("THE") == pytest.approx(np.log(4 / 9))
    assert mean("the fox") == pytest.approx((np.log(4 / 9) + np.log(1 / 9)) / 2)
    assert mean("...") == pytest.approx(np.log(1 / 9))


def test_a_baseline_points_as_the_half_says_that_is_not_judged() -> None:
    fitted = [("aaaa", True), ("aaa", True), ("a", False)]
    assert quality_scorers.direction(len, fitted) == 1
    assert quality_scorers.direction(len, [(text, not good) for text, good in fitted]) == -1
    rows = [("one\ntwo", True), ("  three", False), ("four", True)]
    assert quality_scorers._rest(rows, ["one two", "four"]) == [("three", False)]


def judged(auc_of: dict[str, float], size: int = 400) -> Judged:
    """Return a set on which everyone scores normal numbers, the good ones shifted so as to have about an AUC."""
    draw = np.random.default_rng(1)
    good = np.arange(size) % 2 == 0
    noise = {name: draw.normal(size=size) for name in auc_of}
    shift = {0.5: 0.0, 0.7: 0.74, 0.9: 1.81}
    return Judged("a set", good, {name: noise[name] + good * shift[value] for name, value in auc_of.items()})


def test_what_is_said_follows_from_the_intervals_of_the_difference() -> None:
    aucs = {BASELINES[0]: 0.5, BASELINES[1]: 0.7, **dict(zip((*CLASSIFIERS, CEILING), (0.5, 0.7, 0.9, 0.9, 0.9), strict=True))}
    found = judged(aucs)
    assert found.best_baseline() == BASELINES[1]
    low, high = found.margin("strength 1")
    assert low < found.auc("strength 1") - found.auc(BASELINES[1]) < high
    told = {line.split("`")[1]: line for line in quality_scorers.plainly([found])[1:]}
    assert "worse on 1 of 1" in told["instructions"]
    assert "not told apart on 1 of 1" in told["prose"]
    assert "better on 1 of 1" in told["strength 1"]


def test_a_missed_goal_is_told() -> None:
    grams, parts = (next(one for one in fasttext_speed.models() if one.file == file) for file in ("grams2.bin", "parts.bin"))
    assert grams.grams and not parts.grams
    assert fasttext_speed.verdict([(grams, 1.2), (parts, 1.0)]).endswith("met.")
    told = fasttext_speed.verdict([(grams, 1.19), (parts, 0.99)])
    assert "(1.19 ×)" in told and "(0.99 ×)" in told
    assert fasttext_speed.ratio([1.0, 2.0, 1.0], [2.0, 2.0, 3.0]) == 2.0
