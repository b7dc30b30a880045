"""Conservation and determinism: the same bytes for any number of workers and either executor, every row accounted for."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import curate
from tests.contracts.workspaces import contents, run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, quickstart: Path) -> Path:
    """The workspace of the quickstart on one worker."""
    return _run(tmp_path_factory.mktemp("alone"), quickstart, "--on", "local", "--workers", "1")


def _run(folder: Path, pipeline: Path, *how: str) -> Path:
    done = run("run", str(pipeline), "-w", str(folder / "ws"), "--json", "--quiet", "--set", f"outputs.corpus.path={folder}/out", *how)
    summary = orjson.loads(done.stdout)
    assert summary["status"] == "done"
    return folder / "ws"


@pytest.mark.parametrize(
    "how", [("--on", "local", "--workers", "2"), pytest.param(("--on", "ray"), marks=pytest.mark.ray)], ids=["two workers", "ray"]
)
def test_workers_and_executors_do_not_matter(how: tuple[str, ...], alone: Path, tmp_path: Path, quickstart: Path) -> None:
    other = _run(tmp_path, quickstart, *how)
    assert contents(other) == contents(alone)
    assert _published(tmp_path / "out") == _published(alone.parent / "out")


def _published(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("part-*")}


def test_every_page_is_accounted_for(alone: Path) -> None:
    plan = orjson.loads(next(alone.glob("runs/*/plan.json")).read_bytes())
    rows = None
    for stage in plan["stages"].values():
        dataset = curate.load(str(alone / stage["dataset"]))
        counts = dataset.manifest.counts
        counts.verify(dataset.name)
        assert counts.rows_in + counts.rows_added == counts.rows_out + counts.rows_dropped + counts.merged + counts.errored
        assert rows is None or counts.rows_in == rows, "a stage reads all that the one before left"
        rows = counts.rows_out
        assert sum(batch.num_rows for batch in dataset.batches(["id"])) == counts.rows_out
        assert sum(batch.num_rows for batch in dataset.ledger("drops")) == counts.rows_dropped
    assert rows == curate.load(str(alone.parent / "out")).rows


def test_a_second_run_reuses_everything(alone: Path, quickstart: Path) -> None:
    done = run("run", str(quickstart), "-w", str(alone), "--json", "--quiet", "--set", f"outputs.corpus.path={alone.parent}/out")
    assert {stage["status"] for stage in orjson.loads(done.stdout)["stages"].values()} == {"reused"}


def test_a_late_change_reuses_the_early_stages(alone: Path, quickstart: Path, tmp_path: Path) -> None:
    done = run(
        *("run", str(quickstart), "-w", str(alone), "--json", "--quiet"),
        *("--set", f"outputs.corpus.path={tmp_path}/out", "--set", "clean.length.min_chars=400"),
    )
    stages = orjson.loads(done.stdout)["stages"]
    assert {name: stage["status"] for name, stage in stages.items()} == {
        "text": "reused",
        "clean": "done",
        "dedup": "done",
        "corpus": "done",
    }
