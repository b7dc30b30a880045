"""Reads the results of trials and works out how two corpora differ, set by set, metric by metric, and over all sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset
from curate.errors import OperatorError
from curate_scorers.proxy.evaluate_results import ACCURACY, MARKS
from curate_scorers.proxy.statistics import Effect, effect, holm, ratio_differences

BITS_PER_BYTE = "bits_per_byte"
LEAST_ITEMS = 5  # of a set: how much fewer vary says nothing of others, and their intervals would miss zero too often
READ = ("model", "set", "item", "question", "bits", "bytes", *MARKS)


@dataclass(frozen=True)
class Results:
    """All rows of some trials: for each model and set, items in one order with their numbers."""

    trials: Mapping[str, Mapping[str, Any]]
    rows: Mapping[tuple[str, str], pa.Table]

    @property
    def sets(self) -> list[str]:
        """The names of the sets, in order."""
        return sorted({name for _, name in self.rows})

    def models(self, corpus: str) -> list[str]:
        """Return a corpus's models in the order of their seeds."""
        own = [name for name, trial in self.trials.items() if trial["corpus"] == corpus]
        return sorted(own, key=lambda name: int(self.trials[name]["seed"]))

    def numbers(self, corpus: str, name: str, column: str) -> Any:
        """Return a column of a set under all models of a corpus, seeds × items; NaN for null."""
        return np.stack([self.rows[model, name].column(column).to_numpy() for model in self.models(corpus)])

    def too_small(self) -> list[str]:
        """Return the sets of too few items to be judged by."""
        model = next(iter(self.trials))
        return [name for name in self.sets if len(self.rows[model, name]) < LEAST_ITEMS]

    def is_question(self, name: str) -> bool:
        """Tell whether a set is of questions."""
        model = next(iter(self.trials))
        return bool(self.rows[model, name].column("question")[0].as_py())


def read_results(dataset: Dataset) -> Results:
    """Read what `proxy_trials` left; raise `OperatorError` for another artifact."""
    about = dataset.manifest.about
    if about.get("operator") != "proxy_trials":
        raise OperatorError(f"proxy_compare: `{dataset.name}` holds no trials", "`from:` a stage that uses `proxy_trials`")
    whole = pa.Table.from_batches(list(dataset.batches(list(READ)))).sort_by(
        [("model", "ascending"), ("set", "ascending"), ("item", "ascending")]
    )
    models, sets = (np.array(whole.column(name).to_pylist()) for name in ("model", "set"))
    begins = np.flatnonzero(np.concatenate([[True], (models[1:] != models[:-1]) | (sets[1:] != sets[:-1])]))
    ends = np.append(begins[1:], len(models))
    rows = {(str(models[a]), str(sets[a])): whole.slice(a, b - a) for a, b in zip(begins.tolist(), ends.tolist(), strict=True)}
    return Results(about["trials"], rows)


@dataclass(frozen=True)
class Comparison:
    """How a corpus differs from another: over all sets, and each metric of each set by itself with Holm's p."""

    overall: Effect
    single: Mapping[tuple[str, str], Effect]
    adjusted: Mapping[tuple[str, str], float]


def compare(results: Results, candidate: str, baseline: str, confidence: float, comparisons: int = 1) -> Comparison:
    """Return the differences candidate − baseline; overall is the mean over sets of bits per byte.

    The interval of `overall` is as much wider as makes those of so many comparisons true together (Bonferroni). What has fewer than
    `LEAST_ITEMS` items is left out; raises `OperatorError` when nothing is left.
    """
    single, main = {}, []
    for name in results.sets:
        for metric, values in _metrics(results, name, candidate, baseline).items():
            if values.shape[1] < LEAST_ITEMS:
                continue
            single[name, metric] = effect([values], confidence)
            if metric == BITS_PER_BYTE:
                main.append(values)
    if not main:
        hint = "hold out more documents or questions, raise `max_items`, or join sets in a source without `by`"
        raise OperatorError(f"proxy_compare: no set has {LEAST_ITEMS} items, too few to judge by", hint)
    p = holm({f"{name}\n{metric}": each.p for (name, metric), each in single.items()})
    adjusted = {(name, metric): p[f"{name}\n{metric}"] for name, metric in single}
    return Comparison(effect(main, 1 - (1 - confidence) / comparisons), single, adjusted)


def _metrics(results: Results, name: str, candidate: str, baseline: str) -> dict[str, Any]:
    """Return the differences in each metric of a set, seeds × items."""
    ours, theirs = ({column: results.numbers(corpus, name, column) for column in READ[4:]} for corpus in (candidate, baseline))
    size = ours["bytes"][0]
    if not results.is_question(name):
        return {BITS_PER_BYTE: ratio_differences(ours["bits"], theirs["bits"], size)}
    found = {BITS_PER_BYTE: (ours["bits"] - theirs["bits"]) / size}
    for mark in MARKS:
        difference = ours[mark] - theirs[mark]
        there = ~np.isnan(difference).any(axis=0)
        if there.any():
            found[ACCURACY.get(mark, mark)] = difference[:, there]
    return found


def verify_corpora(results: Results, named: Sequence[str]) -> None:
    """Raise `OperatorError` for a name that is no corpus of the trials."""
    corpora = list(dict.fromkeys(trial["corpus"] for trial in results.trials.values()))
    if unknown := [name for name in named if name not in corpora]:
        raise OperatorError(f"proxy_compare: the trials have no corpus `{unknown[0]}`", f"their corpora are: {', '.join(corpora)}")
