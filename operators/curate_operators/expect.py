"""Judges a dataset by its numbers before it is published."""

from __future__ import annotations

from dataclasses import dataclass

from curate.dataset import Dataset
from curate.errors import PipelineError
from curate.protocols import Judge
from curate.work import Verdict, Work


@dataclass(frozen=True)
class Expect(Judge):
    """Refuses a dataset that is smaller, or smaller beside another, than its makers expect.

    ## What it does
    Compares the documents of the first dataset in `from` with `min_documents` and `max_documents`, and with the documents of
    the second one for `min_kept_ratio` and `max_kept_ratio`. When a bound is not kept, nothing is published and the run ends
    as `gated`, exit code 3.

    ## Why
    A filter that suddenly keeps nothing, or everything, is the usual sign of a changed input or a broken threshold.

    ## Example
        checks:
          size:
            use: expect
            from: [corpus, text]
            params: {min_documents: 1000, min_kept_ratio: 0.05, max_kept_ratio: 0.9}

    ## Parameters
    - `min_documents`, `max_documents`: bounds on the first dataset, inclusive.
    - `min_kept_ratio`, `max_kept_ratio`: bounds on its share of the second dataset's documents, 0–1, inclusive.

    ## Source
    Ours.
    """

    min_documents: int | None = 1
    max_documents: int | None = None
    min_kept_ratio: float | None = None
    max_kept_ratio: float | None = None

    @property
    def _wants_ratio(self) -> bool:
        return self.min_kept_ratio is not None or self.max_kept_ratio is not None

    def judge(self, inputs: list[Dataset], work: Work) -> Verdict:
        rows = inputs[0].rows
        measures: dict[str, float] = {"documents": rows}
        broken = list(_outside(f"{rows:,} documents in {inputs[0].name}", rows, self.min_documents, self.max_documents))
        if self._wants_ratio:
            if len(inputs) < 2:
                raise PipelineError("expect: a kept ratio compares two datasets", "name the second one in `from:`")
            ratio = rows / inputs[1].rows if inputs[1].rows else 0.0
            measures |= {"documents_before": inputs[1].rows, "kept_ratio": ratio}
            broken += _outside(f"{ratio:.1%} of {inputs[1].name} kept", ratio, self.min_kept_ratio, self.max_kept_ratio)
        return Verdict(not broken, "; ".join(broken) or f"{rows:,} documents, as expected", measures)


def _outside(what: str, value: float, low: float | None, high: float | None) -> list[str]:
    if low is not None and value < low:
        return [f"{what}, at least {low:g} expected"]
    if high is not None and value > high:
        return [f"{what}, at most {high:g} expected"]
    return []
