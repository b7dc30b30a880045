"""Trains a small language model on a packed corpus: the evidence that a corpus is good is a model that was trained on it.

Emits an artifact. Its rows are the curve: `id`, `step`, `tokens` (seen so far), `loss` (nats a token, mean of the steps since the row
before), `rate` (share of the peak). Its files are a Hugging Face folder, and `training.json`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
import pyarrow as pa

from curate.dataset import Dataset
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator, Operator, Reproducible
from curate.work import Curve, Place, Verdict, Work
from curate_scorers.lm_loss_model import package
from curate_scorers.proxy import annealing
from curate_scorers.proxy.annealing import TRAINING
from curate_scorers.proxy.compare_cost import announced
from curate_scorers.proxy.keeping import Kept, Teller
from curate_scorers.proxy.packed import DESCRIPTION, Packed, read_packed
from curate_scorers.proxy.recipe import Precision, Recipe

CURVE = {"step": pa.int64(), "tokens": pa.int64(), "loss": pa.float64(), "rate": pa.float64()}
POINTS = 200

Item = Mapping[str, Any]


@dataclass(frozen=True)
class TrainProxy(DatasetOperator):
    """Trains a small language model on a packed corpus.

    ## What it does
    Reads what `pack` wrote and trains a decoder-only transformer (RMSNorm, rotary positions, normalised queries and keys, SwiGLU) on
    each piece of a document by itself: none sees another, and each begins with the end token, as documents do for `lm_loss`.
    Matrices learn by Muon, all else by AdamW; the rate warms up, stays, and decays to zero. Rows come in an order that the seed alone
    decides. The state is kept as it goes, so that a killed training goes on where it was, with the same losses. The artifact's folder
    is a Hugging Face model (`Qwen3ForCausalLM`) with the corpus's tokenizer, `training.json` and, as its rows, the curve of the loss.

    ## Why
    Rules about text are opinions until a model was trained on what they leave. Models of 2 to 150 million parameters order corpora as
    a model of a billion does in about four of five cases (DataDecide), in minutes to hours.

    ## Example
        tokens: {from: clean, operators: [{use: tokenize, into: tokens, params: {tokenizer: "stage:words"}}]}
        packed: {from: [clean, tokens], use: pack, params: {tokenizer: "stage:words"}}
        proxy: {from: packed, use: train_proxy, params: {size: 2M, tokens: 1000000}}

    ## Parameters
    - `size`: 2M, 5M, 20M, 60M, 150M or 400M parameters without embeddings, or `WIDTHxLAYERS`, such as 128x4.
    - `tokens`: the budget; or `tokens_per_parameter`, of parameters without embeddings. Neither = 20 a parameter, and with `anneal` the
      share `decay_ratio` of the tokens that the base read, which is as long as its own decay.
    - `batch_tokens`: tokens of a step, which is no larger than the budget; null = what suits the size, or less, so that the budget has
      about 200 steps.
    - `micro_tokens`: tokens of a forward pass, one row at least: fewer need less memory, and a step has more of them; null = 2,048 on a
      CPU, 32,768 on a GPU.
    - `max_epochs`: how often the corpus may be read; a budget beyond it is an error, beyond one epoch a warning.
    - `matrix_rate`: peak learning rate of Muon, the same for any width.
    - `other_rate`: peak learning rate of AdamW; null = 0.004 × √(768 / width), as narrow networks like it.
    - `weight_decay`: of both, times the rate.
    - `warm_up_ratio`, `decay_ratio`: shares of the steps at their beginning and end; with `anneal` all steps are decay.
    - `tied_head`: embeddings are the matrix of the head too.
    - `precision`: of matrix products; `auto` = bfloat16 on a GPU, float32 on a CPU, where bfloat16 is faster if it has AVX-512 BF16 or
      AMX. Weights and sums are float32 always.
    - `snapshots`: also keep the weights of so many steps in the decay, `step-000900.safetensors`, to average over.
    - `keep_stable`: keep the state before the decay, `stable.safetensors`, to anneal.
    - `anneal`: the folder of a proxy with `stable.safetensors` and the same tokenizer, `stage:NAME` or a path: go on from there.
    - `seed`: of the first weights, which with `anneal` are the base's, and of the order of rows.

    With `resources: {gpus: 8}` eight GPUs of a machine share each step's rows.

    ## Source
    Muon: Jordan et al. (2024); the schedule: Hägele et al. (2024); epochs: Muennighoff et al., *Scaling Data-Constrained Language
    Models* (2023), by which up to four are nearly as good as new text; sizes and rates are ours.
    """

    version: ClassVar[int] = 4
    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Literal["cheap", "costly"]] = "costly"
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
    weight_decay: float = 0.0
    warm_up_ratio: float = 0.05
    decay_ratio: float = 0.2
    tied_head: bool = True
    precision: Precision = "auto"
    snapshots: int = 0
    keep_stable: bool = False
    anneal: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.anneal is not None and self.keep_stable:
            raise PipelineError("keep_stable: annealing has no stable part", "leave one of `anneal` and `keep_stable` out")
        if self.anneal is not None and not self.decay_ratio and self.tokens is None and self.tokens_per_parameter is None:
            raise PipelineError("decay_ratio: annealing takes this share of what its base read, and 0 is nothing", "give it, or `tokens`")
        _ = self.recipe

    @property
    def recipe(self) -> Recipe:
        """The training without its corpus."""
        return Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})

    def reads(self) -> tuple[str, ...]:
        return ()

    def adds(self) -> Mapping[str, pa.DataType]:
        return CURVE

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        """Raise `PipelineError` unless it reads one artifact."""
        if list(sources.values()) != ["artifact"]:
            told = ", ".join(f"`{name}` ({kind})" for name, kind in sources.items())
            raise PipelineError(f"train_proxy reads one packed corpus, not {told}", "`from:` the stage that uses `pack`")

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        for dataset in artifacts:
            _check_packed(dataset)

    def verify_file(self, parameter: str, path: Path) -> None:
        annealing.stable_file(str(path))

    def verify_stages(self, stages: Mapping[str, Sequence[Operator]]) -> None:
        annealing.verify_maker(self.anneal, stages)

    def announce(self, sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]) -> str:
        return announced(self.recipe, self.anneal, 1, sources, stages)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        package("torch")
        [corpus] = inputs
        _check_packed(corpus)
        names = [file.name for file in corpus.manifest.files]
        packed = read_packed(corpus.url, names)
        annealing.verify_base(self.anneal, packed)
        recipe = annealing.budgeted(self.recipe, self.anneal)
        recipe.steps(packed)
        item = training(corpus.url, names, recipe, self.anneal, work)
        [made] = work.map("train", train_task, [item], [packed.tokens], listen=True)
        work.write_shards(curve_shard, [made["curve"]])
        for name, path in made["files"].items():
            work.write_file(name, path)
        work.about = made["about"]
        self._tell(made, packed, work)

    def _tell(self, made: Item, packed: Packed, work: Work) -> None:
        about, points = made["about"], made["curve"]
        whole = math.log(about["vocabulary"])
        line = [(point["tokens"], round(point["loss"] / whole, 6)) for point in points]
        marks = {"decay from": float(about["decay_from_tokens"])}
        told = f"{about['size']}, {about['parameters']:,} parameters and {about['total_parameters']:,} with embeddings"
        told += f", on {about['tokens']:,} tokens: a loss of {about['loss']:.4f} nats a token at the end"
        measures = {name: about[name] for name in ("steps", "tokens_a_step", "epochs", "vocabulary", "seed", "loss")}
        curve = Curve("tokens", f"loss / ln({about['vocabulary']:,})", {"loss": line}, marks=marks)
        work.note("training", Verdict(True, told, measures, curve))
        if about["epochs"] > 1:
            told = f"the corpus has {packed.tokens:,} tokens, fewer than are trained on: each is read {about['epochs']:.1f} times"
            work.note("epochs", Verdict(False, told))


def _check_packed(dataset: Dataset) -> None:
    """Raise `OperatorError` for an artifact that is no packed corpus."""
    if not any(file.name.rpartition("/")[2] == DESCRIPTION for file in dataset.manifest.files):
        raise OperatorError(f"`{dataset.name}` is no packed corpus: it has no {DESCRIPTION}", "`from:` the stage that uses `pack`")


def training(folder: str, names: Sequence[str], recipe: Recipe, anneal: str | None, work: Work) -> dict[str, Any]:
    """Return what `train_task` needs: a packed corpus and the recipe, on as many GPUs as the stage has."""
    told = {"folder": folder, "names": list(names), "recipe": dataclasses.asdict(recipe), "anneal": anneal}
    return told | {"replicas": max(1, int(work.resources.gpus))}


def train_task(item: Item, place: Place) -> dict[str, Any]:
    """Train, and return where the files are, the curve, and what was made."""
    package("torch")
    from curate_scorers.proxy.folder import begun_tokenizer
    from curate_scorers.proxy.replicas import replicas
    from curate_scorers.proxy.train import train

    packed, recipe, kept = read_packed(item["folder"], item["names"]), Recipe(**item["recipe"]), Kept(place)
    with replicas(item) as replica:
        trained = train(packed, recipe, kept, Teller(place), item["anneal"], replica)
    curve = points(trained.losses, recipe.tokens_a_step(packed), trained.schedule.rate)
    about = _about(packed, recipe, curve, trained.schedule.stable_until)
    kept.write(TRAINING, orjson.dumps(about | {"curve": curve}, option=orjson.OPT_INDENT_2))
    beside = dict(begun_tokenizer(packed.tokenizer, packed.eos))
    for name, data in beside.items():
        kept.write(name, data)
    names = [*trained.files, TRAINING, *beside]
    return {"files": {name: kept.path(name) for name in names}, "curve": curve, "about": about}


def points(losses: Sequence[float], tokens_a_step: float, rate: Any) -> list[dict[str, Any]]:
    """Return at most `POINTS` rows of the curve, each the mean of the steps since the row before."""
    count = min(POINTS, len(losses))
    edges = [round(k * len(losses) / count) for k in range(count + 1)]
    return [
        {
            "step": stop,
            "tokens": round(stop * tokens_a_step),
            "loss": math.fsum(losses[start:stop]) / (stop - start),
            "rate": rate(stop - 1),
        }
        for start, stop in zip(edges, edges[1:], strict=False)
    ]


def _about(packed: Packed, recipe: Recipe, curve: Sequence[Item], stable_until: int) -> dict[str, Any]:
    """Return what the manifest and `training.json` say of the training."""
    shape, vocabulary = recipe.shape, recipe.vocabulary(packed)
    a_step = recipe.tokens_a_step(packed)
    steps = curve[-1]["step"]
    return {
        "format": 1,
        "operator": "train_proxy",
        **dataclasses.asdict(recipe),
        "parameters": shape.parameters,
        "total_parameters": shape.total(vocabulary, recipe.tied_head),
        "vocabulary": vocabulary,
        "length": packed.length,
        "steps": steps,
        "tokens_a_step": round(a_step),
        "tokens": round(steps * a_step),
        "decay_from_tokens": round(stable_until * a_step),
        "epochs": round(steps * a_step / packed.tokens, 4),
        "flops": shape.flops(round(steps * a_step), vocabulary, packed.context),
        "loss": curve[-1]["loss"],
    }


def curve_shard(item: Sequence[Item], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the curve as rows."""
    rows = [{"id": f"step-{point['step']:07d}", **point} for point in item]
    yield pa.RecordBatch.from_pylist(rows, pa.schema({"id": pa.string(), **CURVE}))
