"""The recipe of PreSelect, run whole on a planted crawl: the tenth that is kept is of the kind that the target is of."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.pipeline_yaml import load_pipeline
from curate_scorers.train_fasttext import TrainFastText
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("fasttext")

RECIPE = ROOT / "pipelines/preselect.yaml"
WORDS = {
    "trees": "oak elm ash fir yew bark leaf root twig seed",
    "metals": "iron zinc lead gold tin rust ore cast mint coil",
    "birds": "owl jay wren kite crow nest wing egg song beak",
}
PAGES = 120  # of each kind
SMALL = {"width": 32, "layers": 1, "vocabulary": 300, "window": 64, "tokens": 40000}


def text(kind: str, number: int) -> str:
    """Return a text of the words of a kind."""
    return " ".join(random.Random(f"{kind}{number}").choices(WORDS[kind].split(), k=60)) + "."


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, curate.Dataset]:
    """The recipe's datasets by stage; models are of mixtures of the kinds, and the target is metals."""
    place = tmp_path_factory.mktemp("preselect")
    kinds = list(WORDS)
    target = small.write_jsonl(place / "target.jsonl", [{"id": f"t{n}", "text": text("metals", n)} for n in range(2000, 2030)])
    html = "<html><body><main><h1>Page</h1><p>{}</p></main></body></html>"
    pages = [{"id": f"{kind}-{n}", "html": html.format(text(kind, n)), "site": kind} for n in range(PAGES) for kind in kinds]
    small.write_jsonl(place / "crawl.jsonl", pages)
    options: dict[str, Any] = {"inputs.crawl.path": place / "crawl.jsonl", "inputs.crawl.format": "jsonl"}
    options |= {
        "inputs.target.path": target,
        **{f"family.{name}": value for name, value in SMALL.items()},
        "outputs.corpus.path": place / "out",
        "text.english.keep": "length(text) > 0",
        "spread.budget": 60,
        "classifier.epoch": 50,
        "classifier.lr": 0.5,
    }
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    how = ("-w", str(place / "ws"), "--on", "local", "--workers", "2", "-q", "--json")
    summary = orjson.loads(run("run", str(RECIPE), *how, *sets).stdout)
    assert summary["status"] == "done"
    return {name: curate.load(about["dataset"]) for name, about in summary["stages"].items()}


def kind_of(row: dict[str, Any]) -> str:
    return str(row["id"]).partition("-")[0]


def test_the_seed_is_spread_over_sites(done: dict[str, curate.Dataset]) -> None:
    assert Counter(map(kind_of, small.rows(done["seed"]))) == dict.fromkeys(WORDS, 60)


def test_both_sides_are_ranks_of_strength(done: dict[str, curate.Dataset]) -> None:
    scores = {row["id"]: row["strength"]["score"] for row in small.rows(done["strengths"])}
    order = sorted(scores, key=lambda name: (-scores[name], name))
    assert {row["id"] for row in small.rows(done["teaches"])} == set(order[:18])
    assert {scores[row["id"]] for row in small.rows(done["teaches_not"])} == set(sorted(scores.values())[:18])
    assert Counter(map(kind_of, small.rows(done["teaches"])))["metals"] > 15


def test_the_tenth_that_stays_is_like_the_target(done: dict[str, curate.Dataset]) -> None:
    kept, whole = small.rows(done["corpus"]), small.rows(done["text"])
    chars = [sum(len(row["text"]) for row in rows) for rows in (kept, whole)]
    assert 0.1 <= chars[0] / chars[1] < 0.11
    assert Counter(map(kind_of, kept))["metals"] == len(kept) > 30


def test_a_missing_family_is_told(tmp_path: Path) -> None:
    crawl = small.write_jsonl(tmp_path / "crawl.jsonl", [{"id": "a", "html": "<p>Words that are a page of a site.</p>", "site": "a"}])
    options = {"inputs.crawl.path": crawl, "inputs.crawl.format": "jsonl", "text.english.keep": "length(text) > 0"}
    options |= {"vars.family": tmp_path / "none", "outputs.corpus.path": tmp_path / "out"}
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    failed = run("run", str(RECIPE), "-w", str(tmp_path / "ws"), "--on", "local", "--workers", "1", "-q", *sets, code=2)
    assert "there is no folder with a config.json" in failed.stderr
    assert "make_model_family" in failed.stderr


def test_numbers_that_are_the_papers_are_fasttexts_defaults_or_told() -> None:
    params = load_pipeline(RECIPE).pipeline.stages["classifier"].params
    defaults = TrainFastText()
    assert all(params[name] == getattr(defaults, name) for name in ("dim", "lr", "epoch", "held_out"))
    assert (params["word_ngrams"], params["zero_eos"]) == (2, True)
