"""Trains a fastText classifier from one's own documents, judges it on documents held out, and keeps the model as an artifact.

Five phases. `count` reads each shard's labels; `limits` finds which documents a cap chooses; `prepare` sends them, cleaned, through the
shuffle into an order by hash; `train` writes them to one machine's disk and trains; shards are then the held-out documents with their
scores, and `evaluate` reads those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate import shuffle
from curate.dataset import Dataset, resolve
from curate.document import TEXT
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator, Reproducible
from curate.report.units import plural
from curate.shuffle import ShuffleFile
from curate.work import Verdict, Work
from curate_scorers import fasttext_training_quality as quality
from curate_scorers import fasttext_training_run as training
from curate_scorers import fasttext_training_text as text
from curate_scorers.fasttext_training_text import Item

SHOWN = 20  # labels in a table
KINDS = "`from: [wanted, crawl]`"


@dataclass(frozen=True)
class TrainFastText(DatasetOperator):
    """Trains a fastText classifier and measures it on documents that it has not seen.

    ## What it does
    Without `label`, a document's label is the name of the source that it comes from: `from: [wanted, crawl]`. With `label`, a column
    has it; null = not used. A share of the documents, `held_out`, is not trained on. The artifact has the model as a file
    (`model.bin`, or `model.ftz` when quantised) and, as its rows, the held-out documents with `label`, `likeliest` label and `score`,
    the probability of `positive`. Notes tell AUC and calibration on them, and the words that decide; `about` in the manifest has the
    fingerprint of the training text. Text is cleaned as the scorer `fasttext` reads it: white space is a space, `</s>` and words
    that begin with `__label__` are left out. Nothing depends on workers or shards; with one thread the model is the same to the byte.

    ## Why
    DCLM's and PreSelect's filters are this classifier: wanted documents against the crawl. Trained on one's own data it fits
    one's own crawl, and held-out documents say how well before anything is thrown away.

    ## Example
        quality:
          from: [wanted, crawl]
          use: train_fasttext
          params: {balance: true, word_ngrams: 2}
        scored:
          from: crawl
          operators:
            - use: fasttext
              into: quality
              params: {model: "stage:quality", label: wanted}

    ## Parameters
    - `label`: the column of labels (strings, whole numbers, true and false); null = the names of the sources.
    - `labels`: what to call them, `{source or value: label}`; what is not listed is not used; empty = as they are.
    - `positive`: the label whose probability is the score; null = that of the first source, or the last by name.
    - `held_out`: share of the documents to judge by, from 0 up to 1.
    - `split_by`: documents with the same value are never on both sides; `text` = copies of a text.
    - `max_per_label`: use at most so many documents of a label, chosen by the hash of their id.
    - `balance`: use as many of each label as there are of the rarest.
    - `dim`, `epoch`, `lr`, `loss`, `word_ngrams`, `min_count`, `minn`, `maxn`, `bucket`: as fastText calls them; its defaults.
    - `zero_eos`: set the weights of `</s>` to zero after training: every text has one, so that it weighs more in short ones. In a
      quantised model they are as near to zero as its centroids are.
    - `quantise`: make a `.ftz` file, a tenth as large or less; `cutoff`: keep only so many rows, those of the greatest norm; 0 = all.
    - `threads`: more than one is faster, and no two trainings are equal.
    - `seed`: of the random numbers, from 1.

    ## Source
    Joulin et al., *Bag of Tricks for Efficient Text Classification* (2016); `zero_eos` and the words: Shum et al., *PreSelect* (2025).
    """

    version: ClassVar[int] = 1
    reproducible: ClassVar[Reproducible] = "cached"
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    label: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    positive: str | None = None
    held_out: float = 0.1
    split_by: str = TEXT
    max_per_label: int | None = None
    balance: bool = False
    dim: int = 100
    epoch: int = 5
    lr: float = 0.1
    loss: Literal["softmax", "ns", "hs", "ova"] = "softmax"
    word_ngrams: int = 1
    min_count: int = 1
    minn: int = 0
    maxn: int = 0
    bucket: int = 2_000_000
    zero_eos: bool = False
    quantise: bool = False
    cutoff: int = 0
    threads: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise PipelineError(f"held_out is not from 0 up to 1: {self.held_out}", "0.1 keeps a tenth to judge by")
        for name in ("max_per_label", "dim", "epoch", "word_ngrams", "threads", "seed"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise PipelineError(f"{name} is less than 1: {getattr(self, name)}")
        for name in ("lr", "min_count", "minn", "maxn", "bucket", "cutoff"):
            if getattr(self, name) < 0:
                raise PipelineError(f"{name} is less than 0: {getattr(self, name)}")
        if self.cutoff and not self.quantise:
            raise PipelineError("cutoff prunes quantised models only", "add `quantise: true`")
        if (self.word_ngrams > 1 or self.maxn) and not self.bucket:
            raise PipelineError("bucket is 0, and word n-grams and parts of words are hashed into it", "leave `bucket` out")

    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([TEXT, self.split_by, *([self.label] if self.label else [])]))

    def verify(self, schema: pa.Schema) -> None:
        if self.label and self.label in schema.names:
            text.check_type(self.label, schema.field(self.label).type)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        """Raise `PipelineError` for what is no documents, and when sources are the labels, for one alone or not those that are named."""
        if odd := [name for name, kind in sources.items() if kind != "documents"]:
            hint = f"make documents of both first: `from: [DOCUMENTS, {odd[0]}]` with `operators`"
            raise PipelineError(f"train_fasttext reads documents, and `{odd[0]}` has none", hint)
        if self.label is not None:
            return
        if unknown := sorted(set(self.labels) - set(sources)):
            raise PipelineError(f"labels: `{unknown[0]}` is no source of this stage", f"its sources are: {', '.join(sources)}")
        labels = set(self._named(sources).values())
        if len(labels) < 2:
            told = f"all documents have the label `{min(labels)}`"
            raise PipelineError(f"{told}, and a classifier tells two or more apart", f"name a source of another kind, {KINDS}")
        if self.positive is not None and self.positive not in labels:
            raise PipelineError(f"positive: no source has the label `{self.positive}`", f"labels are: {', '.join(sorted(labels))}")

    def _named(self, sources: Iterable[str]) -> dict[str, str]:
        """Return the label of each source that is used."""
        return {source: self.labels.get(source, source) for source in sources if not self.labels or source in self.labels}

    def adds(self) -> Mapping[str, pa.DataType]:
        return quality.SCORED

    def run(self, inputs: list[Dataset], work: Work) -> None:
        training.require_fasttext()
        items, sizes = self._items(inputs)
        counted = work.map("count", text.count_shard, items, sizes)
        counts = self._counts(counted)
        positive = self._positive(inputs, counts)
        limits = self._limits(counts, counted, work)
        share = {label: min(1.0, self._most(counts) / count["documents"]) for label, count in counts.items()}
        used_bytes = int(sum(count["bytes"] * share[label] for label, count in counts.items()))
        partitions = shuffle.partitions_for(used_bytes, row_bytes=1)
        sent = work.map("prepare", text.prepare_shard, [item | {"limits": limits, "partitions": partitions} for item in items], sizes)
        parts = shuffle.ranges(work.storage, [ShuffleFile(**file) for file in sent])
        held_partitions = shuffle.partitions_for(round(used_bytes * self.held_out), row_bytes=1)
        task = {
            "parts": [[asdict(part) for part in group] for group in parts],
            "used": sorted(counts),
            "positive": positive,
            "held_partitions": held_partitions or 1,
            "options": self._options(),
            "zero_eos": self.zero_eos,
            "quantise": {"cutoff": self.cutoff} if self.quantise else None,
        }
        [made] = work.map("train", training.train_model, [task], [used_bytes])
        self._judge(made, positive, work)
        self._tell(made, counted, positive, work)

    def _items(self, inputs: Sequence[Dataset]) -> tuple[list[Item], list[int]]:
        """Return a task for each shard of every source, and their sizes."""
        kinds = {dataset.name: dataset.manifest.kind for dataset in inputs}
        self.verify_sources(kinds)
        named = self._named(kinds)
        shared = {
            "column": self.label,
            "labels": dict(self.labels),
            "split_by": self.split_by,
            "held_out": self.held_out,
            "capped": self.balance or self.max_per_label is not None,
        }
        items, sizes = [], []
        for dataset in inputs:
            if self.label is None and dataset.name not in named:
                continue
            for shard, receipt in enumerate(dataset.manifest.shards):
                items.append(shared | {"path": dataset.shard_path(shard), "label": named.get(dataset.name)})
                sizes.append(receipt.data.bytes)
        return items, sizes

    def _counts(self, counted: Sequence[Item]) -> dict[str, dict[str, int]]:
        """Return documents and bytes of each label; raise `OperatorError` when there is nothing to tell apart."""
        counts: dict[str, dict[str, int]] = {}
        for one in counted:
            for label, count in one["labels"].items():
                entry = counts.setdefault(label, {"documents": 0, "bytes": 0})
                for name in entry:
                    entry[name] += count[name]
        text.check_count(self.label, len(counts))
        left_out = ", ".join(f"{sum(one[kind] for one in counted):,} {kind}" for kind in ("unlabelled", "empty"))
        if not counts:
            raise OperatorError(f"train_fasttext: no documents to train on ({left_out})", "give documents that have a label and words")
        if len(counts) == 1:
            [(label, count)] = counts.items()
            hint = f"name a source or a column with documents of another kind, {KINDS}"
            raise OperatorError(f"train_fasttext: all {count['documents']:,} documents have the label `{label}` ({left_out})", hint)
        return dict(sorted(counts.items()))

    def _positive(self, inputs: Sequence[Dataset], counts: Mapping[str, Any]) -> str:
        first = max(counts) if self.label else next(iter([*self.labels.values()] or [inputs[0].name]))
        positive = self.positive or first
        if positive not in counts:
            raise OperatorError(f"train_fasttext: no document has the label `{positive}`", f"labels are: {', '.join(list(counts)[:SHOWN])}")
        return positive

    def _most(self, counts: Mapping[str, Mapping[str, int]]) -> int:
        """Return how many documents of a label are used at most."""
        documents = [count["documents"] for count in counts.values()]
        most = min(documents) if self.balance else max(documents)
        return min(most, self.max_per_label or most)

    def _limits(self, counts: Mapping[str, Mapping[str, int]], counted: Sequence[Item], work: Work) -> dict[str, int]:
        """Return the highest hash of the documents that are chosen, for labels that have more than are used."""
        most = self._most(counts)
        wanted = {label: most for label, count in counts.items() if count["documents"] > most}
        if not wanted:
            return {}
        [limits] = work.map("limits", text.find_limits, [{"wanted": wanted, "choices": [one["choices"] for one in counted]}])
        return dict(limits)

    def _options(self) -> dict[str, Any]:
        """Return the official library's arguments."""
        same = ("dim", "epoch", "lr", "loss", "minn", "maxn", "bucket", "seed")
        renamed = {"wordNgrams": self.word_ngrams, "minCount": self.min_count, "thread": self.threads}
        return {name: getattr(self, name) for name in same} | renamed

    def _judge(self, made: Item, positive: str, work: Work) -> None:
        """Write the held-out documents with their scores, measure, and note."""
        parts = shuffle.ranges(work.storage, [ShuffleFile(**made["held"])])
        shared = {"model": made["path"], "positive": positive}
        work.write_shards(quality.score_shard, [shared | {"parts": [asdict(part) for part in group]} for group in parts])
        work.write_file(made["model"]["file"], made["path"])
        shards = [resolve(work.folder, receipt.data) for receipt in work.receipts]
        [found] = work.map("evaluate", quality.evaluate, [shared | {"shards": shards}])
        for name, verdict in quality.verdicts(found, positive):
            work.note(name, verdict)
        work.about = {"measures": found["measured"]}

    def _tell(self, made: Item, counted: Sequence[Item], positive: str, work: Work) -> None:
        trained, held = made["training_set"]["documents"], made["held_documents"]
        sizes = {label: {"trained on": trained.get(label, 0), "held out": held.get(label, 0)} for label in sorted(trained | held)}
        rows = dict(sorted(sizes.items(), key=lambda entry: -entry[1]["trained on"])[:SHOWN])
        unused = {kind: sum(one[kind] for one in counted) for kind in ("unlabelled", "empty")}
        message = f"trained on {plural(sum(trained.values()), 'document')} of {plural(len(trained), 'label')}"
        work.note("labels", Verdict(True, f"{message}; {unused['unlabelled']:,} had no label, {unused['empty']:,} no words", rows))
        named = {"operator": "train_fasttext", "labels": list(trained), "positive": positive, "model": made["model"]}
        work.about = {**named, "training_set": made["training_set"], **work.about}
