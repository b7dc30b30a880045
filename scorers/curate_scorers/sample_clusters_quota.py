"""How many documents each cluster gives: shares of a total by weight, where no cluster gives more than it has."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction


def weights_of(sizes: Mapping[int, int], distances: Mapping[int, Fraction], omega: float | None) -> dict[int, Fraction]:
    """Return what clusters weigh: all the same without `omega`, else size x (1 + omega x mean distance to the centroid).

    `distances` are sums of distances. A cluster that lies far apart has a great mean distance: omega above 0 is in its favour. Weights
    need no sum of 1, since `quotas` takes them as shares.
    """
    if omega is None:
        return dict.fromkeys(sizes, Fraction(1))
    return {cluster: size + Fraction(str(omega)) * distances[cluster] for cluster, size in sizes.items()}


def quotas(total: int, sizes: Mapping[int, int], weights: Mapping[int, Fraction]) -> dict[int, int]:
    """Return how many documents each cluster gives; together `total`, or all that there are.

    A cluster whose share is all that it has, or more, gives all, and the rest is shared anew among the others, until none is too small.
    What whole numbers leave over goes, one each, to the greatest fractions, of equal ones to the lowest numbers.
    """
    given: dict[int, int] = {}
    left, waiting = min(total, sum(sizes.values())), sorted(sizes)
    while waiting:
        whole = sum((weights[cluster] for cluster in waiting), Fraction(0))
        small = [cluster for cluster in waiting if weights[cluster] * left >= sizes[cluster] * whole]
        if not small:
            break
        given |= {cluster: sizes[cluster] for cluster in small}
        left -= sum(sizes[cluster] for cluster in small)
        waiting = [cluster for cluster in waiting if cluster not in given]
    return dict(sorted((given | _shared(left, {cluster: weights[cluster] for cluster in waiting})).items()))


def _shared(total: int, weights: Mapping[int, Fraction]) -> dict[int, int]:
    """Return shares in whole numbers that add up to the total."""
    whole = sum(weights.values(), Fraction(0))
    shares = {cluster: weight * total / whole for cluster, weight in weights.items()}
    given = {cluster: int(share) for cluster, share in shares.items()}
    order = sorted(shares, key=lambda cluster: (given[cluster] - shares[cluster], cluster))
    for cluster in order[: total - sum(given.values())]:
        given[cluster] += 1
    return given
