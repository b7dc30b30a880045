"""How many bands of how many rows: what the choice finds, and what it costs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from curate.errors import PipelineError

STEPS = 200


@dataclass(frozen=True)
class Bands:
    """A signature cut into `bands` of `rows` values: two documents are compared when one whole band is equal."""

    bands: int
    rows: int

    @property
    def permutations(self) -> int:
        """How many values a signature has."""
        return self.bands * self.rows

    def probability(self, similarity: float) -> float:
        """Return the probability that two documents of a Jaccard similarity are compared: the S-curve."""
        return float(1.0 - (1.0 - similarity**self.rows) ** self.bands)

    def wasted(self, similarity: float) -> float:
        """Return the mean probability of a comparison over all similarities below one: the cost in vain."""
        return sum(self.probability(similarity * (k + 0.5) / STEPS) for k in range(STEPS)) / STEPS

    def curve(self) -> dict[float, float]:
        """Return the S-curve at twenty similarities."""
        return {k / 20: self.probability(k / 20) for k in range(1, 21)}


@functools.lru_cache(maxsize=64)
def choose(similarity: float, recall: float, permutations: int) -> Bands:
    """Return the bands that find pairs at the threshold with probability `recall` and compare the fewest below it.

    Raises `PipelineError` when no choice of at most `permutations` values does.
    """
    enough = [bands for bands in _choices(permutations) if bands.probability(similarity) >= recall]
    if not enough:
        best = max((bands.probability(similarity) for bands in _choices(permutations)), default=0.0)
        raise PipelineError(
            f"minhash_dedup: {permutations} permutations find {best:.3f} of the pairs at similarity {similarity}, not {recall}",
            "allow more `permutations`, or give `bands` and `rows`",
        )
    return min(enough, key=lambda bands: (bands.wasted(similarity), bands.permutations))


def _choices(permutations: int) -> Iterator[Bands]:
    """Yield for every number of rows all useful numbers of bands."""
    for rows in range(1, permutations + 1):
        for bands in range(1, permutations // rows + 1):
            yield Bands(bands, rows)
