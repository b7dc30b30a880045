"""Shingles, signatures, groups and greedy choices beside plain Python; signatures beside datasketch where it is installed."""

from __future__ import annotations

import random
import re
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels

WORDS = st.lists(st.sampled_from(["a", "B", "cc", "d_1", "é", "x-y", "don't", "日本語", "Ünï", "42"]), max_size=12).map(" ".join)


def sets(texts: list[str], n: int = 5, unit: str = "words", fold: bool = False) -> list[set[int]]:
    found = kernels.shingle_sets(kernels.shingles(kernels.Texts.of(pa.array(texts, pa.large_string())), n, unit, fold))  # type: ignore[arg-type]
    return [set(found.hashes[a:b].tolist()) for a, b in pairwise(found.first)]


def plain(text: str, n: int) -> set[tuple[str, ...]]:
    """Return the word n-grams of a text, one shorter one if there are too few words."""
    words: list[str] = []
    for run in re.findall(r"\w+", text.lower()):
        words += re.findall(r"[\u3040-\u309f\u4e00-\u9fff]|[^\u3040-\u309f\u4e00-\u9fff]+", run)
    if len(words) < n:
        return {tuple(words)} if words else set()
    return {tuple(words[k : k + n]) for k in range(len(words) - n + 1)}


def similarity(one: set[object], other: set[object]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


@given(st.lists(WORDS, min_size=2, max_size=5), st.integers(1, 6))
def test_shingles_of_words(texts: list[str], n: int) -> None:
    found, wanted = sets(texts, n), [plain(text, n) for text in texts]
    assert [len(one) for one in found] == [len(one) for one in wanted]
    for k in range(1, len(texts)):
        assert similarity({*found[0]}, {*found[k]}) == similarity({*wanted[0]}, {*wanted[k]})


@given(st.lists(st.text("aB é\n日.", max_size=12), min_size=2, max_size=4), st.integers(1, 4))
def test_shingles_of_characters(texts: list[str], n: int) -> None:
    lower = [" ".join(text.lower().split()) for text in texts]
    wanted = [{text[k : k + n] for k in range(max(len(text) - n, 0) + 1)} if text else set() for text in lower]
    found = sets(texts, n, "characters")
    assert [len(one) for one in found] == [len(one) for one in wanted]
    for k in range(1, len(texts)):
        assert similarity({*found[0]}, {*found[k]}) == similarity({*wanted[0]}, {*wanted[k]})


def test_real_texts(real_texts: pa.Array) -> None:
    texts = [text for text in real_texts.to_pylist() if not any(unicodedata.category(char)[0] == "M" for char in text)]
    texts = [text for text in texts if not re.search(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\ufaff]", text)]
    assert len(texts) > 20
    assert [len(one) for one in sets(texts)] == [len(plain(text, 5)) for text in texts]


def test_folding() -> None:
    same = ["Café no. 12, Straße!", "cafe NO 7 straße", "CAFE\u0301 “no” 0 straße"]
    one, *others = sets(same, 2, fold=True)
    assert one and all(other == one for other in others)
    assert len({frozenset(one) for one in sets(same, 2)}) == 3
    assert sets(["don't"], 1, fold=True) == sets(["dont"], 1, fold=True)
    assert sets(["1,000 dogs"], 1, fold=True) == sets(["77 dogs"], 1, fold=True)


def test_texts_without_words_have_no_shingles() -> None:
    texts = kernels.Texts.of(pa.array([None, "", " .,- \n", "word"]))
    found = kernels.shingles(texts)
    assert found.counts.tolist() == [0, 0, 0, 1]
    signed = kernels.signatures(found, 8)
    assert (signed[:3] == 0xFFFFFFFF).all()
    assert not (signed[3] == 0xFFFFFFFF).any()


def test_broken_bytes_are_words_of_none() -> None:
    data = pa.array([b"one \xff two", b"\xf0\x9f", b"one two"]).cast(pa.large_binary())
    texts = kernels.Texts.of(pa.LargeStringArray.from_buffers(3, *data.buffers()[1:]))
    assert kernels.shingles(texts, 2).counts.tolist() == [1, 0, 1]


def test_jaccard_is_exact() -> None:
    draw = random.Random(5)
    texts = [" ".join(draw.choice("abcdef") for _ in range(draw.randrange(40))) for _ in range(40)]
    wanted = [plain(text, 3) for text in texts]
    own = kernels.shingle_sets(kernels.shingles(kernels.Texts.of(pa.array(texts)), 3))
    rows, others = (np.array(side, np.int64) for side in zip(*[(a, b) for a in range(40) for b in range(40)], strict=True))
    found = kernels.jaccard(own, own, rows, others)
    assert found.tolist() == [similarity({*wanted[a]}, {*wanted[b]}) for a, b in zip(rows, others, strict=True)]


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8, 0.95])
def test_the_error_of_the_estimate_is_that_of_theory(target: float) -> None:
    draw = random.Random(7)
    pairs, size, count = 300, 200, 128
    shared = round(2 * size * target / (1 + target))
    texts: list[str] = []
    for _ in range(pairs):
        words = [f"w{draw.randrange(1 << 40)}" for _ in range(2 * size - shared)]
        texts += [" ".join(words[:size]), " ".join(words[size - shared :])]
    found = kernels.shingles(kernels.Texts.of(pa.array(texts)), 1)
    signed = kernels.signatures(found, count)
    own = kernels.shingle_sets(found)
    exact = kernels.jaccard(own, own, np.arange(0, 2 * pairs, 2), np.arange(1, 2 * pairs, 2))
    error = (signed[::2] == signed[1::2]).mean(1) - exact
    theory = (target * (1 - target) / count) ** 0.5
    assert abs(error.mean()) < 4 * theory / pairs**0.5
    assert (error**2).mean() ** 0.5 < 1.15 * theory


