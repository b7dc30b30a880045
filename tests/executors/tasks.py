"""Functions that the executor tests run on workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from curate.errors import DatasetError, OperatorError


class Stubborn(Exception):
    """An error that pickles but cannot be unpickled: its class wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class StubbornOperatorError(OperatorError):
    """The same, as one of curate's own kind."""

    def __init__(self, first: str, second: str, third: object) -> None:
        super().__init__(f"{first} and {second}", "mend the operator")
        self.third = third

    def __reduce__(self) -> Any:
        return StubbornOperatorError, ("one",)


def square(number: int) -> int:
    return number * number


def raise_for_odd(number: int) -> int:
    if number % 2:
        raise DatasetError(f"number {number} is odd", "use even ones")
    return number


def divide(number: int) -> float:
    return 1 / number


def raise_stubborn(number: int) -> int:
    if number == 0:
        raise Stubborn("zero", "nothing")
    if number == 1:
        raise StubbornOperatorError("one", "more", lambda: None)
    return number


def leave(number: int) -> int:
    sys.exit(f"leaving at {number}")


def unpicklable(number: int) -> object:
    return lambda: number


def kill_self_once(item: tuple[int, str]) -> int:
    """Die by SIGKILL at number 3, the first time that it comes."""
    number, folder = item
    if number == 3:
        marker = Path(folder) / "died"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def end_quietly(number: int) -> int:
    os._exit(7)


def big(size: int) -> bytes:
    return b"x" * size


def note_pid(item: tuple[str, float]) -> int:
    """Leave this process's id in a folder, then work for so long."""
    folder, seconds = item
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()


def note_pid_but_first(folder: str) -> int:
    """Whichever begins first is done soon and leaves nothing; all others are as `note_pid`. Ray need not begin with the first item."""
    try:
        os.close(os.open(f"{folder}.begun", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return note_pid((folder, 600.0))
    time.sleep(0.5)
    return os.getpid()


def hold_interpreter(folder: str) -> int:
    """Leave this process's id, then compute in C without letting any other Python thread run."""
    (Path(folder) / str(os.getpid())).touch()
    return sum(range(10**13))


def environment(_: int) -> dict[str, str]:
    return dict(os.environ)


def process(_: int) -> int:
    return os.getpid()


_state: list[int] = []


def count_calls(_: int) -> tuple[int, int]:
    """Tell this process's id and how many items it has had: state is kept between items."""
    _state.append(1)
    return os.getpid(), len(_state)


def slow_square(number: int) -> int:
    time.sleep(0.25)
    return number * number


def die_on_third_call(number: int) -> int:
    """Die the third time that one process is asked, whatever it is asked."""
    _state.append(number)
    if len(_state) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hoard(size: int) -> int:
    """Keep so many bytes."""
    _hoard.append(b"x" * size)
    return os.getpid()


_hoard: list[bytes] = []


def note_pid_for_a_while(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def slow_environment(_: int) -> dict[str, str]:
    time.sleep(0.3)
    return dict(os.environ)


def start_child(item: tuple[str, float]) -> int:
    """Start a process of its own that sleeps, note its id, and wait for so long."""
    folder, seconds = item
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (Path(folder) / str(child.pid)).touch()
    time.sleep(seconds)
    return child.pid


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def say(word: str) -> int:
    print(word)
    return len(word)


def note_parent(item: tuple[int, str]) -> int:
    """Leave the id of the process that started this worker in a folder; take a while."""
    number, folder = item
    (Path(folder) / str(os.getppid())).touch()
    time.sleep(0.2)
    return number


def take_memory(item: tuple[str, int]) -> int:
    """Move into a control group and use so much memory there."""
    group, size = item
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    data = bytearray(size)
    data[::4096] = b"x" * len(data[::4096])
    return len(data)
