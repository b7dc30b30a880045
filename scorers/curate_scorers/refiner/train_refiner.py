"""Fine-tunes a small language model on prompts and answers: a refiner, which then does for every document what a large model did for some.

Emits an artifact. Its rows are the curve: `id`, `step`, `loss` (nats a token of the answers, mean of the steps since the row before),
`rate` (share of the peak). Its files are a Hugging Face folder, and `training.json`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import orjson
import pyarrow as pa

from curate.dataset import Dataset, read_shard
from curate.document import ID
from curate.errors import OperatorError, PipelineError
from curate.files import local_folder
from curate.manifest import Kind
from curate.protocols import DatasetOperator, Reproducible
from curate.report.units import plural
from curate.work import Curve, Place, Verdict, Work
from curate_scorers.lm_loss_folder import check_folder
from curate_scorers.lm_loss_model import package
from curate_scorers.proxy.keeping import Kept, Teller
from curate_scorers.proxy.recipe import Precision
from curate_scorers.refiner.examples import ANSWER, PROMPT, TEMPLATE, read_pairs, told
from curate_scorers.refiner.recipe import Recipe

CURVE = {"step": pa.int64(), "loss": pa.float64(), "rate": pa.float64()}
POINTS = 200
TRAINING, WEIGHTS = "training.json", "model.safetensors"

Item = Mapping[str, Any]


@dataclass(frozen=True)
class TrainRefiner(DatasetOperator):
    """Fine-tunes a small language model to write the answers to prompts, such as ProX's programs.

    ## What it does
    Reads documents with `prompt` and `answer`, as `prox_examples` makes them, and trains the model in `base` to
    write the answer: all weights learn, from the tokens of the answer alone, behind the prompt as the model's chat template shows it.
    A base without a template gets one: the messages alone. Examples that are longer than `max_tokens` are left out. Some are held
    out; after each epoch they say how good the model is, and the weights that were best are kept. The state is kept as it goes, so that
    a killed training goes on where it was. The artifact is a folder that transformers and vLLM load, and `curate llm serve` serves.

    ## Why
    A large model that reads every page of a crawl costs more than the training that the crawl is for. It labels some thousand pages; a
    small one learns from them what it decides, and reads the rest.

    ## Example
        refiner:
          from: examples
          use: train_refiner
          params: {base: models/smollm2-360m, epochs: 4}
        cleaned:
          from: crawl
          operators:
            - use: prox_chunk
              params: {llm: {engine: vllm, model: "stage:refiner"}, trained: true}

    ## Parameters
    - `base`: a Hugging Face folder of a causal language model, or `stage:NAME` of `train_proxy`.
    - `epochs`: how often each example is read.
    - `batch_examples`: examples of a step; fewer where an epoch would not have eight steps otherwise.
    - `rate`: peak learning rate of AdamW, which falls to zero. Small models, and few examples, want more than the default.
    - `matrix_rate`: that of Muon, for the matrices of layers; null = AdamW moves them too, as suits models that AdamW has trained.
    - `weight_decay`: times the rate.
    - `warm_up_ratio`: share of the steps in which the rate rises.
    - `max_tokens`: of an example; the model's own window is a limit too.
    - `held_out`: share of the examples to judge by; 0 = none, and the last weights are kept.
    - `split_by`: examples with the same value are never on both sides: those of one document.
    - `precision`: of matrix products; `auto` = bfloat16 on a GPU, float32 on a CPU, where bfloat16 is faster if it has AVX-512 BF16.
    - `seed`: of the order, and of what is held out.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024): three to five epochs in batches of 64, at 1e-5, the best by validation.
    """

    version: ClassVar[int] = 1
    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    files: ClassVar[tuple[str, ...]] = ("base",)
    folders: ClassVar[tuple[str, ...]] = ("base",)

    base: str
    epochs: int = 3
    batch_examples: int = 64
    rate: float = 1e-5
    matrix_rate: float | None = None
    weight_decay: float = 0.0
    warm_up_ratio: float = 0.05
    max_tokens: int = 2048
    held_out: float = 0.05
    split_by: str = "parent_id"
    precision: Precision = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise PipelineError(f"train_refiner: held_out is not from 0 up to 1: {self.held_out}", "0.05 keeps a twentieth to judge by")
        _ = self.recipe

    @property
    def recipe(self) -> Recipe:
        """The training without base and examples."""
        return Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})

    def reads(self) -> tuple[str, ...]:
        return (PROMPT, ANSWER, self.split_by)

    def adds(self) -> Mapping[str, pa.DataType]:
        return CURVE

    def verify_file(self, parameter: str, path: Path) -> None:
        check_folder(path)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        """Raise `PipelineError` unless all that it reads are documents."""
        if odd := [name for name, kind in sources.items() if kind != "documents"]:
            raise PipelineError(f"train_refiner reads documents, and `{odd[0]}` has none", "`from:` the stage that uses `prox_examples`")

    def run(self, inputs: list[Dataset], work: Work) -> None:
        package("torch")
        shards = [(dataset.shard_path(i), receipt.data.bytes) for dataset in inputs for i, receipt in enumerate(dataset.manifest.shards)]
        item: dict[str, Any] = {"shards": [path for path, _ in shards], "base": self.base, "recipe": dataclasses.asdict(self.recipe)}
        item |= {"held_out": self.held_out, "split_by": self.split_by}
        [made] = work.map("train", train_task, [item], [sum(size for _, size in shards)], listen=True)
        work.write_shards(curve_shard, [made["curve"]])
        for name, path in made["files"].items():
            work.write_file(name, path)
        work.about = made["about"]
        _tell(made["about"], made["curve"], work)


def train_task(item: Item, place: Place) -> dict[str, Any]:
    """Train, and return where the files are, the curve, and what was made."""
    package("torch")
    from curate_scorers.lm_loss_model import MODELS, read_model
    from curate_scorers.refiner.folder import files_beside
    from curate_scorers.refiner.train import train

    recipe, base = Recipe(**item["recipe"]), local_folder(item["base"])
    model = read_model(str(base), dtype="float32")
    tokenizer = MODELS.tokenizer(base, base)
    has_template = tokenizer.chat_template is not None
    tokenizer.chat_template = tokenizer.chat_template or TEMPLATE
    columns = list(dict.fromkeys([ID, PROMPT, ANSWER, item["split_by"].partition(".")[0]]))
    batches = (batch for path in item["shards"] for batch in read_shard(place.storage, path, columns))
    pairs = read_pairs(batches, item["split_by"], item["held_out"], recipe.seed)
    most = min(recipe.max_tokens, model.max_window or recipe.max_tokens)
    examples, long = told(tokenizer, pairs, np.flatnonzero(~pairs.held).tolist(), most)
    held, held_long = told(tokenizer, pairs, np.flatnonzero(pairs.held).tolist(), most)
    left_out = {"without prompt or answer": pairs.empty, f"longer than {most:,} tokens": long + held_long}
    if not len(examples):
        raise OperatorError(f"train_refiner: there is no example to train on; left out: {left_out}", "look at what its stage dropped")
    kept = Kept(place)
    trained = train(model, examples, held, recipe, kept, Teller(place))
    about = {
        "format": 1,
        "operator": "train_refiner",
        **item["recipe"],
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "examples": len(examples),
        "held_out": len(held),
        "left_out": left_out,
        "answer_tokens": examples.answer_tokens,
        "steps": len(trained.losses),
        "judged": [dataclasses.asdict(each) for each in trained.judged] if len(held) else [],
        "kept_step": trained.best,
    }
    curve = points(trained.losses, trained.schedule.rate)
    beside = {TRAINING: orjson.dumps(about | {"curve": curve}, option=orjson.OPT_INDENT_2), **dict(files_beside(base, has_template))}
    for name, data in beside.items():
        kept.write(name, data)
    return {"files": {name: kept.path(name) for name in (WEIGHTS, *beside)}, "curve": curve, "about": about}


def points(losses: Sequence[float], rate: Any) -> list[dict[str, Any]]:
    """Return at most `POINTS` rows of the curve, each the mean of the steps since the row before."""
    count = min(POINTS, len(losses))
    edges = [round(k * len(losses) / count) for k in range(count + 1)]
    return [
        {"step": stop, "loss": math.fsum(losses[start:stop]) / (stop - start), "rate": rate(stop - 1)}
        for start, stop in zip(edges, edges[1:], strict=False)
    ]


def curve_shard(item: Sequence[Item], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the curve as rows."""
    rows = [{"id": f"step-{point['step']:07d}", **point} for point in item]
    yield pa.RecordBatch.from_pylist(rows, pa.schema({"id": pa.string(), **CURVE}))


