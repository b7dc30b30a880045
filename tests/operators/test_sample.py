from __future__ import annotations

import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate_operators.sample import Sample
from tests.operators.conftest import batch

MANY = batch(["text"] * 20_000)


def kept(operator: Sample, docs: pa.RecordBatch = MANY) -> list[bool]:
    return [row is None for row in operator.drop(docs).to_pylist()]


def test_golden_choice() -> None:
    """The choice is the same for ever: these ids were kept when the operator was written."""
    ids = [i for i, keep in enumerate(kept(Sample(0.5), batch(["x"] * 24))) if keep]
    assert ids == [0, 1, 3, 7, 8, 9, 11, 12, 14, 18]
    assert [i for i, keep in enumerate(kept(Sample(0.5, seed=7), batch(["x"] * 24))) if keep] == [1, 2, 4, 6, 8, 9, 12, 14, 15, 18, 22]


def test_share_is_close_to_the_fraction() -> None:
    # 0.1 ± 6 standard deviations of a binomial with 20,000 trials
    assert abs(sum(kept(Sample(0.1))) / 20_000 - 0.1) < 6 * (0.1 * 0.9 / 20_000) ** 0.5


def test_larger_fraction_keeps_what_a_smaller_one_kept() -> None:
    assert all(large for small, large in zip(kept(Sample(0.1)), kept(Sample(0.3)), strict=True) if small)


def test_seeds_are_independent() -> None:
    both = sum(a and b for a, b in zip(kept(Sample(0.5)), kept(Sample(0.5, seed=1)), strict=True))
    assert abs(both / 20_000 - 0.25) < 0.02


def test_none_and_all() -> None:
    assert not any(kept(Sample(0)))
    assert all(kept(Sample(1)))


def test_reason() -> None:
    assert set(Sample(0).drop(MANY).to_pylist()) == {"not_sampled"}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.int64(), pa.uint8()])
def test_documents_with_one_value_share_one_fate(kind: pa.DataType) -> None:
    values = pa.array([b"7", b"8", None, b"7", b"8", None]).cast(pa.string()).cast(kind)
    fates = kept(Sample(0.5, by="site"), batch(["x"] * 6, site=values))
    assert fates[:3] == fates[3:]


def test_bad_parameters() -> None:
    with pytest.raises(PipelineError, match="fraction"):
        Sample(1.5)
    with pytest.raises(PipelineError, match="seed"):
        Sample(0.5, seed=-1)
    with pytest.raises(PipelineError, match="double"):
        Sample(0.5, by="score").verify(pa.schema({"score": pa.float64()}))
