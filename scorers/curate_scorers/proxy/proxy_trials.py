"""Trains a proxy model on each of several corpora with each of several seeds, and measures them all on the same text and questions.

Rows and columns: `evaluate_results`; the model of a row is `CORPUS/SEED`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset, resolve
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import Cost, DatasetOperator, Operator, Reproducible
from curate.report.units import plural
from curate.work import Curve, Place, Verdict, Work
from curate_scorers.proxy import annealing
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy import evaluate_sets as sets
from curate_scorers.proxy.compare_cost import announced
from curate_scorers.proxy.evaluate_checkpoints import averaged, trained_models
from curate_scorers.proxy.evaluate_sets import Item
from curate_scorers.proxy.pack import FIELDS
from curate_scorers.proxy.packed import Packed, read_packed
from curate_scorers.proxy.recipe import Precision, Recipe
from curate_scorers.proxy.statistics import signal_to_noise
from curate_scorers.proxy.train_proxy import train_task, training

LEAST_SEEDS = 3
UNEVEN = 0.05  # by how much one corpus's models may read more than another's
PACKED = "name the stages that use `pack` in `from`"


@dataclass(frozen=True)
class ProxyTrials(DatasetOperator):
    """Trains small models on several corpora alike, several seeds each, and measures them on the same items.

    ## What it does
    Every artifact in `from` is a packed corpus; documents are text held out, or questions. Each corpus gets `seeds` models of one
    size, one budget of tokens and one tokenizer: the seed decides the first weights and the order of the rows, and with a budget
    smaller than the corpus also which of them are read. Each training is a task of its own, which goes on where it was killed, and
    as many run at a time as there are workers. What they will be measured on is read before any begins. All models are measured as by
    `evaluate_proxy`; with `snapshots` an item's measure is the mean over all kept checkpoints of a training. `proxy_compare` judges the
    result.

    ## Why
    One training of each corpus compares two draws of a lottery. The same seeds for each corpus, the same items, and the spread of
    both say what a difference is worth.

    ## Example
        trials:
          from: [packed_raw, packed_clean, held_out, questions]
          use: proxy_trials
          params: {size: 20M, tokens_per_parameter: 20, questions: [questions], by: {held_out: domain}}

    ## Parameters
    - `size`, `tokens`, `tokens_per_parameter`, `batch_tokens`, `micro_tokens`, `max_epochs`, `matrix_rate`, `other_rate`, `precision`:
      as `train_proxy` has them.
    - `seeds`: trainings of each corpus, three at least; five give an interval that is not much wider than more would.
    - `seed`: the first of them.
    - `snapshots`: also measure so many checkpoints in the decay, and average.
    - `anneal`: the folder of a proxy with `stable.safetensors` and the same tokenizer, `stage:NAME` or a path: each trial is only the
      decay from there, without a budget a fifth of the tokens that the base read. All trials then begin with one set of weights: the
      seed decides the order of the rows alone, and the spread over seeds says nothing of other weights.
    - `questions`, `by`, `max_items`: as `evaluate_proxy` has them.

    ## Source
    Magnusson et al., *DataDecide* (2025); Heineman et al., *Signal and Noise* (2025).
    """

    version: ClassVar[int] = 4
    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Cost] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    files: ClassVar[tuple[str, ...]] = ("anneal",)
    folders: ClassVar[tuple[str, ...]] = ("anneal",)

    size: str = "2M"
    tokens: int | None = None
    tokens_per_parameter: float | None = None
    batch_tokens: int | None = None
    micro_tokens: int | None = None
    max_epochs: float = 4
    matrix_rate: float = 0.02
    other_rate: float | None = None
    precision: Precision = "auto"
    seeds: int = 5
    seed: int = 1
    snapshots: int = 0
    anneal: str | None = None
    questions: tuple[str, ...] = ()
    by: Mapping[str, str] = field(default_factory=dict, hash=False)
    max_items: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < LEAST_SEEDS:
            raise PipelineError(
                f"proxy_trials: seeds is less than {LEAST_SEEDS}: {self.seeds}", "fewer say too little of the spread: five are usual"
            )
        if self.max_items is not None and self.max_items < 1:
            raise PipelineError(f"proxy_trials: max_items is less than 1: {self.max_items}")
        self._recipe(self.seed)

    def reads_of(self, number: int, name: str) -> tuple[str, ...]:
        return sets.columns_read(name, self.by)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        sets.verify_sets("proxy_trials", sources, self.questions, self.by)
        if sum(kind == "artifact" for kind in sources.values()) < 2:
            raise PipelineError("proxy_trials: it compares two packed corpora or more", PACKED)

    def verify_tables(self, tables: Mapping[str, pa.Schema]) -> None:
        for name, schema in tables.items():
            if not set(FIELDS) <= set(schema.names):
                raise PipelineError(f"proxy_trials: `{name}` is no packed corpus", PACKED)

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        self.verify_tables({artifact.name: artifact.schema for artifact in artifacts})

    def verify_file(self, parameter: str, path: Path) -> None:
        annealing.stable_file(str(path))

    def verify_stages(self, stages: Mapping[str, Sequence[Operator]]) -> None:
        annealing.verify_maker(self.anneal, stages)

    def announce(self, sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]) -> str:
        corpora = sum(kind == "artifact" for kind in sources.values())
        return announced(self._recipe(self.seed), self.anneal, corpora * self.seeds, sources, stages)

    def adds(self) -> Mapping[str, pa.DataType]:
        return results.FIELDS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        corpora = {dataset.name: dataset for dataset in inputs if dataset.manifest.kind == "artifact"}
        packed = {name: read_packed(dataset.url, _files(dataset)) for name, dataset in corpora.items()}
        self._verify_alike(packed)
        items, sizes = sets.set_items(work, inputs, self.questions, self.by, self.max_items)
        trials = {f"{name}/{seed}": self._trial(dataset, seed, work) for name, dataset in corpora.items() for seed in self._seeds}
        budgets = [packed[trial["corpus"]].tokens for trial in trials.values()]
        made = work.map("train", train_task, list(trials.values()), budgets, listen=True)
        tasks = [item | {"model": name, "files": one["files"]} for name, one in zip(trials, made, strict=True) for item in items]
        work.write_shards(measure_trial, tasks, sizes * len(trials), listen=True)
        [found] = work.map("means", results.means, [{"shards": [resolve(work.folder, receipt.data) for receipt in work.receipts]}])
        told = {
            name: {"corpus": trial["corpus"], "seed": trial["recipe"]["seed"]}
            | {key: one["about"][key] for key in ("tokens", "epochs", "loss")}
            for (name, trial), one in zip(trials.items(), made, strict=True)
        }
        work.about = {
            "operator": "proxy_trials",
            "corpora": {name: dataset.manifest.fingerprint for name, dataset in corpora.items()},
            "recipe": dataclasses.asdict(self._budgeted(self.seed)) | {"anneal": self.anneal is not None},
            "trials": told,
            "models": found,
        }
        _tell(found, told, work)
        _tell_losses(trials, made, work)

    @property
    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _recipe(self, seed: int) -> Recipe:
        same = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe) if hasattr(self, field.name)}
        return Recipe(**same | {"seed": seed})

    def _budgeted(self, seed: int) -> Recipe:
        """Return the recipe of a run, in which `anneal` is a folder."""
        return annealing.budgeted(self._recipe(seed), self.anneal)

    def _trial(self, dataset: Dataset, seed: int, work: Work) -> dict[str, Any]:
        """Return what `train_task` needs, and the corpus's name."""
        return training(dataset.url, _files(dataset), self._budgeted(seed), self.anneal, work) | {"corpus": dataset.name}

    def _verify_alike(self, packed: Mapping[str, Packed]) -> None:
        """Raise `OperatorError` unless the corpora are packed alike and large enough: models differ in their text alone."""
        kinds = {name: (each.vocabulary, each.length, each.tokenizer_digest) for name, each in packed.items()}
        first, *others = kinds
        annealing.verify_base(self.anneal, packed[first])
        for name in others:
            if kinds[name] != kinds[first]:
                hint = "`tokenize` and `pack` all corpora with one tokenizer and one length"
                raise OperatorError(f"proxy_trials: `{name}` and `{first}` are not packed alike", hint)
        read = {}
        for name, each in packed.items():
            try:
                read[name] = self._budgeted(self.seed).tokens_read(each)
            except OperatorError as error:
                raise OperatorError(f"corpus `{name}`: {error.message.removeprefix('train_proxy: ')}", error.hint) from error
        least, most = min(read, key=read.__getitem__), max(read, key=read.__getitem__)
        if read[most] > (1 + UNEVEN) * read[least]:
            told = f"models would read {read[most]:,} tokens of `{most}` and {read[least]:,} of `{least}`, which differ in padding"
            raise OperatorError(f"proxy_trials: {told}", "smaller steps come closer to the budget: lower `batch_tokens`, or raise `tokens`")


