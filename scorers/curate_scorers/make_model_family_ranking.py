"""Measures the models of a family on texts that they were not trained on, puts them into an order, and tells how much it says.

A model's losses are those of `lm_loss`; its score on a target is minus its bits per byte there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate_scorers.lm_loss import LmLoss
from curate_scorers.make_model_family_training import Recipe
from curate_scorers.predictive_strength import ordered_pairs, strengths

MEASURED = 200  # documents of a group or target at most
MEASURED_TOKENS = 512  # of a document
HELD_OUT, TARGET = "held out: ", "target: "

Losses = Mapping[str, tuple[Any, Any]]
Texts = Mapping[str, Sequence[str]]


def measured(held_out: Texts, target: Texts) -> dict[str, Sequence[str]]:
    """Return all that models are measured on, by names that say what it is."""
    return {f"{kind}{name}": group for kind, groups in ((HELD_OUT, held_out), (TARGET, target)) for name, group in sorted(groups.items())}


def documents_losses(folder: Path, texts: Sequence[str]) -> tuple[Any, Any]:
    """Return bits and bytes of each document's beginning, of `MEASURED` documents evenly taken."""
    step = max(1, len(texts) // MEASURED)
    chosen = [text for text in texts[::step] if text.strip()][:MEASURED]
    batch = pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(chosen))], "text": pa.array(chosen, pa.large_string())})
    rows = LmLoss(str(folder), max_tokens=MEASURED_TOKENS).score(batch).to_pylist()
    size = np.array([len(text.encode()) for text in chosen], np.float64)
    return np.array([row["bits_per_byte"] for row in rows]) * size, size


def ranked(abouts: Sequence[Mapping[str, Any]], losses: Sequence[Losses], recipe: Recipe) -> tuple[list[int], dict[str, Any]]:
    """Return the numbers of the models, weakest first by the mean of their scores, and what `family.json` says of them in this order."""
    models = [described(about, each) for about, each in zip(abouts, losses, strict=True)]
    order = sorted(range(len(models)), key=lambda i: (mean_score(models[i]), i))
    ordered = [{"folder": str(rank)} | models[i] for rank, i in enumerate(order, 1)]
    family = {"vary": recipe.vary, "seed": recipe.seed, "models": ordered}
    return order, family | {"strengths": _histogram([losses[i] for i in order])}


def mean_score(model: Mapping[str, Any]) -> float:
    """Return a model's score, mean over all targets."""
    return float(np.mean(list(model["scores"].values())))


def described(about: Mapping[str, Any], losses: Losses) -> dict[str, Any]:
    """Return what `family.json` says of a model."""
    means = {name: round(float(np.sum(bits) / np.sum(size)), 6) for name, (bits, size) in losses.items()}
    held_out = {name.removeprefix(HELD_OUT): mean for name, mean in means.items() if name.startswith(HELD_OUT)}
    scores = {name.removeprefix(TARGET): -mean for name, mean in means.items() if name.startswith(TARGET)}
    return {**about, "bits_per_byte": held_out, "scores": scores}


def _histogram(losses: Sequence[Losses]) -> dict[str, int]:
    """Return how many held-out documents have each predictive strength for models in this order: one value alone tells nothing apart."""
    names = [name for name in losses[0] if name.startswith(HELD_OUT)]
    per_byte = np.array([np.concatenate([np.array(each[name][0]) / np.array(each[name][1]) for name in names]) for each in losses])
    strength, _, _ = strengths(per_byte, ordered_pairs(list(range(len(losses))), len(losses), "ranks"))
    values, counts = np.unique(np.round(strength, 4), return_counts=True)
    return {str(value): int(count) for value, count in zip(values.tolist(), counts, strict=True)}


def table(family: Mapping[str, Any]) -> str:
    """Return what was made, for a person."""
    targets = list(family["models"][0]["scores"])
    lines = ["model  parameters     tokens  " + "  ".join(f"{name:>12}" for name in targets)]
    for model in family["models"]:
        scores = "  ".join(f"{model['scores'][name]:12.4f}" for name in targets)
        lines.append(f"{model['folder']:>5}  {model['parameters']:10,}  {model['tokens']:9,}  {scores}")
    held = ", ".join(f"{value}: {count}" for value, count in family["strengths"].items())
    return "\n".join([*lines, f"predictive strength of held-out documents: {held}"])
