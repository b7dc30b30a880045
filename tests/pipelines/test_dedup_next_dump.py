"""The recipe for dump after dump, run as it is told to be: with two dumps, of which the second repeats pages of the first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from tests.conftest import ROOT
from tests.contracts.workspaces import run
from tests.engine import small

DUMPS = {"2026-35": ["handbook_en-US", "install_en"], "2026-40": ["handbook_en-US", "help_en-US"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and two dumps, whose files are named by their dump."""
    place = tmp_path_factory.mktemp("dumps")
    for dump, files in DUMPS.items():
        (place / "crawl" / dump).mkdir(parents=True)
        for name in files:
            shutil.copy(ROOT / "pipelines/sample" / f"{name}.warc.gz", place / "crawl" / dump / f"{dump}-{name}.warc.gz")
    run("init", "dedup_next_dump", "--to", str(place / "next.yaml"))
    return place


def deduplicate(place: Path, dump: str, *sets: str) -> dict[str, Any]:
    """Run the recipe for one dump, and return what the run says of itself."""
    chosen = [f"vars.dump={dump}", f"inputs.crawl.path=crawl/{dump}/*.warc.gz", *sets]
    chosen += [f"outputs.{name}.path={name}/{dump}" for name in ("corpus", "index")]
    options = [option for one in chosen for option in ("--set", one)]
    how = ("-w", str(place / "ws"), "--on", "local", "--workers", "2", "--quiet", "--json")
    summary: dict[str, Any] = orjson.loads(run("run", str(place / "next.yaml"), *options, *how).stdout)
    return summary


def test_two_dumps(place: Path) -> None:
    first = deduplicate(place, "2026-35")
    second = deduplicate(place, "2026-40", "vars.last=index/2026-35")
    marks = [small.rows(curate.load(done["stages"]["dedup"]["dataset"])) for done in (first, second)]
    staying = {row["id"] for row in marks[0] if row["keep"]}
    again = [row for row in marks[1] if "handbook" in row["id"]]
    assert len(again) > 20 and not any(row["keep"] for row in again)
    assert {row["kept_id"] for row in again} <= staying
    assert sum(row["keep"] for row in marks[1]) > 5  # the other pages are new
    corpora = [small.rows(curate.load(str(place / "corpus" / dump))) for dump in DUMPS]
    assert [[row["id"] for row in rows] for rows in corpora] == [[row["id"] for row in rows if row["keep"]] for rows in marks]
    index = curate.load(str(place / "index/2026-40"))
    assert index.manifest.about["dumps"] == 2
    texts = {row["id"]: row["text"] for row in small.rows(index) if row["kept_id"] is None}
    assert texts == {row["id"]: row["text"] for rows in corpora for row in rows}

    repeated = deduplicate(place, "2026-40", "vars.last=index/2026-35")
    assert {stage["status"] for stage in repeated["stages"].values()} == {"reused"}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["vars.last=index/2026-34"], "input `last`: no finished dataset at"),
        (["vars.last=index/2026-35", "dedup.similarity=0.7"], "similarity 0.8, not 0.7"),
        (["vars.last=index/2026-35", "vars.dump=2026-35", "outputs.index.path=index/2026-35"], "is also read"),
    ],
)
def test_a_wrong_index_is_told_before_anything_runs(place: Path, sets: list[str], message: str) -> None:
    if not (place / "index/2026-35").exists():
        deduplicate(place, "2026-35")
    options = [option for one in sets for option in ("--set", one)]
    before = sorted((place / "ws/datasets").iterdir())
    told = run("run", str(place / "next.yaml"), "-w", str(place / "ws"), "--quiet", *options, "--set", "inputs.crawl.path=crawl", code=2)
    assert message in told.stderr
    assert sorted((place / "ws/datasets").iterdir()) == before
