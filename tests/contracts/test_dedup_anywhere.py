"""Every operator that marks duplicates leaves the same bytes with one worker, several, on Ray, and on an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.executors import open_executor
from curate.launch import plan_for
from curate.pipeline import Pipeline
from curate.run import Run
from curate.storage import open_storage
from tests.contracts import duplicates
from tests.s3_server import S3Server

Bytes = dict[str, list[tuple[int, str]]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder; in this module, operators have several partitions, pieces and blocks."""
    with duplicates.workplace() as folder, duplicates.shrunken():
        yield folder


@pytest.fixture(scope="module")
def pipe(place: Path) -> Pipeline:
    names = (*duplicates.EVERY, *duplicates.INDEXED, *duplicates.OTHERS)
    return duplicates.pipeline(duplicates.write(place / "crawl", duplicates.documents(), 4), names)


@pytest.fixture(scope="module")
def alone(pipe: Pipeline, place: Path) -> Bytes:
    """What one worker leaves: rows and hash of every shard of every stage."""
    return finished(pipe, str(place / "alone"), "local", 1)


def finished(pipe: Pipeline, workspace: str, on: str, workers: int | None) -> Bytes:
    planned = plan_for(pipe, None, open_storage(workspace))
    with open_executor(on, workers) as executor:
        result = Run(planned, executor, "run", lambda event: None).execute()
    assert result.status == "done", result.error
    return {name: [(shard.data.rows, shard.data.sha256) for shard in planned.dataset(name).manifest.shards] for name in planned.stages}


@pytest.mark.parametrize(
    ("on", "workers"), [("local", 2), ("local", 3), pytest.param("ray", None, marks=pytest.mark.ray)], ids=["two", "three", "ray"]
)
def test_workers_and_executors_do_not_matter(
    on: str, workers: int | None, pipe: Pipeline, alone: Bytes, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert finished(pipe, str(place / f"{on}-{workers}"), on, workers) == alone
    assert len(alone) == len(duplicates.EVERY) + len(duplicates.INDEXED) + len(duplicates.OTHERS) + 1


@pytest.mark.s3
def test_the_store_does_not_matter(place: Path, alone: Bytes, s3: S3Server) -> None:
    names = (*duplicates.ONE_EACH, *duplicates.INDEXED, *duplicates.OTHERS)
    one_each = duplicates.pipeline(place / "crawl", names)
    assert finished(one_each, f"s3://{s3.new_bucket()}/ws", "local", 2) == {name: alone[name] for name in ("crawl", *names)}
