"""What a training is annealed from: the folder of a proxy that `train_proxy` trained with `keep_stable`. Needs no torch.

Its `stable.safetensors` holds weights and optimizer as they were before the decay, its `training.json` how many tokens it read, and its
`tokenizer.json` is the one whose tokens it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from curate.errors import DatasetError, OperatorError, PipelineError
from curate.files import local_file
from curate.pipeline_graph import REFERENCE
from curate.protocols import Operator
from curate_scorers.proxy.packed import Packed, tokenizer_digest
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.tokenizer_files import TOKENIZER
from curate_scorers.safetensors_files import open_tensors

STABLE, TRAINING = "stable.safetensors", "training.json"
HINT = "`anneal` names a stage that uses `train_proxy` with `keep_stable: true`, or the whole folder of one"


def stable_file(folder: str) -> Path:
    """Return the state that a folder, a URL or a path, keeps; raise `OperatorError` when there is none or it is damaged."""
    try:
        path = local_file(f"{folder}/{STABLE}")
        names = open_tensors(path).entries
    except (DatasetError, OperatorError) as error:
        raise OperatorError(f"anneal: {error.message}", HINT) from error
    if not any(name.startswith("optimizer.") for name in names):
        raise OperatorError(f"anneal: {path} has weights alone, without the state of their training", HINT)
    return path


def verify_maker(anneal: str | None, stages: Mapping[str, Sequence[Operator]]) -> None:
    """Raise `PipelineError` when `anneal` names a stage that will keep no state."""
    name = _stage(anneal)
    if name in stages and not _recipe_of(stages[name]):
        raise PipelineError(f"anneal: `{name}` keeps no {STABLE}", HINT)


def verify_base(folder: str | None, packed: Packed) -> None:
    """Raise `OperatorError` when a base keeps no state, or has learnt other tokens than those of the corpus."""
    if folder is None:
        return
    stable_file(folder)
    try:
        files = [local_file(f"{folder}/{TOKENIZER}")]
    except DatasetError:
        files = []
    if tokenizer_digest(files) != packed.tokenizer_digest:
        hint = "`tokenize` and `pack` the corpus with the tokenizer that the base was trained with"
        raise OperatorError(f"anneal: {folder} was trained on tokens of another tokenizer", hint)


def budgeted(recipe: Recipe, folder: str | None) -> Recipe:
    """Return the recipe of an annealing: without a budget of its own it takes the share `decay_ratio` of the tokens that its base read."""
    if folder is None or _has_budget(recipe):
        return recipe
    try:
        tokens = int(orjson.loads(local_file(f"{folder}/{TRAINING}").read_bytes())["tokens"])
    except (DatasetError, KeyError, TypeError, ValueError) as error:
        told = f"anneal: {folder} has no {TRAINING} that says how many tokens it read"
        raise OperatorError(told, "give `tokens`, or the whole folder") from error
    return _shortened(recipe, tokens)


def planned(recipe: Recipe, anneal: str | None, stages: Mapping[str, Sequence[Operator]]) -> Recipe | None:
    """Return the same as `budgeted` before anything ran; None where only the base, which is no stage of this pipeline, can say."""
    if anneal is None or _has_budget(recipe):
        return recipe
    base = _recipe_of(stages.get(_stage(anneal), ()))
    return None if base is None else _shortened(recipe, base.budget)


def _has_budget(recipe: Recipe) -> bool:
    return recipe.tokens is not None or recipe.tokens_per_parameter is not None


def _shortened(recipe: Recipe, tokens: int) -> Recipe:
    return replace(recipe, tokens=max(1, round(recipe.decay_ratio * tokens)))


def _stage(anneal: str | None) -> str:
    """Return the stage that `anneal` names, an empty text for none."""
    return anneal.removeprefix(REFERENCE).partition("/")[0] if anneal is not None and anneal.startswith(REFERENCE) else ""


def _recipe_of(operators: Sequence[Operator]) -> Recipe | None:
    """Return the recipe of the base that a stage will keep, None when it keeps none."""
    recipe = getattr(operators[0], "recipe", None) if operators else None
    return recipe if isinstance(recipe, Recipe) and recipe.keep_stable else None
