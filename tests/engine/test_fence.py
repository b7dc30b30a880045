"""One run at a time works on a dataset; the dead are followed at once or after a minute, and the lost notice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate import fence as fences
from curate.errors import WorkspaceError
from curate.fence import STALE_S, Fence
from curate.storage import LocalStorage

FOLDER = "datasets/clean@1"


def held(workspace: Path, epoch: int = 1, **change: Any) -> None:
    """Write the fence of a run on another machine, by hand."""
    path = workspace / FOLDER / ".fence" / f"{epoch:06d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = {"run": "other", "host": "elsewhere", "pid": 1, "started": "1", "beat": time.time(), "released": False}
    path.write_bytes(orjson.dumps(holder | change))


def read(workspace: Path, epoch: int) -> dict[str, Any]:
    return dict(orjson.loads((workspace / FOLDER / ".fence" / f"{epoch:06d}.json").read_bytes()))


def fence(workspace: Path, run: str = "mine") -> Fence:
    return Fence(LocalStorage(workspace), FOLDER, run)


def test_the_living_holder_is_named(tmp_path: Path) -> None:
    with fence(tmp_path, "first") as first, pytest.raises(WorkspaceError) as raised:
        first.verify()
        fence(tmp_path, "second").__enter__()
    where = f"run first is working on {FOLDER} (process {os.getpid()} on {socket.gethostname()}, last sign 0 s ago)"
    assert raised.value.message == where and "--workspace" in str(raised.value.hint)


def test_a_released_fence_is_followed(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        with fence(tmp_path) as mine:
            assert mine.epoch == epoch
            mine.verify()
        assert read(tmp_path, epoch)["released"]


def test_a_process_that_died_is_followed_at_once(tmp_path: Path) -> None:
    code = "import os; from tests.engine.test_fence import *; fence(Path(os.environ['WS'])).__enter__(); os.kill(os.getpid(), 9)"
    environment = os.environ | {"WS": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[2], check=False)
    assert not read(tmp_path, 1)["released"]
    with fence(tmp_path) as mine:
        assert mine.epoch == 2


def test_a_later_process_with_the_same_number_is_no_holder(tmp_path: Path) -> None:
    held(tmp_path, host=socket.gethostname(), pid=os.getpid(), started="1")
    with fence(tmp_path) as mine:
        assert mine.epoch == 2


@pytest.mark.parametrize("age", [0, STALE_S - 10])
def test_a_recent_sign_from_elsewhere_is_respected(tmp_path: Path, age: float) -> None:
    held(tmp_path, beat=time.time() - age)
    with pytest.raises(WorkspaceError, match=rf"run other is working on .*process 1 on elsewhere, last sign {age:.0f} s ago"):
        fence(tmp_path).__enter__()


@pytest.mark.parametrize("change", [{"beat": time.time() - STALE_S - 5}, {"released": True}])
def test_a_silent_or_released_holder_elsewhere_is_followed(tmp_path: Path, change: dict[str, Any]) -> None:
    held(tmp_path, epoch=7, **change)
    with fence(tmp_path) as mine:
        assert mine.epoch == 8


def test_a_silent_but_living_process_of_this_machine_is_respected(tmp_path: Path) -> None:
    started = fences._started(os.getpid())
    held(tmp_path, host=socket.gethostname(), pid=os.getpid(), started=started, beat=time.time() - 10 * STALE_S)
    with pytest.raises(WorkspaceError, match="last sign 600 s ago"):
        fence(tmp_path).__enter__()


@pytest.mark.parametrize("before", [0, 3])
def test_a_race_has_one_winner(tmp_path: Path, before: int) -> None:
    if before:
        held(tmp_path, epoch=before, beat=0.0)
    start, done = threading.Barrier(16), threading.Barrier(16)
    won: list[int] = []
    lost: list[WorkspaceError] = []

    def race(number: int) -> None:
        start.wait()
        try:
            with fence(tmp_path, f"run{number}") as mine:
                won.append(mine.epoch)
                done.wait(20)
                mine.verify()
        except WorkspaceError as error:
            lost.append(error)
            done.wait(20)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [before + 1] and len(lost) == 15


def test_a_lost_fence_is_noticed(tmp_path: Path) -> None:
    with fence(tmp_path) as mine:
        held(tmp_path, epoch=2)
        with pytest.raises(WorkspaceError, match="another run took over"):
            mine.verify()
    assert not read(tmp_path, 2)["released"]


def test_a_lost_fence_is_noticed_by_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fences, "HEARTBEAT_S", 0.01)
    with fence(tmp_path) as mine:
        first = read(tmp_path, 1)["beat"]
        until = time.time() + 10
        while read(tmp_path, 1)["beat"] == first and time.time() < until:
            time.sleep(0.01)
        assert read(tmp_path, 1)["beat"] > first, "the holder shows that it lives"
        held(tmp_path, epoch=2)
        while not mine.lost and time.time() < until:
            time.sleep(0.01)
        assert mine.lost
        (tmp_path / FOLDER / ".fence/000002.json").unlink()
        with pytest.raises(WorkspaceError):
            mine.verify()
    assert not read(tmp_path, 1)["released"], "what is lost is left as it is"


def test_a_fence_retires_with_what_it_protected(tmp_path: Path) -> None:
    with fence(tmp_path) as mine:
        mine.retire()
        assert list((tmp_path / FOLDER / ".fence").iterdir()) == []
    assert list((tmp_path / FOLDER / ".fence").iterdir()) == []
    with fence(tmp_path) as after:
        assert after.epoch == 1
