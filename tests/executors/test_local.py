"""What only the local pool promises: nothing survives the driver, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.errors import PipelineError, TransientError
from curate.executors import Resources, open_executor
from curate.executors.local import LocalExecutor
from curate.executors.machine import available_cpus, available_memory, visible_gpus
from tests.executors import tasks
from tests.executors.test_contract import alive, eventually

ONE = Resources()
ROOT = Path(__file__).parents[2]

DRIVER = """
import sys
from curate.executors import open_executor, Resources
from tests.executors import tasks
with open_executor("local", 2) as executor:
    try:
        for outcome in executor.map({task}, iter({items}), Resources()):
            print(outcome, flush=True)
    except KeyboardInterrupt:
        sys.exit("stopped cleanly")
"""


def driver(task: str, items: str) -> subprocess.Popen[str]:
    """Start a script without an `if __name__ == "__main__"` that maps a function over items on two workers."""
    script = DRIVER.format(task=task, items=items)
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("task", ["tasks.note_pid", "tasks.hold_interpreter"])
def test_a_killed_driver_leaves_no_worker(tmp_path: Path, task: str) -> None:
    item = str(tmp_path) if task == "tasks.hold_interpreter" else (str(tmp_path), 600)
    process = driver(task, repr([item] * 4))
    assert eventually(lambda: len(alive(tmp_path)) == 2, 20)
    process.kill()
    process.communicate()
    assert eventually(lambda: not alive(tmp_path), 2)


def test_ctrl_c_in_the_driver_ends_the_workers_and_goes_up(tmp_path: Path) -> None:
    process = driver("tasks.note_pid", repr([(str(tmp_path), 600)] * 4))
    assert eventually(lambda: len(alive(tmp_path)) == 2, 20)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=5)
    assert (process.returncode, errors) == (1, "stopped cleanly\n")
    assert not alive(tmp_path)


def interrupt_all(folder: Path) -> None:
    for pid in alive(folder):
        os.kill(pid, signal.SIGINT)


def test_ctrl_c_does_not_reach_a_worker(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        mapping = executor.map(tasks.note_pid, iter([(str(tmp_path), 0.5)]), ONE)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        previous = signal.signal(signal.SIGALRM, lambda *_: interrupt_all(tmp_path))
        try:
            (outcome,) = mapping
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert outcome.error is None


def test_a_function_of_the_script_itself_is_refused_with_the_remedy() -> None:
    script = "def mine(x): return x\nimport curate.executors as e\nlist(e.open_executor('local', 2).map(mine, iter([1]), e.Resources()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "move it to a module beside the script" in done.stderr


def test_leaving_the_executor_ends_every_process_at_once(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        mapping = executor.map(tasks.note_pid, iter([(str(tmp_path), 0), (str(tmp_path), 600)]), ONE)
        next(mapping)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert not alive(tmp_path)


def test_children_of_a_worker_end_with_it(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        mapping = executor.map(tasks.start_child, iter([(str(tmp_path), 0), (str(tmp_path), 600)]), ONE)
        next(mapping)
        assert eventually(lambda: len(alive(tmp_path)) == 2, 10)
        mapping.close()  # type: ignore[attr-defined]
    assert eventually(lambda: not alive(tmp_path))


def test_no_more_workers_are_started_than_there_are_items() -> None:
    with LocalExecutor(8) as executor:
        assert len({outcome.result for outcome in executor.map(tasks.process, iter([1]), ONE)}) == 1
        assert len(executor._all) == 1


def test_the_same_workers_serve_the_next_map() -> None:
    with LocalExecutor(2) as executor:
        first, second = ({outcome.result for outcome in executor.map(tasks.note_pid_for_a_while, iter(range(6)), ONE)} for _ in range(2))
        assert first == second
        assert os.getpid() not in first


def test_a_worker_that_has_grown_too_big_is_replaced() -> None:
    with LocalExecutor(2) as executor:
        small = Resources(cpus=2, memory=300_000_000)
        processes = [outcome.result for outcome in executor.map(tasks.hoard, iter([100_000_000] * 6), small)]
    assert len(processes) == 6
    assert 2 <= len(set(processes)) <= 3


def test_a_worker_that_died_idle_costs_no_item() -> None:
    with LocalExecutor(2) as executor:
        (first,) = executor.map(tasks.process, iter([0]), ONE)
        os.kill(first.result, signal.SIGKILL)
        time.sleep(0.1)
        (second,) = executor.map(tasks.process, iter([0]), ONE)
        assert second.error is None
        assert second.result != first.result


def test_how_a_worker_ended_is_said(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        (quiet,) = executor.map(tasks.end_quietly, iter([0]), ONE)
        assert isinstance(quiet.error, TransientError)
        assert "exit code 7" in quiet.error.message
        (killed,) = executor.map(tasks.kill_self_once, iter([(3, str(tmp_path))]), ONE)
        assert "SIGKILL" in str(killed.error)


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group whose processes may hold 100 MB."""
    version_1, version_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    group = (version_1 if version_1.is_dir() else version_2) / f"curate-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")).write_text(str(100 << 20))
    except OSError as error:
        pytest.skip(f"making a control group: {error}")
    yield group
    group.rmdir()


