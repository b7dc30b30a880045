"""Measures causal language models on text held out and on questions; rows and columns: `evaluate_results`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate.dataset import Dataset, resolve
from curate.errors import PipelineError
from curate.files import local_folder
from curate.manifest import Kind
from curate.protocols import Cost, DatasetOperator, Reproducible
from curate.report.units import plural
from curate.work import Place, Verdict, Work
from curate_scorers.lm_loss_folder import check_folder
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy import evaluate_sets as sets
from curate_scorers.proxy.evaluate_checkpoints import averaged, checkpoints, models_of
from curate_scorers.proxy.evaluate_sets import Item
from curate_scorers.proxy.pack import FIELDS
from curate_scorers.torch_models import Device, Dtype

CONFIG = "config.json"
HINT = "`from:` documents, and stages that make a model, such as `train_proxy`"
NAMED = "model"  # what the model of the parameter `model` is called


@dataclass(frozen=True)
class EvaluateProxy(DatasetOperator):
    """Measures language models in bits per byte of text held out, and by the probability of right answers to questions.

    ## What it does
    Reads the documents in `from`, text held out or questions, and measures them by every model: the one that `model` names, and each
    artifact in `from`, such as what `train_proxy` makes. Rows are items under models with bits, bytes and tokens; of questions, also
    how probable the right answer is, per byte and beside the wrong ones, and whether it wins: raw, per byte and per token. Notes and
    `about` in the manifest hold the means of each set. Text is read whole, in windows; answers behind their questions, both as they
    stand. Of a model with snapshots (`train_proxy` keeps them) an item's measure is the mean over its last checkpoints; how much a
    set's bits per byte differ between these is its `noise`, and the spread over several models is its signal: which sets tell models
    apart. All sets and models are looked at before anything is measured.

    ## Why
    Bits per byte and the probability of right answers tell small models apart long before accuracy leaves chance.

    ## Example
        measured:
          from: [held_out, questions]
          use: evaluate_proxy
          params: {model: "stage:trained", questions: [questions], by: {held_out: domain, questions: benchmark}}

    ## Parameters
    - `model`: folder of a Hugging Face model and its tokenizer, weights in safetensors; or `stage:NAME`.
    - `questions`: the sources that are questions: columns `text`, `choices` and `gold`, or `answer`, or `bad` (minimal pairs).
    - `by`: the column that says which set a row is of, by source: `{held_out: domain}`; else a source is one set.
    - `max_items`: no more items of each set than this, chosen by the hash of their ids.
    - `checkpoints`: how many of a model's last checkpoints to average, if it has snapshots; 1 = the model as it is at the end.
    - `device`: `auto` is a GPU where there is one.
    - `dtype`: `auto` is float32 on a CPU and bfloat16 on a GPU; log-probabilities are float32 always.

    ## Source
    Magnusson et al., *DataDecide* (2025); Heineman et al., *Signal and Noise* (2025). Tokens of answers as in lm-evaluation-harness.
    """

    version: ClassVar[int] = 3
    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Cost] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    files: ClassVar[tuple[str, ...]] = ("model",)
    folders: ClassVar[tuple[str, ...]] = ("model",)

    model: str | None = None
    questions: tuple[str, ...] = ()
    by: Mapping[str, str] = field(default_factory=dict, hash=False)
    max_items: int | None = None
    checkpoints: int = 5
    device: Device = "auto"
    dtype: Dtype = "auto"

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise PipelineError(f"evaluate_proxy: max_items is less than 1: {self.max_items}")
        if self.checkpoints < 1:
            raise PipelineError(f"evaluate_proxy: checkpoints is less than 1: {self.checkpoints}", "1 = the model as it is at the end")

    def reads_of(self, number: int, name: str) -> tuple[str, ...]:
        return sets.columns_read(name, self.by)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        sets.verify_sets("evaluate_proxy", sources, self.questions, self.by)
        if self.model is None and "artifact" not in sources.values():
            raise PipelineError("evaluate_proxy: there is no model to measure", 'name its folder, or `model: "stage:NAME"`')

    def verify_tables(self, tables: Mapping[str, pa.Schema]) -> None:
        for name, schema in tables.items():
            if set(FIELDS) <= set(schema.names):
                raise PipelineError(f"evaluate_proxy: `{name}` is a packed corpus, and no model", HINT)

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        for artifact in artifacts:
            if not any(file.name.rpartition("/")[2] == CONFIG for file in artifact.manifest.files):
                raise PipelineError(f"evaluate_proxy: `{artifact.name}` is no model: it has no {CONFIG}", HINT)

    def verify_file(self, parameter: str, path: Path) -> None:
        check_folder(path)

    def adds(self) -> Mapping[str, pa.DataType]:
        return results.FIELDS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        models = self._models(inputs)
        weights = work.map("models", look_at_model, [{"folder": folder, "most": self.checkpoints} for folder in models.values()])
        items, sizes = sets.set_items(work, inputs, self.questions, self.by, self.max_items)
        shared = {"device": self.device, "dtype": self.dtype}
        named = [{"model": name, "folder": folder, "weights": own} for (name, folder), own in zip(models.items(), weights, strict=True)]
        work.write_shards(measure_shard, [item | shared | model for model in named for item in items], sizes * len(models), listen=True)
        shards = [resolve(work.folder, receipt.data) for receipt in work.receipts]
        [found] = work.map("means", results.means, [{"shards": shards}])
        self._tell(found, models, dict(zip(models, map(len, weights), strict=True)), work)
        work.about = {"operator": "evaluate_proxy", "models": found}

    def _models(self, inputs: Sequence[Dataset]) -> dict[str, str]:
        """Return the name and the folder of each model."""
        named = {NAMED: self.model} if self.model is not None else {}
        return named | {dataset.name: dataset.url for dataset in inputs if dataset.manifest.kind == "artifact"}

    def _tell(self, found: Mapping[str, Any], folders: Mapping[str, str], checkpoints: Mapping[str, int], work: Work) -> None:
        """Note the means of each set, and whether a model was measured under two names."""
        rows = results.table(found, list(folders))
        message = f"{plural(len(rows), 'set')} measured by {plural(len(folders), 'model')}"
        several = [f"{count} of {name}" for name, count in checkpoints.items() if count > 1]
        message += f"; means over the last checkpoints: {', '.join(several)}" if several else ""
        work.note("measures", Verdict(True, message, rows))
        if twice := [name for name, folder in folders.items() if name != NAMED and folder == folders.get(NAMED)]:
            message = f"`{twice[0]}` in `from` is what `model` names too: measured twice; leave one of them out"
            work.note("twice", Verdict(False, message))


def look_at_model(item: Item, place: Place) -> list[str]:
    """Return the files of weights that are measured, oldest first; raise `OperatorError` for a folder that holds no language model."""
    folder = local_folder(item["folder"])
    check_folder(folder)
    return checkpoints(path.name for path in folder.iterdir())[-item["most"] :]


def measure_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the results of one model on one shard."""
    models = models_of(str(local_folder(item["folder"])), tuple(item["weights"]), item["device"], item["dtype"])
    yield from averaged(models, item["model"], item, place)
