"""A missing, cut or altered intermediate file of any phase is told by its name, with a hint; it is never a silent other result."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CurateError, OperatorError
from curate.executors.base import Outcome, Resources
from curate.executors.local import LocalExecutor
from curate.pipeline import Pipeline
from curate.run import Run, RunResult
from tests.contracts import duplicates
from tests.contracts.workspaces import contents
from tests.engine import small

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "empty": lambda data: b"",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-1],
    "altered at the start": lambda data: altered(data, len(data) // 10),
    "altered in the middle": lambda data: altered(data, len(data) // 2),
    "altered near the end": lambda data: altered(data, len(data) - 30),
}


def altered(data: bytes, place: int) -> bytes:
    """Turn one bit over."""
    changed = bytearray(data)
    changed[place] ^= 4
    return bytes(changed)


class StopsAt(LocalExecutor):
    """Runs tasks in this process until those of one phase of a stage, which fail."""

    def __init__(self, stage: str, phase: str) -> None:
        super().__init__(1)
        self._where = (f"/{stage}@", f"/.scratch/{phase}/")

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        return super().map(Stopped(fn, self._where), items, resources)


@dataclass(frozen=True)
class Stopped:
    """Does what the function does, but not in one phase of a stage."""

    fn: Callable[[Any], Any]
    where: tuple[str, str]

    def __call__(self, numbered: Any) -> Any:
        if all(part in f"/{getattr(numbered[1], 'prefix', '')}" for part in self.where):
            raise OperatorError("stopped")
        return self.fn(numbered)


@dataclass(frozen=True)
class Scene:
    """One operator's pipeline, the phases that it has, and what an undisturbed run leaves."""

    name: str
    pipe: Pipeline
    phases: list[str]
    calm: dict[str, str]

    def run(self, workspace: Path, until: str | None = None) -> RunResult:
        planned = small.plan(self.pipe, workspace)
        with StopsAt(self.name, until or "no phase") as executor:
            return Run(planned, executor, "run", lambda event: None).execute()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with duplicates.workplace() as folder, duplicates.shrunken():
        yield folder


@pytest.fixture(scope="module", params=(*duplicates.ONE_EACH, *duplicates.INDEXED))
def scene(request: pytest.FixtureRequest, place: Path) -> Scene:
    pipe = duplicates.pipeline(duplicates.write(place / request.param / "crawl", duplicates.documents(), 3), (request.param,))
    events: list[Any] = []
    assert small.execute(small.plan(pipe, place / request.param / "calm"), events=events).status == "done"
    own = [event for event in events if event["event"] == "stage_started" and event["stage"] == request.param]
    started = [event["phase"] for event in own if event["phase"]]
    phases = ["emit" if phase == "write" else phase for phase in started]
    return Scene(request.param, pipe, phases, contents(place / request.param / "calm"))


def test_a_damaged_file_is_told_and_never_a_result(scene: Scene, place: Path) -> None:
    told = set()
    new = duplicates.NEW_PHASES.get(scene.name, tuple(scene.phases))
    shutil.rmtree(place / "ws", ignore_errors=True)
    for phase, following in pairwise(scene.phases):
        assert "stopped" in str(scene.run(place / "ws", following).error)
        for path in largest(place / "ws", scene.name, phase) if phase in new else ():
            for damage, change in DAMAGES.items():
                where = f"{phase}/{path.name} {damage}"
                with damaged(place, path, change) as workspace:
                    error = scene.run(workspace).error
                    if error is None:  # a task without a result is repeated; some files are read no more
                        assert contents(workspace) == scene.calm, where
                        continue
                    assert isinstance(error, CurateError), where
                    assert f"/{phase}/{path.name}" in error.message and "run again" in (error.hint or ""), where
                    assert not list(workspace.glob(f"datasets/{scene.name}@*/manifest.json")), where
                    told.add(phase)
    assert told == set(scene.phases[:-1]) & set(new) - {"emit"}


@contextmanager
def damaged(place: Path, path: Path, change: Callable[[bytes], bytes | None]) -> Iterator[Path]:
    """Give a copy of the workspace in which one file is not what it was."""
    shutil.copytree(place / "ws", place / "damaged")
    victim = place / "damaged" / path.relative_to(place / "ws")
    data = change(victim.read_bytes())
    if data is None:
        victim.unlink()
    else:
        victim.write_bytes(data)
    try:
        yield place / "damaged"
    finally:
        shutil.rmtree(place / "damaged")


def largest(workspace: Path, stage: str, phase: str) -> Iterator[Path]:
    """Yield the largest file of each kind that a phase of a stage left."""
    kinds: dict[str, list[Path]] = {}
    for path in workspace.glob(f"datasets/{stage}@*/.scratch/{phase}/*"):
        kinds.setdefault(path.name.partition(".")[2], []).append(path)
    for _, paths in sorted(kinds.items()):
        yield max(paths, key=lambda path: (path.stat().st_size, path.name))
