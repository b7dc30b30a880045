"""The contract of an executor, run over every implementation."""

from __future__ import annotations

import itertools
import os
import pickle
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from curate.errors import DatasetError, OperatorError, TransientError
from curate.executors import Executor, Outcome, Resources
from tests.executors import tasks

ONE = Resources()


class Retrying:
    """An iterator that gets items back while it is being served."""

    def __init__(self, items: list[Any]) -> None:
        self.waiting = deque(items)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


def alive(folder: Path) -> list[int]:
    """Return the processes that `note_pid` has noted and that still run."""
    noted = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return [pid for pid in noted if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Any, seconds: float = 2) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def test_every_item_has_exactly_one_outcome(executor: Executor) -> None:
    outcomes = list(executor.map(tasks.square, iter(range(300)), ONE))
    assert sorted((outcome.item, outcome.result) for outcome in outcomes) == [(number, number * number) for number in range(300)]
    assert all(outcome.error is None for outcome in outcomes)


def test_no_items_no_outcomes(executor: Executor) -> None:
    assert list(executor.map(tasks.square, iter(()), ONE)) == []


def test_items_are_taken_as_they_are_needed(executor: Executor) -> None:
    taken = itertools.count()
    mapping = executor.map(tasks.square, (next(taken) for _ in range(100_000)), ONE)
    assert next(taken) == 0, "nothing is taken before the first outcome is asked for"
    for _ in range(10):
        next(mapping)
    mapping.close()  # type: ignore[attr-defined]
    assert next(taken) <= 12 + max(64, 2 * executor.slots) + executor.slots


def test_an_endless_iterator_is_served(executor: Executor) -> None:
    mapping = executor.map(tasks.square, itertools.count(), ONE)
    assert len({outcome.item for outcome in itertools.islice(mapping, 50)}) == 50
    mapping.close()  # type: ignore[attr-defined]


def test_an_item_put_back_is_served_again_even_when_it_was_the_last(executor: Executor) -> None:
    items = Retrying([0, 1, 2])
    seen: Counter[int] = Counter()
    for outcome in executor.map(tasks.square, items, ONE):
        seen[outcome.item] += 1
        if seen[outcome.item] < 3:
            items.waiting.append(outcome.item)
    assert seen == {0: 3, 1: 3, 2: 3}


def test_an_error_is_an_outcome_of_its_own_type_with_its_traceback(executor: Executor) -> None:
    outcomes = {outcome.item: outcome for outcome in executor.map(tasks.raise_for_odd, iter(range(6)), ONE)}
    assert [outcomes[number].result for number in (0, 2, 4)] == [0, 2, 4]
    error = outcomes[3].error
    assert isinstance(error, DatasetError)
    assert (error.message, error.hint) == ("number 3 is odd", "use even ones")
    (outcome,) = executor.map(tasks.divide, iter([0]), ONE)
    assert isinstance(outcome.error, ZeroDivisionError)
    shown = "".join(traceback.format_exception(outcome.error))
    assert "in divide" in shown and "return 1 / number" in shown


def test_an_error_that_cannot_travel_keeps_its_text_and_what_the_engine_does_about_it(executor: Executor) -> None:
    outcomes = {outcome.item: outcome for outcome in executor.map(tasks.raise_stubborn, iter(range(3)), ONE)}
    assert "zero and nothing" in str(outcomes[0].error)
    assert "raise_stubborn" in "".join(traceback.format_exception(outcomes[0].error))
    own = outcomes[1].error
    assert isinstance(own, OperatorError)
    assert (own.message, own.hint) == ("one and more", "mend the operator")
    assert outcomes[2].result == 2


def test_sys_exit_in_a_task_is_that_tasks_error(executor: Executor) -> None:
    (outcome,) = executor.map(tasks.leave, iter([5]), ONE)
    assert "leaving at 5" in str(outcome.error)


