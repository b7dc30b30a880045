"""`embed_hash` beside a loop over words in Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate import kernels
from curate.errors import PipelineError
from curate.testing import check_operator
from curate_scorers.embed_hash import EmbedHash
from tests.scorers.embed_models import docs, rows

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def plain(text: str, dimensions: int, grams: int) -> list[float]:
    """The definition, one run of words after another."""
    hashes = [int(h) for h in kernels.words(kernels.texts(pa.array([text.lower()], pa.large_string()))).hashes]
    sums = [0.0] * dimensions
    for first in range(len(hashes)):
        for size in range(1, grams + 1):
            if first + size > len(hashes):
                continue
            run = hashes[first] * STEP & MASK
            for word in hashes[first + 1 : first + size]:
                run = ((run ^ run >> 32) * STEP + word) & MASK
            mixed = (run ^ run >> 32) * STEP & MASK
            sums[(mixed >> 32) % dimensions] += 1.0 if mixed & 1 << 31 else -1.0
    roots = [np.sign(value) * abs(value) ** 0.5 for value in sums]
    length = sum(value * value for value in roots) ** 0.5
    return [float(value / length) for value in roots]


@pytest.mark.parametrize(("dimensions", "grams"), [(16, 1), (64, 2), (256, 8)])
def test_equals_a_loop(dimensions: int, grams: int) -> None:
    texts = ["The cat sat on the mat, and the cat slept.", "one", "naïve 港 words " * 9]
    found = rows(EmbedHash(dimensions, grams).score(docs(*texts)))
    np.testing.assert_allclose(found, [plain(text, dimensions, grams) for text in texts], atol=1e-6)


def test_texts_that_share_words_are_near() -> None:
    near, other, far = rows(EmbedHash(1024).score(docs("the cat sat on the mat", "THE CAT sat on a mat", "shares fell by nine percent")))
    assert near @ other > 0.5 > abs(near @ far) + 0.3


def test_what_the_engine_relies_on() -> None:
    check_operator(EmbedHash())
    check_operator(EmbedHash(7, 8))


def test_texts_without_words_have_no_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", None, " \n", "word", "another word"]
    found = EmbedHash(8).score(docs(*texts))
    assert found.is_null().to_pylist() == [True, True, True, False, False]
    monkeypatch.setattr("curate_scorers.embed_hash.ROWS", 2)
    assert EmbedHash(8).score(docs(*texts)).equals(found)
    assert EmbedHash(8).score(docs()).to_pylist() == []


def test_bad_parameters() -> None:
    for params in ({"dimensions": 0}, {"dimensions": 1 << 17}, {"grams": 0}, {"grams": 9}):
        with pytest.raises(PipelineError, match=f"embed_hash: {next(iter(params))} is not from 1 to"):
            EmbedHash(**params)
