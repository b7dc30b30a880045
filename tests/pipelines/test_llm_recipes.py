"""The recipes that ask a language model, run on the sample with a server that answers by rule: all rows accounted for, nothing asked twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import curate
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.llm.servers import StubProcess

PAGES = 24


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


def carried_out(name: str, stub: StubProcess, place: Path) -> dict[str, curate.Dataset]:
    sets = {"vars.model": "stub", "vars.endpoint": stub.url, "inputs.crawl.path": ROOT / "pipelines/sample/install_en.warc.gz"}
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prox", "wrap", "nemotron_cc"])
def test_recipes(name: str, stub: StubProcess, tmp_path: Path) -> None:
    before = len(stub.asked())
    found = carried_out(name, stub, tmp_path)
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
            "nemotron_cc": {"wikipedia", "diverse_qa", "distill", "extract_knowledge", "knowledge_list"},
        }[name]
    )
    assert set(corpus["rewrite"].struct.field("style")) <= {"original"}  # the server's answers hold the prompt: the guard drops them
    assert {"leaked_instructions", "no_pairs"} <= set(found["guarded"].manifest.counts.dropped["rewrite_guard"])