def test_a_result_or_item_that_cannot_travel_is_an_error_of_its_item(apart: Executor) -> None:
    (outcome,) = apart.map(tasks.unpicklable, iter([1]), ONE)
    assert isinstance(outcome.error, (AttributeError, pickle.PicklingError, TypeError))
    first, second = sorted(apart.map(tasks.square, iter([open(os.devnull), 4]), ONE), key=lambda outcome: outcome.error is None)  # noqa: SIM115
    assert isinstance(first.error, TypeError)
    assert second.result == 16


def test_a_killed_worker_costs_its_item_a_retry_and_no_more(apart: Executor, tmp_path: Path) -> None:
    items = Retrying([(number, str(tmp_path)) for number in range(8)])
    done, failed = [], []
    for outcome in apart.map(tasks.kill_self_once, items, ONE):
        if outcome.error is None:
            done.append(outcome.result)
        else:
            failed.append(outcome)
            items.waiting.append(outcome.item)
    assert sorted(done) == list(range(8))
    (outcome,) = failed
    assert outcome.item[0] == 3
    assert isinstance(outcome.error, TransientError)
    assert outcome.error.cause == "worker_died"


def test_a_worker_that_ends_itself_is_a_dead_worker(apart: Executor) -> None:
    outcomes = list(apart.map(tasks.end_quietly, iter(range(3)), ONE))
    assert len(outcomes) == 3
    assert all(isinstance(outcome.error, TransientError) for outcome in outcomes)
    assert sum(outcome.result for outcome in apart.map(tasks.square, iter(range(4)), ONE)) == 14


def test_big_results_arrive(executor: Executor) -> None:
    sizes = [0, 1_000, 30_000_000, 1, 20_000_000]
    assert sorted(len(outcome.result) for outcome in executor.map(tasks.big, iter(sizes), ONE)) == sorted(sizes)


def test_closing_cancels_at_once_and_leaves_no_process(apart: Executor, tmp_path: Path) -> None:
    mapping = apart.map(tasks.note_pid_but_first, iter([str(tmp_path)] * 22), ONE)
    next(mapping)
    assert eventually(lambda: len(alive(tmp_path)) >= 1, 20)
    started = time.monotonic()
    mapping.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 2
    assert eventually(lambda: not alive(tmp_path), 5)
    assert next(apart.map(tasks.square, iter([3]), ONE)).result == 9


def test_an_error_of_the_items_ends_the_map_and_its_workers(apart: Executor, tmp_path: Path) -> None:
    def items() -> Iterator[Any]:
        yield str(tmp_path), 600.0
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        next(apart.map(tasks.note_pid, items(), ONE))
    assert eventually(lambda: not alive(tmp_path), 5)


def test_one_executor_serves_many_maps_also_interleaved(executor: Executor) -> None:
    first = executor.map(tasks.square, iter(range(10)), ONE)
    found: list[Outcome] = [next(first)]
    second = list(executor.map(tasks.raise_for_odd, iter(range(10)), ONE))
    found.extend(first)
    assert [outcome.error for outcome in found if outcome.error] == []
    assert sorted(outcome.result for outcome in found) == [number * number for number in range(10)]
    assert len(second) == 10


def test_workers_keep_their_state_between_items(executor: Executor) -> None:
    outcomes = [outcome.result for outcome in executor.map(tasks.count_calls, iter(range(40)), ONE)]
    processes = {pid for pid, _ in outcomes}
    assert len(processes) <= executor.slots
    assert max(calls for _, calls in outcomes) >= 40 / len(processes)


def test_a_task_has_its_share_of_the_cores(apart: Executor) -> None:
    for cpus in (1, 2):
        (outcome,) = apart.map(tasks.environment, iter([0]), Resources(cpus=cpus))
        threads = {outcome.result[name] for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")}
        assert len(threads) == 1
        assert int(threads.pop()) >= 1
        assert outcome.result["TOKENIZERS_PARALLELISM"] == "false"


def test_tasks_that_need_two_cores_run_fewer_at_a_time(apart: Executor, tmp_path: Path) -> None:
    started = time.monotonic()
    outcomes = list(apart.map(tasks.slow_square, iter(range(4)), Resources(cpus=apart.slots)))
    assert len(outcomes) == 4
    assert time.monotonic() - started >= 4 * 0.25
