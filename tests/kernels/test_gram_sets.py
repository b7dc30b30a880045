"""n-grams and growing sets of them beside plain Python; a Bloom filter forgets nothing, and what is taken back leaves no trace."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from tests.kernels import columns

SPREAD = np.uint64(0x9E3779B97F4A7C15)
Document = list[tuple[bool, list[int]]]  # whether each unit is kept, and its keys


@pytest.mark.parametrize("size", [1, 3, 13])
def test_grams_of_real_lines(real_texts: pa.Array, size: int) -> None:
    texts = kernels.Texts.of(real_texts)
    words, lines = kernels.words(texts), kernels.lines(texts, "feed")
    counts, keys = kernels.gram_hashes(words, lines.start, lines.end, size)
    edges = np.searchsorted(words.start, np.stack([lines.start, lines.end]))
    wanted = [tuple(words.hashes[k : k + size].tolist()) for begun, ended in edges.T for k in range(begun, ended - size + 1)]
    assert counts.tolist() == np.maximum(edges[1] - edges[0] - size + 1, 0).tolist()
    assert len({*zip(keys.tolist(), wanted, strict=True)}) == len(set(wanted)) == len(set(keys.tolist()))


@given(columns.columns())
def test_grams_of_any_bytes(column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    words, lines = kernels.words(texts), kernels.lines(texts, "feed")
    counts, keys = kernels.gram_hashes(words, lines.start, lines.end, 1)
    assert len(keys) == counts.sum() == len(words.start)
    assert np.all(keys > 0)


def plain(documents: list[tuple[bool, Document]]) -> tuple[list[bool], set[int]]:
    """Return which keys are seen before, and what is in the set at last."""
    known: set[int] = set()
    seen: list[bool] = []
    for kept, units in documents:
        here = set(known)
        for unit_kept, keys in units:
            seen += [key in here for key in keys]
            here |= set(keys) if unit_kept else set()
        known = here if kept else known
    return seen, known


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 9), max_size=5)), max_size=4)), max_size=8)
)
def test_sets_beside_plain_python(documents: list[tuple[bool, Document]]) -> None:
    flat = [
        (key, row, 9 * row + unit, a, b) for row, (b, units) in enumerate(documents) for unit, (a, ks) in enumerate(units) for key in ks
    ]
    key, row, unit, kept_unit, kept_row = (np.array([item[k] for item in flat], np.int64) for k in range(5))
    keys, kept = key.astype(np.uint64) * SPREAD, (kept_unit.astype(np.bool_), kept_row.astype(np.bool_))
    seen, known = plain(documents)
    table, bits = np.zeros(16, np.uint64), np.zeros(1 << 12, np.uint64)
    assert kernels.seen_in_table(keys, unit, row, kept, table).tolist() == seen
    assert {int(value) for value in table if value} == {value * int(SPREAD) % (1 << 64) for value in known}
    assert kernels.seen_in_bloom(keys, unit, row, kept, bits, 7).tolist() == seen
    assert bits.any() == bool(known)


def test_a_filter_takes_no_more_for_seen_than_theory() -> None:
    count, hashes = 1 << 17, 7
    keys = np.random.default_rng(3).integers(1, 1 << 63, 2 * count).astype(np.uint64)
    row, bits = np.arange(count), np.zeros(1 << 14, np.uint64)  # 2^20 bits: eight for each key
    kept = (np.ones(count, np.bool_), np.ones(count, np.bool_))
    kernels.seen_in_bloom(keys[:count], row, row, kept, bits, hashes)
    none = (np.zeros(count, np.bool_), np.zeros(count, np.bool_))
    assert kernels.seen_in_bloom(keys[:count], row, row, none, bits, hashes).all()
    rate = kernels.seen_in_bloom(keys[count:], row, row, none, bits, hashes).mean()
    theory = (np.bitwise_count(bits).sum() / (64 * len(bits))) ** hashes
    assert abs(rate - theory) < 0.1 * theory
