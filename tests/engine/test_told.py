"""What long tasks tell reaches the driver while they run."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from curate import told
from curate.progress import Progress
from curate.storage import LocalStorage
from curate.work import Place


def test_a_listener_hears_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    storage, heard = LocalStorage(tmp_path), []
    place, other = Place(storage, "phase/part-00000"), Place(storage, "phase/part-00001")
    place.tell("left over from an attempt that died")
    listener = told.Listener(storage, "phase", lambda task, said: heard.append((task, said)))
    listener.look()
    assert heard == []
    place.tell("step 1")
    other.tell("10 of 20 ready")
    listener.look()
    listener.look()
    assert heard == [("part-00000", "step 1"), ("part-00001", "10 of 20 ready")]


def test_a_listener_hears_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "LISTEN_S", 0.01)
    storage, heard = LocalStorage(tmp_path), []
    there = threading.Event()

    def hear(task: str, said: str) -> None:
        heard.append(said)
        there.set()

    with told.Listener(storage, "phase", hear):
        Place(storage, "phase/part-00000").tell("hello")
        assert there.wait(10)
    assert heard == ["hello"]


def test_a_person_sees_what_a_task_tells() -> None:
    out, now = io.StringIO(), [0.0]
    with Progress(out, now=lambda: now[0]) as progress:
        progress.on_event({"event": "stage_started", "stage": "proxy", "phase": "train", "shards": 1, "done": 0, "bytes_in": 0})
        now[0] = 31.0
        progress.on_event(
            {"event": "task_told", "stage": "proxy", "phase": "train", "shard": "part-00000", "said": "step 5 of 9, loss 3.2"}
        )
        progress.on_event({"event": "task_told", "stage": "unknown", "phase": "train", "shard": "part-00000", "said": "nobody"})
    assert out.getvalue().splitlines()[-1] == "proxy: train: step 5 of 9, loss 3.2"