def test_as_datasketch(real_texts: pa.Array) -> None:
    datasketch = pytest.importorskip("datasketch", minversion="2.0")
    found = kernels.shingles(kernels.Texts.of(real_texts))
    for seed, count in ((1, 128), (42, 91)):
        signed = kernels.signatures(found, count, seed)
        for text in range(0, len(real_texts), 5):
            theirs = datasketch.MinHash(count, seed=seed, scheme="affine32", hashfunc=int)
            theirs.update_batch((found.hashes[found.first[text] : found.first[text + 1]] & np.uint64(0xFFFFFFFF)).tolist())
            assert signed[text].tolist() == theirs.hashvalues.tolist()


def test_the_generator_of_the_permutations_is_fixed() -> None:
    a, b = kernels.permutations(3)
    assert (a.tolist(), b.tolist()) == ([3582191691, 4270784983, 1892572953], [4005303368, 491263, 550290313])


def test_a_bucket_is_a_whole_band() -> None:
    signed = np.array([[1, 2, 3, 4], [1, 2, 3, 5], [3, 4, 1, 2]], np.uint32)
    found = kernels.buckets(signed, 2, 2)
    assert found.shape == (2, 3)
    assert found[0, 0] == found[0, 1]
    assert len({*found.ravel().tolist()}) == 5


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
    )
)
def test_groups(graph: tuple[int, list[tuple[int, int]]]) -> None:
    nodes, edges = graph
    wanted = list(range(nodes))
    for _ in range(nodes):
        for a, b in edges:
            wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    parents = np.arange(nodes, dtype=np.int64)
    for part in (edges[::2], edges[1::2]):
        left, right = (np.array([edge[side] for edge in part], np.int64) for side in (0, 1))
        kernels.joined(parents, left, right)
    assert kernels.roots(parents).tolist() == wanted


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.sampled_from([0.8, 0.9, 1.0])), max_size=40))
def test_who_goes_and_by_which_edge(edges: list[tuple[int, int, float]]) -> None:
    ordered = sorted((b, a, weight) for a, b, weight in edges if a < b)
    gone: dict[int, int] = {}
    for node in range(12):
        mine = [k for k, (later, earlier, _) in enumerate(ordered) if later == node and earlier not in gone]
        if mine:
            gone[node] = max(mine, key=lambda k: (ordered[k][2], -k))
    later, begun = np.unique(np.array([edge[0] for edge in ordered], np.uint32), return_index=True)
    first, earlier = np.append(begun, len(ordered)), np.array([edge[1] for edge in ordered], np.uint32)
    known = np.zeros(12, np.bool_)
    kernels.settle(known, later, first, earlier)
    assert np.flatnonzero(known).tolist() == sorted(gone)
    found = kernels.heaviest(known, first, earlier, np.array([edge[2] for edge in ordered], np.float64))
    assert found.tolist() == [gone.get(node, -1) for node in later.tolist()]


def test_blocks_and_units() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2, 2, 3, 4, 4], np.int64)
    block, unit = kernels.packed(groups, np.full(10, 4, np.int64), 12)
    assert block.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 3]
    assert unit.tolist() == [0, 1, 1, 2]
    block, unit = kernels.packed(groups[:1], np.array([99], np.int64), 12)
    assert (block.tolist(), unit.tolist()) == ([0], [0])
    block, unit = kernels.packed(groups[:0], np.zeros(0, np.int64), 12)
    assert (block.tolist(), unit.tolist()) == ([], [])
