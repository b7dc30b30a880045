"""Starts the replicas of a training on the devices of one machine, and ends them with it.

The task's own process is the first replica. When another one dies, what it said is the task's error; when the task's process dies, the
others end at once, and the next attempt starts all of them from the checkpoint.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from curate.errors import OperatorError, TransientError
from curate_scorers.proxy.packed import read_packed
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.replica import Replica

Item = Mapping[str, Any]

PATIENCE_S = 60.0  # for the first replica to notice that another is gone: collective operations on GPUs may wait for ever


class Nowhere:
    """Keeps nothing: files are the first replica's."""

    def write(self, name: str, data: bytes) -> None:
        """Do nothing."""

    def read(self, name: str) -> bytes | None:
        """Return nothing."""
        return None


@contextmanager
def replicas(item: Item) -> Iterator[Replica]:
    """Start all replicas of a training but the first, and give that one.

    Raises `OperatorError` with what another said that failed, and `TransientError`, so that the task is tried again, when it was killed.
    """
    count = item["replicas"]
    if count == 1:
        yield Replica()
        return
    spawn, over = multiprocessing.get_context("spawn"), threading.Event()
    with tempfile.TemporaryDirectory(prefix="curate-replicas-") as folder:
        others = [spawn.Process(target=_follow, args=(Replica(rank, count), folder, item), daemon=True) for rank in range(1, count)]
        for process in others:
            process.start()
        threading.Thread(target=_watch, args=(others, over), name="replicas", daemon=True).start()
        try:
            _join(Replica(0, count), folder)
            yield Replica(0, count)
            for process in others:
                process.join()
        except RuntimeError as error:  # the connection to one that is gone
            for process in others:
                process.join(PATIENCE_S)
            codes = [process.exitcode or 0 for process in others]
            if min(codes) < 0:
                raise TransientError(f"train_proxy: a replica was killed by signal {-min(codes)}") from error
            said = sorted(Path(folder).glob("*.txt"), key=lambda path: path.stat().st_mtime_ns)  # those behind it only lost the connection
            if not said:
                raise
            hint = "every replica needs a GPU of its own"
            raise OperatorError(f"train_proxy: a replica failed: {said[0].read_text()}", hint) from error
        finally:
            over.set()
            for process in others:
                process.terminate()
                process.join()
            _leave()


def _join(replica: Replica, folder: str) -> None:
    on_gpu = replica.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(replica.device)
    meet = f"file://{folder}/meet"
    distributed.init_process_group("nccl" if on_gpu else "gloo", init_method=meet, rank=replica.rank, world_size=replica.count)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _follow(replica: Replica, folder: str, item: Item) -> None:
    """Train as the first replica does, in a process of its own."""
    from curate_scorers.proxy.train import train

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _join(replica, folder)
        packed = read_packed(item["folder"], item["names"])
        train(packed, Recipe(**item["recipe"]), Nowhere(), base=item["anneal"], replica=replica)
        _leave()
    except Exception as error:
        Path(folder, f"{replica.rank:03d}.txt").write_text(str(error))
        os._exit(1)  # at once, so that those who wait for it notice


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "the first replica started it"
    parent.join()
    os._exit(1)


def _watch(others: Sequence[BaseProcess], over: threading.Event) -> None:
    """End this process, so that its task is tried again, when another has failed and nothing comes of it: it may wait for ever."""
    waiting = {process.sentinel: process for process in others}
    while waiting:
        ended = connection.wait(list(waiting))  # which leaves the exit codes to the main thread
        for process in [waiting.pop(sentinel) for sentinel in list(waiting) if sentinel in ended]:
            if not over.wait(2 * PATIENCE_S) and process.exitcode != 0:
                os.kill(os.getpid(), signal.SIGKILL)