def _tell(about: Item, curve: Sequence[Item], work: Work) -> None:
    """Note how the training went, what was left out, and how good the model is on what it has not seen."""
    message = f"{about['parameters']:,} parameters on {plural(about['examples'], 'example')}, {about['steps']:,} steps"
    most = max(point["loss"] for point in curve) or 1.0
    line = [(point["step"], round(point["loss"] / most, 6)) for point in curve]
    measures = {name: about[name] for name in ("examples", "held_out", "answer_tokens", "steps", "kept_step")}
    work.note("training", Verdict(True, message, measures, Curve("step", f"loss / {most:.3f}", {"loss": line})))
    lost = sum(about["left_out"].values())
    if lost:
        said = ", ".join(f"{count:,} {why}" for why, count in about["left_out"].items() if count)
        work.note("left out", Verdict(False, f"{plural(lost, 'example')} left out: {said}", about["left_out"]))
    if about["judged"]:
        best = next(each for each in about["judged"] if each["step"] == about["kept_step"])
        said = f"of {plural(about['held_out'], 'held-out example')}, {best['exact']:.1%} are answered exactly and "
        said += f"{best['token_accuracy']:.1%} of the tokens are right, after step {best['step']:,}"
        work.note("held out", Verdict(True, said, {f"step {each['step']}": each for each in about["judged"]}))
