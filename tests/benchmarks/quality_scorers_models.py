"""What `quality_scorers` judges: classifiers that the operators train, and baselines that see no words or no labels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import torch

import curate
from curate.dataset import Dataset
from curate.errors import OperatorError
from curate.pipeline import Input, Pipeline, Stage
from curate.pipeline_yaml import load_pipeline
from curate_scorers import make_model_family
from curate_scorers.fasttext_score import FastText
from curate_scorers.make_model_family_training import Recipe

PRESELECT = Path(__file__).parents[2] / "pipelines" / "preselect.yaml"
FASTTEXT: Mapping[str, Any] = {"word_ngrams": 2, "bucket": 200_000, "epoch": 25, "dim": 50}
"""For some thousand documents; chosen on those that `train_fasttext` holds out, never on the sets that are judged."""
FAMILY = Recipe(tokens=500_000, width=64, layers=2)  # as many models as the recipe of PreSelect has
SMALL_SEED: Mapping[str, Any] = {"epoch": 50, "lr": 0.5}  # what that recipe says of some hundred documents
MAX_TOKENS = 256  # of a document that the small models read: as many as they were trained to see at a time
WANTED, WEB = "wanted", "web"

Floats = np.ndarray[Any, np.dtype[np.float64]]


def train(folder: Path, sources: Mapping[str, Sequence[str]], **params: Any) -> Dataset:
    """Return the artifact of `train_fasttext` on texts by label."""
    inputs = {name: Input(str(_jsonl(folder / f"{name}.jsonl", {name: texts}))) for name, texts in sources.items()}
    stages = {"model": Stage(list(sources), use="train_fasttext", params={**FASTTEXT, **params})}
    return _run(Pipeline("bench", inputs, stages), folder)["model"]


def strength_classifier(folder: Path, seed: int, groups: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """Make a family of models and run the recipe of PreSelect on a clean crawl as far as its classifier.

    `groups` are the texts that the models learn, by domain, the benchmarks, and the crawl. Returns `family`, what the command says of it, `classifier`, the artifact, and `teaches` and `teaches_not`: how many documents
    of each group it was trained on as good and as bad.
    """
    torch.set_num_threads(1)
    text, target, crawl = groups
    numbers = range(1, len(load_pipeline(PRESELECT).pipeline.stages["losses"].operators) + 1)
    family = make_model_family.make(folder / "family", text, target, replace(FAMILY, models=len(numbers), seed=seed))
    sets = {"vars.family": folder / "family", "inputs.crawl.path": _jsonl(folder / "crawl.jsonl", crawl), "inputs.crawl.format": "jsonl"}
    sets |= {f"losses.m{number}.max_tokens": MAX_TOKENS for number in numbers}
    sets |= {f"classifier.{name}": value for name, value in SMALL_SEED.items()}
    recipe = load_pipeline(PRESELECT, [f"{name}={value}" for name, value in sets.items()]).pipeline
    names = [name for name in recipe.stages if name != "family"]
    stages = {name: recipe.stages[name] for name in names[: names.index("classifier") + 1]}
    stages["text"] = replace(stages["text"], operators=stages["text"].operators[-1:])  # as the recipe says: of a clean crawl, only `draw`
    done = _run(replace(recipe, inputs={"crawl": recipe.inputs["crawl"]}, stages=stages, outputs={}), folder)
    return {"family": family, "classifier": done["classifier"], **{side: _groups(done[side]) for side in ("teaches", "teaches_not")}}


def _groups(dataset: Dataset) -> Counter[str]:
    return Counter(name for batch in dataset.batches(["site"]) for name in batch.column("site").to_pylist())


def _jsonl(path: Path, groups: Mapping[str, Sequence[str]]) -> Path:
    """Write texts with their group as `site`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"{name}-{i}", "text": text, "site": name} for name, texts in groups.items() for i, text in enumerate(texts)]
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return path


def _run(pipeline: Pipeline, folder: Path) -> dict[str, Dataset]:
    """Run a pipeline on one worker and return its datasets by stage."""
    report = curate.run_pipeline(pipeline, workspace=str(folder / "ws"), on="local", workers=1)
    if report["status"] != "done":
        raise OperatorError(f"the run of `{pipeline.name}` is {report['status']}: {report.get('error')}")
    return {stage["name"]: curate.load(stage["dataset"]) for stage in report["stages"]}


def scored(model: Dataset, label: str, texts: Sequence[str]) -> Floats:
    """Return the probability of a label for each text, 0 for one without words."""
    scorer = FastText(f"{model.url}/{model.manifest.about['model']['file']}", label)
    batch = pa.record_batch([pa.array(map(str, range(len(texts)))), pa.array(texts, pa.large_string())], ["id", "text"])
    return np.array(scorer.score(batch).fill_null(0.0), np.float64)


def words(text: str) -> list[str]:
    """Return the words of a text, without case."""
    return re.findall(r"\w+", text.lower())


def frequencies(reference: Iterable[str]) -> Callable[[str], float]:
    """Return the mean log probability of a text's words, by their counts in reference texts and one more of each."""
    counts = Counter(word for text in reference for word in words(text))
    total = math.log(sum(counts.values()) + len(counts) + 1)

    def mean(text: str) -> float:
        found = [math.log(counts[word] + 1) - total for word in words(text)]
        return sum(found) / len(found) if found else -total

    return mean
