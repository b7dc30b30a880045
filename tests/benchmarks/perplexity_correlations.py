"""`python -m tests.benchmarks.perplexity_correlations [--write]`: do the chosen documents rank models better than all documents do?

The authors' table has the losses of 90 models of 40 families on 263 documents, and their errors on nine benchmarks. Each family is
left out in turn: the others say which tenth of the documents to take, and the left-out models are ranked by their mean loss on it. All
such predictions together are compared with the true errors (Spearman's correlation), beside those of the mean loss on all
documents. Intervals are 95 %, of the difference, from samples of families drawn with replacement.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate_scorers.correlations import estimate, spearman
from curate_scorers.correlations_projection import Floats, l2, linear
from tests.benchmarks import readme
from tests.benchmarks.fidelity_corpus import DATA

FOLDER = DATA / "models_and_tables" / "perplexity_correlations"
NAME = "perplexity correlations"
TAKEN = 0.1
SAMPLES = 2000
RANDOM_TENTHS = 50

Weigh = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Models:
    """Losses (documents × models, bits per byte), errors by benchmark, and the number of each model's family."""

    losses: Floats
    errors: dict[str, Floats]
    families: npt.NDArray[np.int64]


def read(folder: Path = FOLDER) -> Models:
    """Return the table with the models in one order."""
    names, losses = _table(folder / "chunked_synthetic_sample_bpb_id.csv.zst")
    others, errors = _table(folder / "error.csv.zst")
    order = [others.index(name) for name in names]
    family = [name.split("'")[1] for name in names]  # the columns are called ('family', 'organisation/model')
    known = sorted(set(family))
    by_benchmark = {benchmark: row[order] for benchmark, row in errors.items()}
    return Models(np.stack(list(losses.values())), by_benchmark, np.array([known.index(one) for one in family]))


def _table(path: Path) -> tuple[list[str], dict[str, Floats]]:
    with pa.input_stream(str(path), compression="zstd") as stream:
        head, *rows = csv.reader(io.StringIO(stream.read().decode()))
    return head[1:], {name: np.array([float(value) for value in values]) for name, *values in rows}


def weigh_by(estimator: str, projection: Callable[[Floats, Floats], Floats]) -> Weigh:
    """Return what gives the documents' shares: one estimator and projection, each document as long as another."""

    def weigh(losses: Floats, errors: Floats) -> Floats:
        return projection(estimate(estimator, losses, errors - errors.mean()), np.full(len(losses), 1 / (TAKEN * len(losses))))

    return weigh


WAYS: dict[str, Weigh] = {
    "`spearman`, `sign_cdf`": weigh_by("spearman", linear),
    "`sign_sign`": weigh_by("sign_sign", linear),
    "`sign`": weigh_by("sign", linear),
    "`product`": weigh_by("product", linear),
    "`sign_cdf`, L2": weigh_by("sign_cdf", l2),
}


def predicted(models: Models, errors: Floats, weigh: Weigh) -> Floats:
    """Return each model's loss on the documents that the other families choose."""
    found = np.empty(len(errors))
    for family in np.unique(models.families):
        out = models.families == family
        found[out] = weigh(models.losses[:, ~out], errors[~out]) @ models.losses[:, out]
    return found


def tenths(models: Models) -> Iterator[Floats]:
    """Yield each model's loss on a random tenth of the documents, again and again."""
    dice = np.random.default_rng(1)
    size = round(TAKEN * len(models.losses))
    for _ in range(RANDOM_TENTHS):
        yield models.losses[dice.permutation(len(models.losses))[:size]].mean(axis=0)


def resampled(models: Models) -> list[npt.NDArray[np.int64]]:
    """Return the models of families drawn with replacement, as many families as there are."""
    dice = np.random.default_rng(2)
    members = [np.flatnonzero(models.families == family) for family in np.unique(models.families)]
    return [np.concatenate([members[k] for k in dice.integers(0, len(members), len(members))]) for _ in range(SAMPLES)]


def agreement(predictions: Floats, errors: Floats) -> Floats:
    """Return Spearman's correlation of each row of predictions with the errors."""
    return spearman(np.atleast_2d(predictions), errors)


def rows_of(models: Models) -> list[tuple[str, float, float, list[tuple[float, float, float]]]]:
    """Return for each benchmark the agreement of the mean loss, of random tenths, and the difference of each way with its interval."""
    drawn, found = resampled(models), []
    mean, random = models.losses.mean(axis=0), np.stack(list(tenths(models)))
    for benchmark, errors in models.errors.items():
        rows = np.stack([mean, *(predicted(models, errors, weigh) for weigh in WAYS.values())])
        told = agreement(rows, errors)
        samples = np.stack([agreement(rows[:, chosen], errors[chosen]) for chosen in drawn])
        low, high = np.quantile(samples[:, 1:] - samples[:, :1], [0.025, 0.975], axis=0)
        differences = [(float(a), float(b), float(c)) for a, b, c in zip(told[1:] - told[0], low, high, strict=True)]
        found.append((benchmark, float(told[0]), float(agreement(random, errors).mean()), differences))
    return found


def report(models: Models) -> str:
    """Return the table, and in a sentence for each way how often it is surely better and surely worse than the mean loss."""
    found = rows_of(models)
    head = ["benchmark", "mean loss", "random tenth", *WAYS]
    lines = [f"| {' | '.join(head)} |", f"| --- {'| ---: ' * (len(head) - 1)}|"]
    for benchmark, mean, random, differences in found:
        cells = [f"{difference:+.3f} ({low:+.3f} to {high:+.3f})" for difference, low, high in differences]
        lines.append(f"| {' | '.join([benchmark, f'{mean:.3f}', f'{random:.3f}', *cells])} |")
    return "\n".join([*lines, "", *(_verdict(way, [row[3][k] for row in found]) for k, way in enumerate(WAYS))])


def _verdict(way: str, differences: list[tuple[float, float, float]]) -> str:
    better, worse = sum(low > 0 for _, low, _ in differences), sum(high < 0 for _, _, high in differences)
    rest = len(differences) - better - worse
    return f"- {way}: better than the mean loss on {better} of {len(differences)} benchmarks, worse on {worse}, not told apart on {rest}."


def main() -> None:
    """Measure, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    if not FOLDER.is_dir():
        sys.exit(f"no {FOLDER} (set CURATE_TEST_DATA)")
    told = report(read())
    print(told)
    if chosen.write:
        readme.write(NAME, told)


if __name__ == "__main__":
    main()
