"""What only Ray does: several nodes that come and go, GPUs, versions that differ, jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from curate.errors import CurateError, PipelineError, TransientError
from curate.executors import Executor, Resources, open_executor
from curate.executors.task import outcome as told
from tests.executors import tasks

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
ONE = Resources()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no tasks, a dashboard that takes jobs, and two nodes with a processor and a pretended GPU each."""
    from ray.cluster_utils import Cluster

    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 500,
        "health_check_failure_threshold": 4,
    }
    ports = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}  # two clusters on one machine may not want the same one
    head = {"num_cpus": 0, "include_dashboard": True, "_system_config": quick, **ports}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=1, num_gpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[Executor]:
    with open_executor(cluster.address) as opened:
        yield opened


def serve(
    executor: Executor, fn: Any, items: list[Any], resources: Resources, each: Any = lambda number: None
) -> tuple[list[Any], Counter[str]]:
    """Map with a retry for every worker that died; return the results and how often each cause came up."""
    waiting, results, causes = deque(items), [], Counter[str]()

    class Items:
        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            if not waiting:
                raise StopIteration
            return waiting.popleft()

    for number, outcome in enumerate(executor.map(fn, Items(), resources)):
        each(number)
        if outcome.error is None:
            results.append(outcome.result)
        else:
            assert isinstance(outcome.error, TransientError), outcome.error
            causes[outcome.error.cause] += 1
            waiting.append(outcome.item)
    return results, causes


def test_a_node_that_dies_costs_its_tasks_a_retry_and_slots_follow_the_cluster(cluster: Any, executor: Executor, tmp_path: Path) -> None:
    assert executor.slots == 2
    victim = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    assert executor.slots == 4
    node = psutil.Process(victim.all_processes["raylet"][0].process.pid)
    works_there = tmp_path / str(node.pid)
    killed: list[int] = []

    def kill_once_it_works(number: int) -> None:
        if works_there.exists() and not killed:
            for process in [node, *node.children(recursive=True)]:  # a machine that goes away takes its workers with it
                process.kill()
            cluster.remove_node(victim, allow_graceful=False)
            killed.append(number)

    results, causes = serve(executor, tasks.note_parent, [(number, str(tmp_path)) for number in range(50)], ONE, kill_once_it_works)
    assert sorted(results) == list(range(50))
    assert killed and sum(causes.values()) >= 1
    assert set(causes) <= {"preempted", "worker_died"}
    assert executor.slots == 2


SIGNALLED = """
import os, signal, sys, time
from curate.executors import open_executor

def stop(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, stop)
with open_executor(sys.argv[1]):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopped in good order")
"""


def test_what_a_program_does_when_it_is_told_to_end_stays_its_own(cluster: Any) -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED, cluster.address], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped in good order\n"), done.stderr


def test_gpu_tasks_share_processes_that_keep_their_models(executor: Executor) -> None:
    results, causes = serve(executor, tasks.count_calls, list(range(20)), Resources(gpus=1))
    assert not causes
    processes = {pid for pid, _ in results}
    assert len(processes) <= 2, "one process per GPU"
    assert sorted(calls for pid, calls in results if pid == results[0][0]) == list(
        range(1, 1 + sum(pid == results[0][0] for pid, _ in results))
    )


def test_a_gpu_process_that_dies_is_replaced(executor: Executor) -> None:
    results, causes = serve(executor, tasks.die_on_third_call, list(range(8)), Resources(gpus=1))
    assert sorted(results) == list(range(8))
    assert set(causes) == {"worker_died"}


def test_gpus_are_free_again_after_a_map(executor: Executor) -> None:
    mapping = executor.map(tasks.slow_square, iter(range(100)), Resources(gpus=1))
    next(mapping)
    mapping.close()  # type: ignore[attr-defined]
    results, _ = serve(executor, tasks.square, [1, 2, 3], ONE)
    assert sorted(results) == [1, 4, 9]


def test_workers_with_another_version_are_refused(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    import curate.executors.ray as module

    monkeypatch.setattr(module, "VERSION", "0.0.1")
    (outcome,) = executor.map(tasks.square, iter([1]), ONE)
    assert type(outcome.error) is CurateError
    assert "the driver has 0.0.1" in str(outcome.error)
    assert "same image or wheel" in str(outcome.error)


def test_what_no_node_has_is_an_error_not_an_endless_wait(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    import curate.executors.ray as module

    monkeypatch.setattr(module, "INFEASIBLE_S", 1.0)
    for resources, name in ((Resources(memory=1 << 44), "memory"), (Resources(gpus=5), "GPU 5"), (Resources(cpus=64), "CPU 64")):
        with pytest.raises(PipelineError, match=f"no node of the cluster has .*{name}"):
            next(executor.map(tasks.square, iter([1]), resources))


def test_a_job_runs_on_the_cluster_and_its_exit_code_comes_back(
    cluster: Any, executor: Executor, capfd: pytest.CaptureFixture[str]
) -> None:
    from curate.executors.ray import submit_job

    script = "import os, sys; print('hello from', os.environ['CURATE_TEST']); sys.exit(3)"
    assert submit_job(f"http://{cluster.head_node.webui_url}", [sys.executable, "-c", script], {"CURATE_TEST": "the job"}) == 3
    assert "hello from the job" in capfd.readouterr().err
    with pytest.raises(CurateError, match=r"cannot submit a job to http://127\.0\.0\.1:9"):
        submit_job("http://127.0.0.1:9", ["true"], {})


def test_ray_writes_nothing_on_stdout_or_stderr() -> None:
    script = """
from curate.executors import open_executor, Resources
from tests.executors import tasks
import ray
with open_executor("ray") as executor:
    outcomes = list(executor.map(tasks.end_quietly, iter(range(2)), Resources()))
    list(executor.map(tasks.say, iter(["word"]), Resources()))
    import time; time.sleep(1)
print([outcome.error.cause for outcome in outcomes], ray.is_initialized())
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "['worker_died', 'worker_died'] False\n"
    assert done.stderr == ""


def test_a_cluster_that_is_not_there_is_a_clear_error() -> None:
    script = "from curate.executors import open_executor; open_executor('127.0.0.1:9').slots"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "CurateError: cannot join the Ray cluster at 127.0.0.1:9" in done.stderr
    assert time.monotonic() - started < 10


def test_without_ray_installed_the_hint_says_what_to_install() -> None:
    script = "import sys; sys.modules['ray'] = None\nfrom curate.executors import open_executor; open_executor('ray')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "its extra `ray`: `pip install '.[ray]'`" in done.stderr


def test_a_task_whose_cancellation_ray_lost_does_not_begin(executor: Executor, tmp_path: Path) -> None:
    import ray
    from ray import cloudpickle

    from curate.executors.ray import RayExecutor, _Tasks

    assert isinstance(executor, RayExecutor)
    lanes = _Tasks(ONE, executor)
    under_way = lanes.submit(cloudpickle.dumps((time.sleep, 600)))
    lanes.close([under_way])
    late = lanes.submit(cloudpickle.dumps((tasks.note_pid, (str(tmp_path), 0.0))))
    assert "cancelled before it began" in str(told(0, ray.get(late)).error)
    assert not list(tmp_path.iterdir())
