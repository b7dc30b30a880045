"""Trains a family of small language models whose order on a target is known, for `lm_loss` and `predictive_strength`.

The artifact keeps each model as a Hugging Face folder, `1` (the weakest) to `N`, and `family.json`. Its rows are the models:

| column     | type   | is                                                               |
|------------|--------|------------------------------------------------------------------|
| id         | string | the folder                                                       |
| rank       | int64  | from 1                                                           |
| parameters | int64  | embeddings included                                              |
| tokens     | int64  | that it was trained on                                           |
| score      | double | minus bits per byte on the target, mean where there are several  |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate.dataset import Dataset
from curate.document import SOURCE, TEXT, type_at
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import Cost, DatasetOperator, Operator, Reproducible
from curate.report.units import plural
from curate.work import Verdict, Work
from curate_scorers import train_family_phases as phases
from curate_scorers.lm_loss_model import package
from curate_scorers.make_model_family_ranking import MEASURED, mean_score, ranked
from curate_scorers.make_model_family_training import Recipe, recipes
from curate_scorers.proxy.compare_cost import told_operations
from curate_scorers.train_family_phases import FAMILY, Item

NEARLY_ALL = 0.9  # of the held-out documents
OFTEN = 4  # times that a text is read, beyond which it is learnt by heart


@dataclass(frozen=True)
class TrainFamily(DatasetOperator):
    """Trains a family of small language models whose order on a target is known.

    ## What it does
    The first source is what the models are trained on, the second one what they should be good at: of its documents, 200 of each target
    at most, none is trained on that stands in both. The models are small Llamas with one tokenizer; they differ in the mixture of the
    groups that the column `by` tells, or in training length or size. Each training is a task of its own, and as many run at a time as
    there are workers. All are measured on the target and on documents held out, a twentieth of each group. The artifact keeps them in the
    order of their scores, `1` (the weakest) to `N`, with `family.json`. Notes tell the scores, and how many held-out documents have each
    predictive strength: where nearly all have one, these models tell nothing apart.

    ## Why
    Documents on which better models have lower losses teach what makes models better. That takes models whose order is known; models
    of different makers are not in order on single documents, and of different sizes or lengths they are on nearly all.

    ## Example
        family: {from: [crawl, questions], use: train_family, params: {members: 3, by: site}}
        losses:
          from: crawl
          operators:
            - {use: lm_loss, into: m1, params: {model: "stage:family/1"}}
            - {use: lm_loss, into: m2, params: {model: "stage:family/2"}}
            - {use: lm_loss, into: m3, params: {model: "stage:family/3"}}
        strengths:
          from: [crawl, losses]
          operators:
            - use: predictive_strength
              into: strength
              params:
                losses: [losses.m1.bits_per_byte, losses.m2.bits_per_byte, losses.m3.bits_per_byte]
                family: "stage:family/family.json"

    ## Parameters
    - `vary`: in what the models differ: `mixture`, `tokens` or `size`.
    - `members`: how many models.
    - `tokens`: that each is trained on; the longest with `vary: tokens`, each of the others half as many as the next.
    - `width`: of the networks, a multiple of 32; the largest with `vary: size`.
    - `layers`, `vocabulary`, `window`: of the networks, of the tokenizer, and the tokens that a model sees.
    - `by`: the column of groups in the first source; null = one group, for `vary: tokens` or `size`.
    - `max_groups`: the largest stay; the others, and those too small to train on, are one group together.
    - `target_by`: a column of the second source, for several targets; null = one.
    - `max_bytes`: about so much text is trained on, chosen by a seeded hash of the ids, in the memory of one task.
    - `seed`: of the choice, the mixtures, the first weights and the order of the text.

    With `resources: {gpus: 1}` each training has a GPU.

    ## Source
    Shum et al., *Predictive Data Selection* (2025), which took six models of one maker; mixtures instead of sizes are ours.
    """

    version: ClassVar[int] = 1
    reproducible: ClassVar[Reproducible] = "tolerance"
    cost: ClassVar[Cost] = "costly"
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    vary: Literal["mixture", "tokens", "size"] = "mixture"
    members: int = 5
    tokens: int = 1_000_000
    width: int = 128
    layers: int = 4
    vocabulary: int = 2048
    window: int = 256
    by: str | None = SOURCE
    max_groups: int = 32
    target_by: str | None = None
    max_bytes: int = 50_000_000
    seed: int = 1

    def __post_init__(self) -> None:
        try:
            _ = self.recipe
        except OperatorError as error:
            raise PipelineError(f"train_family: {error.message}", error.hint) from error
        if self.vary == "mixture" and (self.by is None or self.max_groups < 2):
            hint = "name their column in `by`, or vary tokens or size"
            raise PipelineError("train_family: one group of text makes no mixtures", hint)
        for name in ("max_groups", "max_bytes"):
            if getattr(self, name) < 1:
                raise PipelineError(f"train_family: {name} is less than 1: {getattr(self, name)}")

    @property
    def recipe(self) -> Recipe:
        """The family without its text."""
        same = {field.name for field in dataclasses.fields(Recipe)} - {"models", "mixture"}
        return Recipe(models=self.members, **{name: getattr(self, name) for name in same})

    def reads_of(self, number: int, name: str) -> tuple[str, ...]:
        column = self.target_by if number else self.by
        return (TEXT, column) if column else (TEXT,)

    def keeps(self) -> tuple[str, ...]:
        return (FAMILY, *(str(rank) for rank in range(1, self.members + 1)))

    def verify(self, schema: pa.Schema) -> None:
        for path in (self.by, self.target_by):
            kind = type_at(schema, path) if path else None
            if kind is not None and not any(is_kind(kind) for is_kind in phases.GROUPS):
                raise PipelineError(f"train_family: column `{path}` is {kind}", "groups are strings, whole numbers, or true and false")

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        """Raise `PipelineError` unless it reads two sets of documents."""
        if list(sources.values()) != ["documents", "documents"]:
            told = ", ".join(f"`{name}` ({kind})" for name, kind in sources.items())
            hint = "write `from: [TEXT, TARGET]`: what to train on, and what the models should be good at"
            raise PipelineError(f"train_family reads two sets of documents, not {told}", hint)

    def announce(self, sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]) -> str:
        told = f"{self.members} models {self.width} wide, {self.layers} layers deep, on at most {self.tokens:,} tokens each"
        return f"{told}: {told_operations(self.recipe.flops)}"

    def adds(self) -> Mapping[str, pa.DataType]:
        return phases.MADE

    def run(self, inputs: list[Dataset], work: Work) -> None:
        package("torch")
        package("transformers")
        prepared = self._prepared(inputs, work)
        groups = {name: group["tokens"] for name, group in prepared["groups"].items()}
        tasks = [{"prepared": prepared, "recipe": dataclasses.asdict(member)} for member in recipes(self.recipe, list(groups))]
        trained = work.map("train", phases.train_model, tasks, listen=True)
        measured = work.map("measure", phases.measure_model, [{"prepared": prepared, "files": one["files"]} for one in trained])
        order, family = ranked([one["about"] for one in trained], measured, self.recipe)
        for rank, number in enumerate(order, 1):
            for name, path in trained[number]["files"].items():
                work.write_file(f"{rank}/{name}", path)
        [path] = work.map("describe", phases.describe_family, [family])
        work.write_file(FAMILY, path)
        work.write_shards(phases.write_models, [family["models"]])
        work.about = {"operator": "train_family", **family, "groups": prepared["groups"]}
        _tell(family, prepared, work)

    def _prepared(self, inputs: Sequence[Dataset], work: Work) -> Item:
        """Choose documents of both sources, and make tokenizer, tokens and what is measured of them."""
        text, target = inputs
        shards, aims = phases.shard_items(text), phases.shard_items(target)
        sizes = [shard.data.bytes for shard in text.manifest.shards]
        total = sum(one["bytes"] for one in work.map("count", phases.count_shard, shards, sizes)) or 1
        of_text = {"by": self.by, "name": text.name, "seed": self.seed, "share": self.max_bytes / total, "most": None}
        of_target = {"by": self.target_by, "name": target.name, "seed": self.seed, "share": 1.0, "most": MEASURED}
        chosen = work.map("choose", phases.choose_shard, [shard | of_text for shard in shards], sizes)
        aimed = work.map("aim", phases.choose_shard, [shard | of_target for shard in aims])
        item = {"text": chosen, "target": aimed, "most": MEASURED, "max_groups": self.max_groups, "recipe": dataclasses.asdict(self.recipe)}
        [prepared] = work.map("prepare", phases.prepare, [item], [min(total, self.max_bytes)])
        return dict(prepared)


def _tell(family: Mapping[str, Any], prepared: Item, work: Work) -> None:
    """Note what was made, and how much the order of the models can tell."""
    models, groups = family["models"], prepared["groups"]
    scores = [mean_score(model) for model in models]
    varied = f"on mixtures of {plural(len(groups), 'group')}" if family["vary"] == "mixture" else f"of different {family['vary']}"
    message = f"{plural(len(models), 'model')} {varied}: {-scores[0]:.4f} to {-scores[-1]:.4f} bits per byte on the target"
    rows = {model["folder"]: {"parameters": model["parameters"], "tokens": model["tokens"], **_targets(model)} for model in models}
    work.note("family", Verdict(True, message, rows))
    documents = sum(group["documents"] for group in groups.values())
    message = f"{plural(documents, 'document')} to train on"
    message += f"; {prepared['in_target']:,} left out, whose text is in the target" if prepared["in_target"] else ""
    work.note("text", Verdict(True, message, groups))
    _tell_strengths(family["strengths"], work)
    times, rank, group = max((times, model["folder"], name) for model in models for name, times in _times(model, groups))
    if times > OFTEN:
        work.note("epochs", Verdict(False, f"model {rank} reads the group `{group}` {times:.1f} times: more text, or fewer `tokens`"))


def _tell_strengths(strengths: Mapping[str, int], work: Work) -> None:
    documents, most = sum(strengths.values()), max(strengths, key=lambda value: strengths[value])
    message = f"predictive strength of {plural(documents, 'held-out document')}, at most {strengths[most] / documents:.0%} have one"
    told_apart = strengths[most] < NEARLY_ALL * documents
    if not told_apart:
        message = f"of {plural(documents, 'held-out document')} {strengths[most]:,} have the predictive strength {most}:"
        message += " these models tell hardly any apart; vary mixtures of other groups, or train longer"
    work.note("strengths", Verdict(told_apart, message, strengths))


def _targets(model: Mapping[str, Any]) -> dict[str, float]:
    return {f"score on {name}": score for name, score in model["scores"].items()}


def _times(model: Mapping[str, Any], groups: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return how often a model has read each group."""
    return [(name, model["tokens"] * share / groups[name]["tokens"]) for name, share in model["mixture"].items()]
