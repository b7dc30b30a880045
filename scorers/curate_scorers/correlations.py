"""Estimators of perplexity correlations: how well a text's losses order models as a benchmark does.

Shapes and units: `losses` is documents × models, float64, bits per UTF-8 byte; `errors` has one number per model, on any scale,
lower = better (1 - accuracy, or a perplexity). An estimate is one number per document, higher = more useful: where its losses
are low, errors are low. `estimate` takes rows with losses that are missing; the estimators themselves take finite numbers.

Each estimate is a sum over models, added up model by model, so that a document's number does not depend on the documents beside
it. With N models, `sign_cdf` is `spearman` × (N + 1) / 3N where no losses tie: they rank documents alike.
`sign_sign` is 2p - 1 for the share p of pairs in the right order, PreSelect's score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def product(losses: Floats, errors: Floats) -> Floats:
    """Return the mean over models of loss × error (Plan et al.); outliers of either rule it.

    It assumes that both have the mean 0. Errors that do not make it rank documents by their mean loss.
    """
    return _sum_over_models(losses, errors) / len(errors)


def sign(losses: Floats, errors: Floats) -> Floats:
    """Return the mean over pairs of models of sign(difference of errors) × difference of losses (Chen & Banerjee)."""
    return _sum_over_models(losses, _wins(errors)) * _per_pair(errors)


def sign_cdf(losses: Floats, errors: Floats) -> Floats:
    """Return `sign` of each document's empirical distribution function of the losses: robust to outliers of both."""
    return sign(_ranks(losses) / len(errors), errors)


def sign_sign(losses: Floats, errors: Floats) -> Floats:
    """Return the mean over pairs of models of sign(difference of errors) × sign(difference of losses): Kendall's tau-a."""
    total = np.zeros(len(losses))
    for model in range(len(errors)):
        others = slice(model + 1, None)
        total += np.sign(losses[:, others] - losses[:, [model]]) @ np.sign(errors[others] - errors[model])  # whole numbers: exact
    return total * _per_pair(errors)


def spearman(losses: Floats, errors: Floats) -> Floats:
    """Return Spearman's rank correlation of losses with errors, with average ranks for ties; 0 where all losses are equal."""
    middle = (len(errors) + 1) / 2
    ours, theirs = _ranks(losses) - middle, _ranks(errors[None])[0] - middle
    spread = np.sqrt(_sum_over_models(ours**2, np.ones(len(errors))) * (theirs**2).sum())
    return np.asarray(np.divide(_sum_over_models(ours, theirs), spread, out=np.zeros(len(losses)), where=spread > 0), np.float64)


ESTIMATORS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "product": product,
    "sign": sign,
    "sign_cdf": sign_cdf,
    "sign_sign": sign_sign,
    "spearman": spearman,
}


def estimate(estimator: str, losses: Floats, errors: Floats) -> Floats:
    """Return a document's estimate, NaN where a loss is not finite."""
    found = np.full(len(losses), np.nan)
    known = np.isfinite(losses).all(axis=1)
    found[known] = ESTIMATORS[estimator](losses[known], errors)
    return found


def _sum_over_models(terms: Floats, factors: Floats) -> Floats:
    total = np.zeros(len(terms))
    for model, factor in enumerate(factors):
        total += terms[:, model] * factor
    return total


def _per_pair(errors: Floats) -> float:
    return 2.0 / (len(errors) * (len(errors) - 1))


def _wins(errors: Floats) -> Floats:
    """Return how many models each one is worse than, less how many it is better than.

    Sum over pairs of sign(y_g - y_k)(x_g - x_k) = sum over g of x_g × this, which saves going over pairs.
    """
    return np.asarray(np.sign(errors[:, None] - errors[None]).sum(axis=1), np.float64)


def _ranks(rows: Floats) -> Floats:
    """Return the ranks 1 … N within each row, the average where values tie."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    begins = np.ones(rows.shape, bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(rows.shape[1])
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    ends = np.ones(rows.shape, bool)
    ends[:, :-1] = begins[:, 1:]
    last = np.minimum.accumulate(np.where(ends, places, places[-1:])[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
