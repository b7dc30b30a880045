"""The recipe of D4, run whole: what goes says what another document says, or lies closest to the centroids of the rest."""

from __future__ import annotations

import math
import random

import numpy as np
import orjson
import pytest

import curate
from curate.pipeline_yaml import load_pipeline
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small
from tests.scorers.embed_models import WORDS, save_sentence_model

pytest.importorskip("faiss")
pytest.importorskip("sentence_transformers")

RECIPE = ROOT / "pipelines/d4.yaml"
SAID = [word for word in WORDS if word.isalpha()]
PAGES = 80


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, curate.Dataset]:
    """The recipe's datasets by stage, of pages of which every fourth is an earlier one with a few words in another order."""
    place, dice = tmp_path_factory.mktemp("d4"), random.Random(4)
    texts: list[list[str]] = []
    for number in range(PAGES):
        words = dice.choices(dice.sample(SAID, 5), k=50) if number % 4 else list(dice.choice(texts or [SAID]))
        dice.shuffle(words)
        texts.append(words)
    html = "<html><body><main><h1>A page</h1><p>{}.</p></main></body></html>"
    rows = [{"id": f"p{n:02}", "html": html.format(" ".join(words)), "site": "a"} for n, words in enumerate(texts)]
    small.write_jsonl(place / "crawl.jsonl", [*rows, {"id": "empty", "html": "<p></p>", "site": "a"}])
    model = save_sentence_model(place / "models" / "small")
    options = {"inputs.crawl.path": place / "crawl.jsonl", "inputs.crawl.format": "jsonl", "vars.model": model}
    options |= {"clusters.k": 6, "again.k": 5, "outputs.corpus.path": place / "out"}
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    summary = orjson.loads(
        run("run", str(RECIPE), "-w", str(place / "ws"), "--on", "local", "--workers", "1", "-q", "--json", *sets).stdout
    )
    assert summary["status"] == "done"
    return {name: curate.load(about["dataset"]) for name, about in summary["stages"].items()}


def test_three_quarters_are_left_and_a_third_of_them(done: dict[str, curate.Dataset]) -> None:
    clean, unique, corpus = (done[name].rows for name in ("clean", "unique", "corpus"))
    assert clean > 70 and unique == math.ceil(0.75 * clean) and corpus == math.ceil(0.3333 * unique)
    for name in ("unique", "corpus"):
        done[name].manifest.counts.verify(name)


def test_what_goes_names_what_stays(done: dict[str, curate.Dataset]) -> None:
    for stage, step, reason in (("unique", "same", "semantic_duplicate"), ("corpus", "prototypes", "prototype")):
        before = {row["id"] for row in small.rows(done["clean" if stage == "unique" else "unique"])}
        stays = {row["id"] for row in small.rows(done[stage])}
        drops = small.ledger(done[stage], "drops")
        assert {row["id"] for row in drops} == before - stays and {(row["step"], row["reason"]) for row in drops} == {(step, reason)}
        assert {row["kept_id"] for row in drops} - {None} <= stays and any(row["kept_id"] for row in drops)


def test_prototypes_are_the_nearest_to_the_new_centroids(done: dict[str, curate.Dataset]) -> None:
    distance = {row["id"]: row["distance"] for row in small.rows(done["again"]) if row["distance"] is not None}
    stays = {row["id"] for row in small.rows(done["corpus"])}
    nearest = max(value for name, value in distance.items() if name not in stays)
    assert all(distance.get(name, 1.0) > nearest for name in stays)
    assert len({row["cluster"] for row in small.rows(done["again"])} - {None}) == 5


def test_vectors_are_those_of_the_model_and_go_with_the_corpus(done: dict[str, curate.Dataset]) -> None:
    first = {row["id"]: row["embedding"] for row in small.rows(done["vectors"])}
    for row in small.rows(done["corpus"]):
        assert row["vectors"]["embedding"] == first[row["id"]]
    drops = list(small.ledger(done["unique"], "drops"))
    for row in drops:
        cosine = float(np.dot(first[row["id"]], first[row["kept_id"]]))
        assert row["similarity"] == pytest.approx(cosine, abs=1e-6)


def test_the_numbers_of_the_recipe_belong_together() -> None:
    stages = load_pipeline(RECIPE).pipeline.stages
    r_dedup, r_proto = stages["same"].params["keep_fraction"], stages["prototypes"].params["keep_fraction"]
    assert r_dedup == 0.75 and r_dedup * r_proto == pytest.approx(0.25, abs=1e-3)
    assert stages["clusters"].params["k"] == stages["again"].params["k"] == 11000
