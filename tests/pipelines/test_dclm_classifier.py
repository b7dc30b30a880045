"""The recipe of DCLM's classifier, run on the sample: the tenth that is kept is the tenth by score, and reads like the examples."""

from __future__ import annotations

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
from tests.kernels.conftest import sample_texts

RECIPE = ROOT / "pipelines/dclm_classifier.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, curate.Dataset]:
    """The recipe's datasets by stage; a few answers are planted in the crawl."""
    place = tmp_path_factory.mktemp("classifier")
    answers = [orjson.loads(line) for line in (ROOT / "pipelines/sample/answers.jsonl").read_bytes().splitlines()]
    small.write_jsonl(place / "wanted.jsonl", answers[:200])
    html = "<html><body><main><h1>{}</h1><p>{}</p></main></body></html>"
    pages = [{"id": f"planted-{n}", "html": html.format(*answer["text"].split("\n\n", 1))} for n, answer in enumerate(answers[200:210])]
    pages += [{"id": f"page-{n}", "html": html.format("Page", text)} for n, text in enumerate(_pages())]
    small.write_jsonl(place / "crawl.jsonl", pages)
    options = {"inputs.crawl.path": place / "crawl.jsonl", "inputs.crawl.format": "jsonl", "inputs.wanted.path": place / "wanted.jsonl"}
    options |= {"outputs.corpus.path": place / "out", "classifier.epoch": 25, "text.english.keep": "length(text) > 0"}
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    summary = orjson.loads(
        run("run", str(RECIPE), "-w", str(place / "ws"), "--on", "local", "--workers", "2", "-q", "--json", *sets).stdout
    )
    assert summary["status"] == "done"
    return {name: curate.load(about["dataset"]) for name, about in summary["stages"].items()}


def _pages() -> list[str]:
    """Return pieces of the sample crawl's English pages, a paragraph each."""
    texts = [" ".join(text.split()) for text in sample_texts() if text.count(" the ") > 20]
    return [text[k : k + 400] for text in texts for k in range(0, len(text) - 400, 400)][:300]


def test_the_best_tenth_stays(done: dict[str, curate.Dataset]) -> None:
    scores = {row["id"]: row["quality"] for row in small.rows(done["scores"])}
    best = sorted(scores, key=lambda name: (-scores[name], name))
    kept = [row["id"] for row in small.rows(done["corpus"])]
    assert len(scores) > 100 and len(kept) == -(-len(scores) // 10)
    assert set(kept) == set(best[: len(kept)])
    assert sum(name.startswith("planted") for name in kept) >= 9


def test_the_model_is_judged_and_names_its_labels(done: dict[str, curate.Dataset]) -> None:
    about: dict[str, Any] = done["classifier"].manifest.about
    assert about["labels"] == ["cc", "hq"] and about["positive"] == "hq"
    counts = about["training_set"]["documents"]
    assert abs(counts["hq"] - counts["cc"]) < 0.2 * counts["hq"]
    assert about["measures"]["low"] > 0.9
    assert Path(done["classifier"].url, "model.bin").is_file()


def test_the_sample_runs_as_the_recipe_stands(tmp_path: Path) -> None:
    how = ("-w", str(tmp_path / "ws"), "--on", "local", "--workers", "2", "-q", "--json", "--set", f"outputs.corpus.path={tmp_path}/out")
    summary = orjson.loads(run("run", str(RECIPE), *how).stdout)
    assert summary["status"] == "done"
    text, corpus = (curate.load(summary["stages"][name]["dataset"]) for name in ("text", "corpus"))
    assert text.rows > 150 and corpus.rows == -(-text.rows // 10)


def test_numbers_that_are_fasttexts_defaults_are_so() -> None:
    params = load_pipeline(RECIPE).pipeline.stages["classifier"].params
    defaults = TrainFastText()
    assert all(params[name] == getattr(defaults, name) for name in ("word_ngrams", "dim", "lr", "epoch", "held_out"))


def test_every_number_has_its_reason_beside_it() -> None:
    params = [line for line in RECIPE.read_text().splitlines() if line.startswith("      ") and ":" in line.partition("#")[0]]
    numbers = [line for line in params if line.partition("#")[0].rstrip()[-1].isdigit() and "#" not in line]
    assert [line.strip() for line in numbers] == ["lr: 0.1", "epoch: 5"]  # of a group, the first says it for all
