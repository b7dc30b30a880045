"""The published recipes, run on the sample: every page accounted for, the reasons that belong to each, what the rules promise of the text."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.pipeline_yaml import load_pipeline
from curate.recipes import recipe, recipes
from curate.registry import find
from tests.conftest import ROOT
from tests.contracts.workspaces import run

NAMES = ("gopher", "c4", "fineweb", "dclm")
PAGES, STYLE_SHEETS = 300, 20
# What a recipe sets other than the operator's default, which is the paper's.
ON_PURPOSE = {
    ("fineweb", "c4_lines", "terminal_punctuation"),
    ("gopher", "gopher_quality", "punctuation_counts"),
    ("dclm", "gopher_quality", "punctuation_counts"),
    ("dclm", "gopher_quality", "stop_word_counting"),
    ("dclm", "gopher_repetition", "counting"),
}
# The rules, and of some how many pages of the sample they drop at least: extraction may get better, tables stay tables.
EXPECTED: dict[str, dict[str, int]] = {
    "gopher": {"english": 60, "gopher_quality": 15, "gopher_repetition": 5, "dedup": 1},
    "c4": {"english": 60, "word_blocklist": 0, "c4_page": 20, "dedup": 1},
    "fineweb": {
        "url_blocklist": 0,
        "english": 60,
        "gopher_repetition": 5,
        "gopher_quality": 30,
        "c4_page": 3,
        "fineweb_quality": 3,
        "dedup": 1,
    },
    "dclm": {"url_blocklist": 0, "english": 60, "gopher_quality": 15, "gopher_repetition": 8, "dclm_page": 0, "dedup": 1},
}


@dataclass(frozen=True)
class Run:
    """A recipe that was run: its stages' datasets in order, and what came out."""

    name: str
    stages: dict[str, curate.Dataset]
    texts: list[str]

    def reasons(self) -> Counter[tuple[str, str]]:
        """Return how many pages each reason of each step has in the ledgers."""
        found: Counter[tuple[str, str]] = Counter()
        for dataset in self.stages.values():
            for batch in dataset.ledger("drops"):
                found.update(zip(batch.column("step").to_pylist(), batch.column("reason").to_pylist(), strict=True))
        return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module", params=NAMES)
def done(request: pytest.FixtureRequest, workspace: Path) -> Run:
    """Each recipe, run as it is but for where it puts things; `text` is shared where it is the same."""
    name, out = request.param, workspace / "corpora" / request.param
    how = ("-w", str(workspace), "--on", "local", "--workers", "2", "--quiet", "--json")
    summary = orjson.loads(run("run", str(ROOT / "pipelines" / f"{name}.yaml"), *how, "--set", f"outputs.corpus.path={out}").stdout)
    assert summary["status"] == "done"
    stages = {stage: curate.load(about["dataset"]) for stage, about in summary["stages"].items()}
    texts = [text for batch in curate.load(str(out)).batches(["text"]) for text in batch.column("text").to_pylist()]
    return Run(name, stages, texts)


def test_every_page_is_accounted_for(done: Run) -> None:
    rows = PAGES
    for dataset in done.stages.values():
        counts = dataset.manifest.counts
        counts.verify(dataset.name)
        assert (counts.rows_in, counts.rows_added, counts.merged, counts.errored) == (rows, 0, 0, 0)
        assert counts.rows_in == counts.rows_out + counts.rows_dropped
        rows = counts.rows_out
    assert rows == len(done.texts)
    assert sum(done.reasons().values()) == PAGES - rows
    assert 0.1 * PAGES < rows < 0.6 * PAGES


def test_each_step_drops_what_it_is_there_for(done: Run) -> None:
    by_step: Counter[str] = Counter()
    for (step, reason), count in done.reasons().items():
        assert reason, f"{step} says why"
        by_step[step] += count
    assert by_step.pop("read") == STYLE_SHEETS
    assert set(by_step) <= set(EXPECTED[done.name])
    assert {step: count for step, count in EXPECTED[done.name].items() if by_step[step] < count} == {}


def test_what_is_left_keeps_the_rules(done: Run) -> None:
    assert all(text.strip() for text in done.texts)
    assert len(set(done.texts)) == len(done.texts)
    if done.name == "c4":
        lines = [line for text in done.texts for line in text.split("\n")]
        assert all(line.endswith((".", "?", "!", '"', "'")) and len(line.split()) >= 3 for line in lines)
    if done.name in ("c4", "fineweb"):
        assert not any("{" in text or "lorem ipsum" in text.lower() for text in done.texts)
    if done.name == "fineweb":
        assert set(re.findall(r"[\w.]+@[\w.]+\.\w+", "\n".join(done.texts))) <= {"email@example.com"}
    if done.name == "dclm":
        assert not any(re.search(r"https?://\w", text) for text in done.texts)
        extracted = [text for batch in done.stages["text"].batches(["text"]) for text in batch.column("text").to_pylist()]
        assert not any("\n\n\n" in text for text in extracted)
        assert not any(len(line.split()) == 1 for text in done.texts for line in text.split("\n"))
        assert done.stages["text"].manifest.counts.edited["strip_urls"]["rows"] > 20
        assert done.stages["clean"].manifest.counts.edited["dclm_lines"]["rows"] > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_repeats_the_defaults_that_it_explains(name: str) -> None:
    pipeline = load_pipeline(ROOT / "pipelines" / f"{name}.yaml").pipeline
    explained = 0
    for step in (step for stage in pipeline.stages.values() for step in stage.operators):
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(find(step.use)[0])}  # type: ignore[arg-type]
        if not step.use.startswith(("gopher", "c4", "fineweb", "dclm")):
            continue
        for param, value in step.params.items():
            assert (value == defaults[param]) != ((name, step.use, param) in ON_PURPOSE), f"{step.use}.{param}: {value}"
            explained += 1
    assert explained >= 5


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_has_its_reason_beside_it(name: str) -> None:
    text = (ROOT / "pipelines" / f"{name}.yaml").read_text()
    limits = re.findall(r"^ +(m(?:in|ax)_\w+: .*)$", text, re.MULTILINE)
    again = ("paragraph", "_line_char_ratio", "top_", "repeated_")  # of a family, the first says it for all
    assert [limit for limit in limits if "#" not in limit and not any(part in limit for part in again)] == []


def test_recipes_are_offered_and_packed() -> None:
    assert set(NAMES) <= set(recipes())
    assert all(recipes()[name] and recipe(name).startswith("#") for name in NAMES)
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "pipelines").glob("*.yaml")}
    assert {path: f"curate/recipes/{Path(path).name}" for path in files} == packed
