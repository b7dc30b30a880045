"""The gate: a corpus is published only if models that were trained on it are better than those trained on another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from curate import proofs
from curate.dataset import Dataset
from curate.errors import PipelineError
from curate.manifest import Kind
from curate.protocols import Judge
from curate.report.units import plural
from curate.work import Verdict, Work
from curate_scorers.proxy.compare_effects import BITS_PER_BYTE, LEAST_ITEMS, Comparison, compare, read_results, verify_corpora
from curate_scorers.proxy.statistics import Effect

SAID = {"better": "better than", "worse": "worse than", "cannot tell": "not told apart from"}


@dataclass(frozen=True)
class ProxyCompare(Judge):
    """Judges whether a corpus makes better models than others, by trials with several seeds.

    ## What it does
    Reads what `proxy_trials` measured and takes differences of the same seed and the same item under two corpora. The verdict looks
    at one number, bits per byte of texts and of right answers, mean over all sets: the candidate is better when the whole interval of
    the difference lies below 0, worse when it lies above, and else it cannot be told. The check passes when the upper end is at most
    `max_loss` against every other corpus; otherwise nothing is published, exit code 3. Each set and metric is shown with its own
    interval and p, and with a p corrected for how many there are, which alone calls it better or worse: they explain the verdict,
    they do not make it. Every judgement is kept in the workspace under `proofs/`, and `curate proofs` lists them.

    ## Why
    The interval counts seeds and items as samples, so that the verdict is about other seeds and other items too. Against several
    corpora at once each interval is as much wider as makes all of them true together (Bonferroni), and corrected p are as much larger.
    Judging the same trials again under other names until one passes is not corrected for. Every set, a source or a group of one, weighs
    the same whatever its size, so that a noisy one drowns the others: bits per byte of answers of a digit or two vary by whole bits.
    Leave sets with such answers or with few items out of the trials, or join them in a source without `by`; sets and metrics of fewer
    than five items count for nothing.

    ## Example
        checks:
          better_than_raw:
            use: proxy_compare
            from: trials
            params: {candidate: packed_clean, against: [packed_raw]}

    ## Parameters
    - `candidate`: the corpus to be published, by the name of its packed stage.
    - `against`: what it is compared with; empty = all other corpora of the trials.
    - `max_loss`: bits per byte that it may be worse by, at the upper end of the interval; 0 = it must be better.
    - `confidence`: of the intervals, all of them together.

    ## Source
    Decision by intervals over seeds: Magnusson et al., *DataDecide* (2025); Holm, *A Simple Sequentially Rejective Multiple Test
    Procedure* (1979). The two-way interval is in `statistics`.
    """

    candidate: str
    against: tuple[str, ...] = ()
    max_loss: float = 0.0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise PipelineError(f"proxy_compare: confidence is not from 0.5 to below 1: {self.confidence}", "0.95 is usual")
        if self.max_loss < 0:
            raise PipelineError(f"proxy_compare: max_loss is negative: {self.max_loss}", "0 = the candidate must be better")
        if self.candidate in self.against:
            raise PipelineError(f"proxy_compare: `{self.candidate}` is compared with itself", "leave it out of `against`")

    def verify_lineage(self, sources: Mapping[str, Kind], made_of: Mapping[str, Mapping[str, Kind]]) -> None:
        """Raise `PipelineError` for what holds no trials, and for a corpus that was not tried: hours before the judgement."""
        if list(sources.values()) != ["artifact"]:
            told = ", ".join(f"`{name}` ({kind})" for name, kind in sources.items())
            raise PipelineError(f"proxy_compare judges the trials of one stage, not {told}", "`from:` the stage that uses `proxy_trials`")
        for corpora in made_of.values():
            for name in (self.candidate, *self.against):
                if corpora.get(name) != "artifact":
                    known = ", ".join(corpus for corpus, kind in corpora.items() if kind == "artifact") or "none"
                    raise PipelineError(f"proxy_compare: the trials have no corpus `{name}`", f"their corpora are: {known}")

    def judge(self, inputs: list[Dataset], work: Work) -> Verdict:
        [trials] = inputs
        results = read_results(trials)
        others = list(self.against) or [name for name in trials.manifest.about["corpora"] if name != self.candidate]
        verify_corpora(results, [self.candidate, *others])
        found = {other: compare(results, self.candidate, other, self.confidence, len(others)) for other in others}
        passed = all(each.overall.high < 0 or 0 < self.max_loss >= each.overall.high for each in found.values())
        told = [self._said(other, each.overall, 1 - (1 - self.confidence) / len(others)) for other, each in found.items()]
        small = results.too_small()
        counts = f"{plural(len(results.models(self.candidate)), 'seed')}, {plural(len(results.sets) - len(small), 'set')}"
        counts += f"; left out for fewer than {LEAST_ITEMS} items: {', '.join(f'`{name}`' for name in small)}" if small else ""
        verdict = Verdict(passed, f"{'; '.join(told)} ({counts})", self._table(found))
        proofs.keep(work, verdict, [trials], self._entry(trials, found))
        return verdict

    def _said(self, other: str, overall: Effect, confidence: float) -> str:
        bits = f"{overall.difference:+.4f} bits per byte"
        interval = f"{100 * confidence:.4g} % interval {overall.low:+.4f} to {overall.high:+.4f}"
        return f"{self.candidate} is {SAID[overall.answer()]} {other}: {bits}, {interval}"

    def _entry(self, trials: Dataset, found: Mapping[str, Comparison]) -> dict[str, Any]:
        """Return what the ledger keeps beside the verdict."""
        about = trials.manifest.about
        comparisons = {other: asdict(each.overall) | {"answer": each.overall.answer()} for other, each in found.items()}
        settings = {"max_loss": self.max_loss, "confidence": self.confidence}
        same = ("corpora", "recipe", "trials")
        return {"candidate": self.candidate, "against": comparisons, **settings, **{key: about[key] for key in same}}

    def _table(self, found: Mapping[str, Comparison]) -> dict[str, dict[str, Any]]:
        """Return the rows of the report's table: over all sets first, then each metric of each set."""
        return dict(row for other, comparison in found.items() for row in self._rows(other, comparison, len(found)))

    def _rows(self, other: str, found: Comparison, comparisons: int) -> Iterator[tuple[str, dict[str, Any]]]:
        yield f"against {other}", _row(found.overall, min(1.0, comparisons * found.overall.p), found.overall.answer())
        for (name, metric), single in found.single.items():
            corrected = min(1.0, comparisons * found.adjusted[name, metric])
            answer = single.answer(metric == BITS_PER_BYTE) if corrected < 1 - self.confidence else "cannot tell"
            yield f"against {other}: {name}, {metric}", _row(single, corrected, answer)


def _row(shown: Effect, corrected: float, answer: str) -> dict[str, Any]:
    numbers = {"difference": shown.difference, "low": shown.low, "high": shown.high, "p": shown.p, "corrected p": corrected}
    return {name: float(f"{value:.4g}") for name, value in numbers.items()} | {"answer": answer}
