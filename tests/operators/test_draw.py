"""`draw` agrees with `sample`, is spread evenly, and draws so many of each group with `select_top`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate.pipeline import Stage, Step
from curate.testing import check_operator
from curate_operators.draw import Draw
from curate_operators.sample import Sample
from tests.engine import small


def docs(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": [f"d{i}" for i in range(count)]})


def test_agrees_with_sample() -> None:
    check_operator(Draw())
    for seed, fraction in ((0, 0.3), (7, 0.01), (7, 0.9)):
        drawn = Draw(seed).score(docs(5000)).to_numpy()
        kept = Sample(fraction, seed).drop(docs(5000)).is_null().to_numpy(zero_copy_only=False)
        assert np.array_equal(drawn < fraction, kept)


def test_numbers_are_even_and_seeds_independent() -> None:
    one, two = (Draw(seed).score(docs(20_000)).to_numpy() for seed in (1, 2))
    counts, _ = np.histogram(one, 20, (0, 1))
    assert one.min() >= 0 and one.max() < 1 and len(set(one.tolist())) == 20_000
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8, "chi-square of 19 degrees of freedom, one in a thousand is higher"
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    with pytest.raises(PipelineError, match="seed is not between"):
        Draw(-1)


def test_so_many_of_each_group(tmp_path: Path) -> None:
    rows = [{"id": f"d{i:04d}", "text": "text", "site": "abc"[min(2, i // 40)]} for i in range(500)]
    stages = {
        "drawn": Stage("crawl", (Step("draw", into="draw"),), emits="attributes"),
        "spread": Stage(("crawl", "drawn"), use="select_top", params={"column": "drawn.draw", "budget": 25, "group_by": "site"}),
        "seed": Stage(("crawl", "spread"), apply=("spread",)),
    }
    plan, _ = small.run(small.pipeline(small.write_jsonl(tmp_path / "in.jsonl", rows), stages), tmp_path / "ws")
    kept = small.rows(plan.dataset("seed"))
    assert Counter(row["site"] for row in kept) == {"a": 25, "b": 25, "c": 25}
    assert [row["id"] for row in kept][:25] != [f"d{i:04d}" for i in range(25)]
