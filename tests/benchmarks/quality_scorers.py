"""`python -m tests.benchmarks.quality_scorers [--write]`: classifiers on labels that they were never trained on.

Each set is cut in halves by a hash of the text, and everything is judged on one half. Classifiers are trained on other data:
`instructions` on an instruction set against web pages (DCLM's way), `prose` on encyclopaedia, abstracts and books against the same, and
`strength` by the recipe of PreSelect, on those of a crawl's documents on which good small models do better than bad ones against those on
which they do worse; twice, by models of different mixtures. Their direction is fixed beforehand. Two baselines see no words or no labels: the length of a text, and how frequent
its words are on average (mean log probability of a word in the prose). A baseline may point either way, as the other half says.
A classifier beats them where the bootstrap interval of its AUC less that of the better baseline, on the same resamples, lies above zero.
`own half` is trained on the other half's labels: no contender, but what a linear model can do there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset
from curate_scorers.fasttext_training_quality import auc, interval
from curate_scorers.fasttext_training_text import clean
from tests.benchmarks import quality_scorers_models as models
from tests.benchmarks import quality_scorers_sets as sets
from tests.benchmarks import readme
from tests.benchmarks.quality_scorers_models import WANTED, Floats
from tests.benchmarks.quality_scorers_sets import Labelled

NAME = "quality of scorers"
RESAMPLES = 1000
SEEDS = {"strength 1": 1, "strength 2": 2}  # of the families of small models
CLASSIFIERS = ("instructions", "prose", *SEEDS)
BASELINES = ("length", "frequency")
CEILING = "own half"

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Classifiers = Mapping[str, tuple[Dataset, str]]  # the model, and the label that means good


@dataclass(frozen=True)
class Judged:
    """The half of a set that is judged: who is good, and the scores of everyone."""

    name: str
    good: Bools
    scores: Mapping[str, Floats]

    def auc(self, who: str) -> float:
        """Return an AUC."""
        return auc(self.good, self.scores[who])

    def best_baseline(self) -> str:
        """Return the baseline that is better on this very half, which is in its favour."""
        return max(BASELINES, key=self.auc)

    def margin(self, who: str) -> tuple[float, float]:
        """Return the bootstrap interval of how much better a classifier is than the better baseline, both on the same resamples."""
        ranks = [np.unique(self.scores[one], return_inverse=True)[1] for one in (who, self.best_baseline())]
        kinds, draw = (np.flatnonzero(self.good), np.flatnonzero(~self.good)), np.random.default_rng(1)
        gains = []
        for _ in range(RESAMPLES):
            rows = np.concatenate([kind[draw.integers(0, len(kind), len(kind))] for kind in kinds])
            one, other = (auc(self.good[rows], rank[rows]) for rank in ranks)
            gains.append(one - other)
        low, high = np.quantile(gains, [0.025, 0.975]).tolist()
        return low, high


def judge(labelled: Labelled, classifiers: Classifiers, mean_log: Callable[[str], float], work: Path) -> Judged:
    """Train on one half of a set, and score the other with everything."""
    rows = sets.labelled(labelled)
    own = models.train(work, {kind: [text for text, good in rows if good == (kind == "good")] for kind in ("good", "bad")}, held_out=0.5)
    held = [row for batch in own.batches(["text", "label", "score"]) for row in batch.to_pylist()]
    texts, good = [row["text"] for row in held], np.array([row["label"] == "good" for row in held])
    scores = {name: models.scored(model, label, texts) for name, (model, label) in classifiers.items()}
    scores[CEILING] = np.array([row["score"] or 0.0 for row in held])
    fitted = _rest(rows, texts)
    for name, measure in (("length", len), ("frequency", mean_log)):
        scores[name] = np.array([measure(text) for text in texts], np.float64) * direction(measure, fitted)
    return Judged(labelled.name, good, scores)


def _rest(rows: Sequence[tuple[str, bool]], judged: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the half that is not judged; `train_fasttext` gives texts back as it cleaned them."""
    cleaned, taken = clean(pa.array([text for text, _ in rows])).to_pylist(), set(judged)
    return [(text, good) for text, (_, good) in zip(cleaned, rows, strict=True) if text not in taken]


