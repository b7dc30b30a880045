"""Each kind of fault has a budget of its own; nothing is tried for ever, and nothing final is tried twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest

from curate import attempts
from curate.attempts import BUDGETS, attempt_all
from curate.errors import DatasetError, OperatorError, TransientError
from curate.executors.base import Outcome, Resources


@dataclass(frozen=True)
class Job:
    """Fails so often with each cause, then returns how it was tried."""

    name: str
    size: int = 0
    fails: tuple[str, ...] = ()
    attempt: int = 1
    isolate: bool = False


@dataclass
class InOrder:
    """An executor of so many slots: one task after another ends, the longest running first, as the protocol says."""

    slots: int = 1
    name: str = "in order"
    calls: list[tuple[Job, Resources]] = field(default_factory=list)
    open_maps: int = 0

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        source, running = iter(items), list[Any]()
        self.open_maps += 1
        try:
            while True:
                while len(running) < self.slots and (item := next(source, None)) is not None:
                    running.append(item)
                if not running:
                    return
                yield self._outcome(fn, running.pop(0), resources)
        finally:
            self.open_maps -= 1

    def _outcome(self, fn: Callable[[Any], Any], item: Any, resources: Resources) -> Outcome:
        self.calls.append((item[1], resources))
        try:
            return Outcome(item, fn(item))
        except Exception as error:
            return Outcome(item, error=error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


def work(job: Job) -> str:
    if job.attempt <= len(job.fails):
        cause = job.fails[job.attempt - 1]
        raise {"bug": OperatorError("bug"), "damage": DatasetError("damage")}.get(cause) or TransientError(f"died of {cause}", cause=cause)
    return f"{job.name} at attempt {job.attempt}{' isolated' if job.isolate else ''}"


def tried(jobs: list[Job], slots: int = 1, memory: int | None = None) -> tuple[dict[str, Outcome], InOrder, list[tuple[str, str]]]:
    executor, retries = InOrder(slots), list[tuple[str, str]]()
    outcomes = list(attempt_all(executor, work, jobs, Resources(memory=memory), lambda job, cause: retries.append((job.name, cause))))
    assert len(outcomes) == len(jobs), "one outcome per task"
    return {outcome.item.name: outcome for outcome in outcomes}, executor, retries


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only while somebody sleeps; the list holds the naps."""
    naps: list[float] = []
    monkeypatch.setattr(attempts, "time", SimpleNamespace(monotonic=lambda: sum(naps), sleep=naps.append))
    return naps


def test_the_largest_go_first() -> None:
    jobs = [Job(str(size), size) for size in (3, 9, 1, 9, 5)]
    _, executor, _ = tried(jobs, slots=2)
    assert [job.size for job, _ in executor.calls] == [9, 9, 5, 3, 1]


@pytest.mark.parametrize(("cause", "budget"), [("preempted", BUDGETS["preempted"]), ("out_of_memory", 2), ("never heard of", 1)])
def test_a_budget_ends(cause: str, budget: int, clock: list[float]) -> None:
    outcomes, executor, retries = tried([Job("a", fails=(cause,) * 100), Job("b", fails=(cause,) * (budget - 1))])
    assert isinstance(outcomes["a"].error, TransientError) and outcomes["a"].item.attempt == budget
    assert outcomes["b"].result == f"b at attempt {budget}"
    assert len([job for job, _ in executor.calls if job.name == "a"]) == budget
    assert retries.count(("a", cause)) == budget - 1


def test_two_deaths_isolate_and_isolation_has_two_tries() -> None:
    outcomes, executor, _ = tried([Job("a", fails=("worker_died",) * 100), Job("b", fails=("worker_died",) * 2)])
    assert [job.isolate for job, _ in executor.calls if job.name == "a"] == [False, False, True, True]
    assert isinstance(outcomes["a"].error, TransientError)
    assert outcomes["b"].result == "b at attempt 3 isolated"


def test_causes_do_not_eat_each_other_s_budgets(clock: list[float]) -> None:
    causes = ("preempted",) * 19 + ("worker_died",) + ("storage",) * 5 + ("out_of_memory",)
    outcomes, _, retries = tried([Job("a", fails=causes)])
    assert outcomes["a"].result == f"a at attempt {len(causes) + 1}"
    assert [cause for _, cause in retries] == list(causes)


@pytest.mark.parametrize("cause", ["bug", "damage"])
def test_what_no_retry_mends_is_final_at_once(cause: str) -> None:
    outcomes, executor, retries = tried([Job("a", fails=(cause,)), Job("b")])
    assert str(outcomes["a"].error) == cause and outcomes["b"].result == "b at attempt 1"
    assert len(executor.calls) == 2 and retries == []


def test_the_hungry_wait_for_the_others_and_get_twice_the_memory() -> None:
    _, executor, _ = tried([Job("big", 9, ("out_of_memory",)), Job("small", 1), Job("tiny", 0)], slots=2, memory=100)
    assert [(job.name, resources.memory) for job, resources in executor.calls] == [
        ("big", 100),
        ("small", 100),
        ("tiny", 100),
        ("big", 200),
    ]


def test_without_a_limit_the_hungry_have_none_either() -> None:
    _, executor, _ = tried([Job("big", 9, ("out_of_memory",))])
    assert [resources.memory for _, resources in executor.calls] == [None, None]


def test_a_store_that_asks_for_patience_gets_more_each_time(clock: list[float]) -> None:
    outcomes, _, _ = tried([Job("a", fails=("storage",) * 100)])
    assert isinstance(outcomes["a"].error, TransientError)
    assert clock == [1, 2, 4, 8, 16]


def test_others_go_on_while_one_waits_for_the_store(clock: list[float]) -> None:
    _, executor, _ = tried([Job("a", 9, ("storage",)), Job("b", 5), Job("c", 1)])
    assert [job.name for job, _ in executor.calls] == ["a", "b", "c", "a"]
    assert clock == [1]


def test_closing_stops_the_executor() -> None:
    executor = InOrder()
    outcomes = attempt_all(executor, work, [Job("a"), Job("b")], Resources(), lambda job, cause: None)
    assert next(outcomes).item.name == "a" and executor.open_maps == 1
    outcomes.close()
    assert executor.open_maps == 0 and len(executor.calls) == 1


def test_nothing_to_do() -> None:
    outcomes, executor, _ = tried([])
    assert outcomes == {} and executor.calls == []
