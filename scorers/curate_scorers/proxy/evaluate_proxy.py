"""Measures causal language models on text held out and on questions; rows and columns: `evaluate_results`."""

from __future__ import annotations

import functools
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
from curate_scorers import lm_loss_model
from curate_scorers.lm_loss_folder import check_folder
from curate_scorers.lm_loss_model import LanguageModel
from curate_scorers.proxy import evaluate_results as results
from curate_scorers.proxy import evaluate_sets as sets
from curate_scorers.proxy.evaluate_sets import Item
from curate_scorers.torch_models import Device, Dtype


@dataclass(frozen=True)
class EvaluateProxy(DatasetOperator):
    """Measures language models in bits per byte of text held out, and by the probability of right answers to questions.

    ## What it does
    Reads the documents in `from`, text held out or questions, and measures them by every model: the one that `model` names, and each
    artifact in `from`, such as what `train_proxy` makes. Rows are items under models with bits, bytes and tokens; of questions, also
    how probable the right answer is, per byte and beside the wrong ones, and whether it wins: raw, per byte and per token. Notes and
    `about` in the manifest hold the means of each set, and with several models (checkpoints, seeds) their spread. Text is read
    whole, in windows; answers behind their questions, both as they stand.

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
    - `device`: `auto` is a GPU where there is one.
    - `dtype`: `auto` is float32 on a CPU and bfloat16 on a GPU; log-probabilities are float32 always.

    ## Source
    Magnusson et al., *DataDecide* (2025); Heineman et al., *Signal and Noise* (2025). Tokens of answers as in lm-evaluation-harness.
    """

    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Cost] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    files: ClassVar[tuple[str, ...]] = ("model",)
    folders: ClassVar[tuple[str, ...]] = ("model",)

    model: str | None = None
    questions: tuple[str, ...] = ()
    by: Mapping[str, str] = field(default_factory=dict, hash=False)
    max_items: int | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise PipelineError(f"evaluate_proxy: max_items is less than 1: {self.max_items}")

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        sets.verify_sets("evaluate_proxy", sources, self.questions, self.by)
        if self.model is None and "artifact" not in sources.values():
            raise PipelineError("evaluate_proxy: there is no model to measure", 'name its folder, or `model: "stage:NAME"`')

    def verify_file(self, parameter: str, path: Path) -> None:
        check_folder(path)

    def adds(self) -> Mapping[str, pa.DataType]:
        return results.FIELDS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        models = self._models(inputs)
        items, sizes = sets.set_items(inputs, self.questions, self.by)
        chosen = sets.limited(work, items, sizes, self.max_items)
        shared = {"device": self.device, "dtype": self.dtype}
        tasks = [item | shared | {"model": name, "folder": folder} for name, folder in models.items() for item in chosen]
        work.write_shards(measure_shard, tasks, sizes * len(models))
        shards = [resolve(work.folder, receipt.data) for receipt in work.receipts]
        [found] = work.map("means", results.means, [{"shards": shards}])
        tell(found, list(models), work)
        work.about = {"operator": "evaluate_proxy", "models": found}

    def _models(self, inputs: Sequence[Dataset]) -> dict[str, str]:
        """Return the name and the folder of each model."""
        named = {"model": self.model} if self.model is not None else {}
        return named | {dataset.name: dataset.url for dataset in inputs if dataset.manifest.kind == "artifact"}


def tell(found: Mapping[str, Any], models: Sequence[str], work: Work) -> None:
    """Note the means of each set."""
    rows = results.table(found, models)
    message = f"{plural(len(rows), 'set')} measured by {plural(len(models), 'model')}"
    work.note("measures", Verdict(True, message, rows))


def measure_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the results of one model on one shard."""
    yield from results.measured(_model(item["folder"], item["device"], item["dtype"]), item["model"], item, place)


@functools.lru_cache(maxsize=1)
def _model(folder: str, device: Device, dtype: Dtype) -> LanguageModel:
    return lm_loss_model.read_model(str(local_folder(folder)), device, dtype)
