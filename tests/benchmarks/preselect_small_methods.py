"""Selects a tenth of a pool's characters by each method: the recipes as they are published, and what they are compared with."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import curate
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.pipeline_yaml import load_pipeline
from curate_scorers import make_model_family
from tests.benchmarks.fidelity_corpus import ROOT
from tests.benchmarks.preselect_small_pool import Pool

PRESELECT, DCLM = ROOT / "pipelines/preselect.yaml", ROOT / "pipelines/dclm_classifier.yaml"
FRACTION = 0.1
TOKENS = 512  # of a document are measured
FAMILY = ("--width", "64", "--layers", "1", "--vocabulary", "1024", "--window", "128", "--tokens", "200000")
EPOCHS, RATE = 50, 0.5  # of classifiers of some hundred documents; the recipes' 5 are for hundreds of thousands


@dataclass(frozen=True)
class Bench:
    """A pool, and the family and the workspace of its pipelines in the pool's folder."""

    pool: Pool

    @property
    def family(self) -> Path:
        return self.pool.folder / "family"

    def run(self, pipeline: Pipeline) -> dict[str, curate.Dataset]:
        """Run a pipeline and return its datasets by stage; raise if it fails."""
        report = curate.run_pipeline(pipeline, workspace=str(self.pool.folder / "workspace"), on="local", workers=1)
        if report["status"] != "done":
            raise RuntimeError(f"{pipeline.name} ended as {report['status']}: {report.get('error')}")
        return {stage["name"]: curate.load(stage["dataset"]) for stage in report["stages"]}


def make_family(bench: Bench, targets: Sequence[str], seed: int, models: int) -> dict[str, Any]:
    """Train the models, unless they are there, and return `family.json`; one family serves all targets, for each has its scores."""
    if not (bench.family / "family.json").exists():
        shutil.rmtree(bench.family, ignore_errors=True)  # of a run that was broken off
        files = ("--text", str(bench.pool.train), "--by", "site", "--target", *(str(bench.pool.target(name)) for name in targets))
        words = ("--out", str(bench.family), *files, "--models", str(models), "--seed", str(seed), *FAMILY)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
            if make_model_family.main(words):
                raise RuntimeError(told.getvalue())
    found: dict[str, Any] = orjson.loads((bench.family / "family.json").read_bytes())
    return found


def models_of_recipe() -> int:
    """Return how many models the recipe reads."""
    return len(load_pipeline(PRESELECT).pipeline.stages["losses"].operators)


def preselect(bench: Bench, scores: Sequence[float]) -> dict[str, curate.Dataset]:
    """Run the recipe of PreSelect for models with these scores; all targets share the losses."""
    options = {
        "vars.family": bench.family,
        "spread.budget": 100,
        "strengths.predictive_strength.scores": list(scores),
        **{f"losses.m{number}.max_tokens": TOKENS for number in range(1, len(scores) + 1)},
        "classifier.epoch": EPOCHS,
        "classifier.lr": RATE,
        "top.fraction": FRACTION,
    }
    loaded = load_pipeline(PRESELECT, [f"{name}={value}" for name, value in options.items()])
    return bench.run(_on(loaded.pipeline, {"crawl": bench.pool.crawl}, [Step("draw", into="draw")]))


def dclm(bench: Bench, wanted: Path) -> list[str]:
    """Run the recipe of DCLM's classifier with these positives, and return what it selects of the pool by characters."""
    loaded = load_pipeline(DCLM, [f"classifier.epoch={EPOCHS}", f"classifier.lr={RATE}", f"top.fraction={FRACTION}", "top.unit=chars"])
    found = bench.run(_on(loaded.pipeline, {"crawl": bench.pool.crawl, "wanted": wanted}, [Step("normalize")]))
    return ids_of(found["corpus"])


def bits_per_byte(bench: Bench, model: str) -> dict[str, float]:
    """Return each document's loss under one model of the family."""
    step = Step("lm_loss", {"model": str(bench.family / model), "max_tokens": TOKENS}, into="loss")
    inputs = {"crawl": Input(str(bench.pool.crawl))}
    found = bench.run(Pipeline("perplexity", inputs, {"losses": Stage("crawl", [step], emits="attributes")}))
    rows = [row for batch in found["losses"].batches() for row in batch.to_pylist()]
    return {row["id"]: row["loss"]["bits_per_byte"] for row in rows if row["loss"] is not None}


def drawn(bench: Bench, seed: int) -> dict[str, float]:
    """Return a random number for each document."""
    dice = np.random.default_rng(seed)
    return {row["id"]: float(dice.random()) for row in bench.pool.rows}


def lowest(bench: Bench, keys: Mapping[str, float]) -> list[str]:
    """Return the documents with the lowest keys, ties by id, until they are a tenth of the pool's characters or just over it."""
    chars = {row["id"]: len(row["text"]) for row in bench.pool.rows}
    order = sorted(keys, key=lambda name: (keys[name], name))
    before = np.cumsum([0, *(chars[name] for name in order)])[:-1]
    return [name for name, reached in zip(order, before.tolist(), strict=True) if reached < FRACTION * sum(chars.values())]


def ids_of(dataset: curate.Dataset) -> list[str]:
    """Return the ids of a dataset's documents."""
    return [name for batch in dataset.batches(["id"]) for name in batch.column("id").to_pylist()]


def _on(pipeline: Pipeline, files: Mapping[str, Path], operators: Sequence[Step]) -> Pipeline:
    """Return a recipe on clean English files and models of our own, as its comments say: `text` does no more than it must."""
    inputs = {name: Input(str(path), format="jsonl") for name, path in files.items()}
    stages = {name: stage for name, stage in pipeline.stages.items() if name != "family"}
    stages["text"] = replace(stages["text"], operators=operators)
    return replace(pipeline, inputs=inputs, stages=stages, outputs={}, report_by=("site",))
