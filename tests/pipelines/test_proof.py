"""The proof, run whole on the sample with models as small as they can be: four corpora from one command, and each judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.pipeline_yaml import load_pipeline
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("fasttext")

RECIPE = ROOT / "pipelines/proof.yaml"
CORPORA = ("raw", "clean", "corpus", "chosen")
TINY: dict[str, Any] = {
    "words.size": 1024,
    "family.tokens": 20000,
    "family.width": 32,
    "family.layers": 1,
    "family.vocabulary": 400,
    "family.window": 64,
    "classifier.epoch": 20,
    "trials.size": "32x1",
    "trials.tokens": 4000,
    "trials.seeds": 3,
    "checks.better_than_raw.max_loss": 100,  # models as small tell nothing
    "checks.not_worse_than_clean.max_loss": 100,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says of the run, and the recipe's datasets by stage."""
    place = tmp_path_factory.mktemp("proof")
    sets = [word for name, value in {**TINY, "outputs.corpus.path": place / "out"}.items() for word in ("--set", f"{name}={value}")]
    how = ("-w", str(place / "ws"), "--on", "local", "--workers", "2", "-q", "--json")
    summary: dict[str, Any] = orjson.loads(run("run", str(RECIPE), *how, *sets).stdout)
    assert summary["status"] == "done"
    return summary | {"datasets": {name: curate.load(about["dataset"]) for name, about in summary["stages"].items()}}


def ids(done: dict[str, Any], stage: str) -> set[str]:
    return {row["id"] for row in small.rows(done["datasets"][stage])}


def test_each_corpus_is_of_the_one_before(done: dict[str, Any]) -> None:
    found = [ids(done, name) for name in CORPORA]
    assert all(later < earlier for earlier, later in zip(found, found[1:], strict=False)), "a proper part"
    chars = [sum(len(row["text"]) for row in small.rows(done["datasets"][name])) for name in ("corpus", "chosen")]
    assert 0.5 <= chars[1] / chars[0] < 0.75, "the half, and the document that reaches it"


def test_what_judges_is_not_what_was_aimed_at(done: dict[str, Any]) -> None:
    aimed, judged = ids(done, "aimed"), ids(done, "judged")
    assert not aimed & judged and len(aimed | judged) == 240
    assert {row["item"] for row in small.rows(done["datasets"]["trials"])} == judged
    about = done["datasets"]["family"].manifest.about
    assert len(about["models"]) == 4 and set(about["groups"]) == {"handbook", "help", "install", "pydoc"}


def test_every_corpus_is_tried_and_told(done: dict[str, Any]) -> None:
    [note] = [note for note in done["datasets"]["trials"].manifest.notes if note["name"] == "trials"]
    assert set(note["measures"]["judged"]) == {*(f"{name}_packed" for name in CORPORA), "signal to noise"}
    assert Path(done["outputs"]["corpus"]).is_dir()


def test_chosen_decides_nothing() -> None:
    pipeline = load_pipeline(RECIPE).pipeline
    assert list(pipeline.outputs) == ["corpus"]
    deciding = {name: check.params["candidate"] for name, check in pipeline.checks.items() if check.params.get("max_loss", 0) < 1}
    assert set(deciding.values()) == {"corpus_packed"} and len(deciding) == 2