def direction(measure: Callable[[str], float], fitted: Sequence[tuple[str, bool]]) -> int:
    """Return 1 if good texts have more of a measure than bad ones, else -1."""
    good = np.array([good for _, good in fitted])
    return 1 if auc(good, np.array([measure(text) for text, _ in fitted], np.float64)) >= 0.5 else -1


def table(found: Sequence[Judged]) -> str:
    """Return AUCs with their intervals, a line per set, and what to make of them."""
    head = ["set", "texts", "good", *BASELINES, *(f"`{who}`" for who in CLASSIFIERS), CEILING]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one in found:
        cells = [_cell(one, who) for who in (*BASELINES, *CLASSIFIERS, CEILING)]
        lines.append(f"| {one.name} | {len(one.good):,} | {one.good.mean():.0%} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *plainly(found)])


def _cell(one: Judged, who: str) -> str:
    low, high = interval(one.good, one.scores[who])
    return f"{one.auc(who):.3f} ({low:.3f}–{high:.3f})"


def plainly(found: Sequence[Judged]) -> list[str]:
    """Return a line for each classifier: on which sets it beats both baselines, on which neither way is sure, on which it is worse."""
    lines = ["Beside the better of the two baselines, by intervals of the difference:"]
    for who in (*CLASSIFIERS, CEILING):
        groups: dict[str, list[str]] = {"better on": [], "not told apart on": [], "worse on": []}
        for one in found:
            low, high = one.margin(who)
            groups["better on" if low > 0 else "worse on" if high < 0 else "not told apart on"].append(one.name)
        told = [f"{how} {len(names)} of {len(found)} sets: {', '.join(names)}" for how, names in groups.items() if names]
        lines.append(f"- `{who}` is {'; '.join(told)}.")
    return lines


def report(work: Path) -> str:
    """Train, judge, and return the table."""
    trained = sets.wanted_and_web()
    found: dict[str, tuple[Dataset, str]] = {
        name: (models.train(work / name, sources, balance=True), WANTED) for name, sources in trained.items()
    }
    groups = sets.family_and_crawl()
    strengths = {name: models.strength_classifier(work / name.replace(" ", ""), seed, groups) for name, seed in SEEDS.items()}
    found |= {name: (made["classifier"], "1") for name, made in strengths.items()}
    told = [f"- `{name}`: {_documents(model, label)}." for name, (model, label) in found.items()]
    told += [family(name, made) for name, made in strengths.items()]
    mean_log = models.frequencies(trained["prose"][WANTED])
    judged = [judge(one, found, mean_log, work / f"own{number}") for number, one in enumerate(sets.SETS)]
    return "\n".join(["Trained on other data:\n", *told, "\nAUC (95 % bootstrap interval):\n", table(judged)])


def _documents(model: Dataset, label: str) -> str:
    counts: Mapping[str, int] = model.manifest.about["training_set"]["documents"]
    measures: Mapping[str, float] = model.manifest.about["measures"]
    others = sum(counts.values()) - counts[label]
    return f"{counts[label]:,} good and {others:,} bad documents, AUC on those held out {measures['auc']:.3f}"


def family(name: str, strength: Mapping[str, Any]) -> str:
    """Say what the small models are, and of which groups the documents are that they chose."""
    made = strength["family"]["models"]
    means = ", ".join(f"{-np.mean(list(model['scores'].values())):.3f}" for model in made)
    good, bad = (_most(strength[side]) for side in ("teaches", "teaches_not"))
    return (
        f"- The {len(made)} models of `{name}`: {made[0]['parameters']:,} parameters, {made[0]['tokens']:,} tokens, different mixtures; "
        f"{means} bits per byte of the benchmarks. Good documents are of {good}; bad ones of {bad}."
    )


def _most(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count / counts.total():.0%}" for name, count in counts.most_common(4))


def main() -> None:
    """Print the table, and on request write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    needed = dict.fromkeys([*sets.TRAINED_ON, *(labelled.folder for labelled in sets.SETS)])
    if absent := [name for name in needed if not (sets.DATA / name).is_dir()]:
        sys.exit(f"no {', '.join(absent)} in {sets.DATA} (set CURATE_TEST_DATA)")
    with tempfile.TemporaryDirectory() as folder:
        told = report(Path(folder))
    print(told)
    if chosen.write:
        readme.write(NAME, told)


if __name__ == "__main__":
    main()