def test_a_worker_that_the_kernel_ends_for_memory_says_so(small_memory: Path) -> None:
    with LocalExecutor(2) as executor:
        (outcome,) = executor.map(tasks.take_memory, iter([(str(small_memory), 400 << 20)]), ONE)
        assert isinstance(outcome.error, TransientError)
        assert outcome.error.cause == "out_of_memory"
        assert "memory" in str(outcome.error.hint)


def test_one_worker_means_this_process() -> None:
    with LocalExecutor(1) as executor:
        assert [outcome.result for outcome in executor.map(tasks.process, iter([0]), ONE)] == [os.getpid()]
        with pytest.raises(KeyboardInterrupt):
            next(executor.map(tasks.interrupt, iter([0]), ONE))


def test_what_a_task_prints_does_not_mix_with_the_drivers_output() -> None:
    process = driver("tasks.say", "['hello']")
    output, errors = process.communicate(timeout=20)
    assert output.startswith("Outcome(") and "hello\n" not in output
    assert "hello" in errors


def test_more_gpus_than_there_are_is_an_error_not_a_wait() -> None:
    with LocalExecutor(2) as executor, pytest.raises(PipelineError, match="1000 GPUs"):
        next(executor.map(tasks.square, iter([1]), Resources(gpus=1000)))


def test_each_task_gets_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == ["2", "5"]
    with LocalExecutor(2) as executor:
        seen = {
            outcome.result["CUDA_VISIBLE_DEVICES"] for outcome in executor.map(tasks.slow_environment, iter(range(4)), Resources(gpus=1))
        }
        assert seen == {"2", "5"}
        (both,) = executor.map(tasks.environment, iter([0]), Resources(gpus=2))
        assert both.result["CUDA_VISIBLE_DEVICES"] == "2,5"


def test_affinity_limits_the_processors() -> None:
    script = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from curate.executors.machine import available_cpus
print(available_cpus())
"""
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
    assert available_memory() > 64 << 20


def test_executors_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert open_executor("auto", 3).slots == 3
    assert open_executor("local").slots == available_cpus()
    for address, found in (("http://head:8265", "job"), ("ray://head:10001", "Ray client"), ("nonsense", "not an executor")):
        with pytest.raises(PipelineError, match=found):
            open_executor(address)
    with pytest.raises(PipelineError, match="at least one worker"):
        open_executor("local", 0)


def test_the_local_executor_imports_no_ray() -> None:
    use = "from curate.executors import open_executor; open_executor('local', 2)"
    script = f"import sys; {use}; print('ray' in sys.modules, 'pyarrow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False False\n"
