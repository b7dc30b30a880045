"""Packed corpora that are read, and those that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import CurateError, OperatorError
from curate_scorers.proxy.packed import Packed, Part, read_packed
from tests.scorers import proxy_corpora


def test_rows_are_read_across_parts(tmp_path: Path) -> None:
    made = proxy_corpora.corpus(60, parts=3)
    names = proxy_corpora.write(tmp_path, made)
    found = read_packed(str(tmp_path), names)
    assert (found.rows, found.tokens, found.length, found.eos) == (made.rows, made.tokens, made.length, made.eos)
    assert isinstance(found.parts[0].tokens, np.memmap)
    documents = [
        document.tolist() for row in proxy_corpora.rows_of(proxy_corpora.sentences(np.random.default_rng(1), 60)) for document in row
    ]
    taken = found.take(range(found.rows))
    ends = np.cumsum(taken.lengths)
    assert [taken.targets[end - size : end].tolist() for end, size in zip(ends, taken.lengths, strict=True)] == documents
    assert found.used([0, found.rows - 1]) == len(found.take([0, found.rows - 1]).targets)
    mean = sum(size * size / 2 for size in map(len, documents)) / sum(map(len, documents))
    assert found.context == pytest.approx(mean)


def broken(part: Part) -> dict[str, Part]:
    """Return parts that do not fit together, by what is wrong."""
    longer = part.lengths.copy()
    longer[0] = 30_000
    return {
        "piece": Part(part.tokens, part.first, longer),
        "first": Part(part.tokens, part.first[:-1], part.lengths),
        "lengths": Part(part.tokens, part.first, part.lengths[:-1]),
        "width": Part(part.tokens[:, :-1], part.first, part.lengths),
    }


@pytest.mark.parametrize("what", ["piece", "first", "lengths", "width"])
def test_files_that_do_not_fit_together_are_told(tmp_path: Path, what: str) -> None:
    made = proxy_corpora.corpus(60, parts=1)
    spoilt = Packed(made.vocabulary, made.length, made.tokens, made.eos, [broken(made.parts[0])[what]], [])
    names = proxy_corpora.write(tmp_path, spoilt, rows=made.rows)
    with pytest.raises(CurateError, match="part 00000 is no packed corpus") as told:
        read_packed(str(tmp_path), names)
    assert told.value.hint == "pack again"


@pytest.mark.parametrize(("spoilt", "told"), [({"format": 2}, "format 2, where 1 is known"), ({"rows": 7}, "and pack.json tells of 7")])
def test_descriptions_that_do_not_fit_are_told(tmp_path: Path, spoilt: dict[str, Any], told: str) -> None:
    names = proxy_corpora.write(tmp_path, proxy_corpora.corpus(60), **spoilt)
    with pytest.raises(CurateError, match=told):
        read_packed(str(tmp_path), names)


def test_a_folder_without_a_description_is_no_packed_corpus(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"has no pack\.json"):
        read_packed(str(tmp_path), ["model.bin"])


def test_tokens_beyond_the_vocabulary_are_told(tmp_path: Path) -> None:
    names = proxy_corpora.write(tmp_path, proxy_corpora.corpus(60), vocab_size=50)
    packed = read_packed(str(tmp_path), names)
    with pytest.raises(OperatorError, match=r"vocabulary mismatch: token \d+ in rows that are packed for a vocabulary of 50"):
        packed.take(range(packed.rows))