def _files(dataset: Dataset) -> list[str]:
    return [file.name for file in dataset.manifest.files]


def measure_trial(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the results of one trial on one shard."""
    yield from averaged(trained_models(tuple(sorted(item["files"].items())), place.storage.url), item["model"], item, place)


def _tell(found: Mapping[str, Any], trials: Mapping[str, Any], work: Work) -> None:
    """Note the means of each corpus on each set, and how often each corpus was read."""
    corpora = list(dict.fromkeys(trial["corpus"] for trial in trials.values()))
    of = {corpus: [name for name, trial in trials.items() if trial["corpus"] == corpus] for corpus in corpora}
    rows = {}
    for name in next(iter(found.values())):
        scores = [[found[model][name]["bits_per_byte"] for model in of[corpus]] for corpus in corpora]
        ratio = signal_to_noise(scores)
        means: dict[str, Any] = {corpus: round(float(np.mean(own)), 5) for corpus, own in zip(corpora, scores, strict=True)}
        rows[name] = means | {"signal to noise": None if ratio is None else round(ratio, 2)}
    seeds = len(trials) // len(corpora)
    message = f"bits per byte of {plural(len(rows), 'set')} after training on each of {len(corpora)} corpora"
    work.note("trials", Verdict(True, f"{message}, means of {plural(seeds, 'seed')}", rows))
    epochs = {corpus: trials[of[corpus][0]]["epochs"] for corpus in corpora}
    if max(epochs.values()) > 1:
        read = ", ".join(f"{corpus} {times:.2g} times" for corpus, times in epochs.items())
        message = f"the budget is larger than a corpus: {read}; repeated text teaches less, which is part of what is compared"
        work.note("epochs", Verdict(False, message))


def _tell_losses(trials: Mapping[str, Mapping[str, Any]], made: Sequence[Mapping[str, Any]], work: Work) -> None:
    """Note how the loss fell on each corpus, the mean of its seeds: on other text each, so that only shapes can be compared."""
    vocabulary = made[0]["about"]["vocabulary"]
    lines, rows = {}, {}
    for corpus in dict.fromkeys(trial["corpus"] for trial in trials.values()):
        own = [one for trial, one in zip(trials.values(), made, strict=True) if trial["corpus"] == corpus]
        means = np.mean([[point["loss"] for point in one["curve"]] for one in own], axis=0)
        lines[corpus] = [
            (point["tokens"], round(loss / math.log(vocabulary), 6)) for point, loss in zip(own[0]["curve"], means, strict=True)
        ]
        rows[corpus] = {
            "tokens": own[0]["about"]["tokens"],
            "loss at the end": round(float(np.mean([one["about"]["loss"] for one in own])), 4),
        }
    curve = Curve("tokens", f"loss / ln({vocabulary:,})", lines)
    work.note("losses", Verdict(True, "losses of the trainings, each on its own corpus, means of the seeds", rows, curve))
