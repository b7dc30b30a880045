"""Executors for the contract: one of each kind for a whole module, as starting Ray takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curate.executors import Executor, open_executor


@pytest.fixture(scope="module", params=["in-process", "local-2", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Every implementation."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)
        on, workers = {"in-process": ("local", 1), "local-2": ("local", 2), "ray": ("ray", None)}[request.param]
        with open_executor(on, workers) as opened:
            yield opened


@pytest.fixture
def apart(executor: Executor) -> Executor:
    """An executor whose tasks run in other processes."""
    if executor.name == "local" and executor.slots == 1:
        pytest.skip("tasks run in this process")
    return executor
