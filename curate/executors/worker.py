"""The process behind one local worker: reads tasks from a socket, answers each, and never outlives the driver."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import pickle
import select
import signal
import sys
import threading
from multiprocessing.connection import Connection

from curate.executors.machine import resident_bytes
from curate.executors.task import Answer, failure, perform

MAX_TASKS = 1000


def main() -> None:
    """Serve tasks until the driver hangs up; arguments: socket, life line (both inherited), most resident bytes."""
    tasks, life_line, max_bytes = (int(argument) for argument in sys.argv[1:4])
    die_with_driver(life_line)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    faulthandler.enable()
    with Connection(tasks) as connection, contextlib.suppress(EOFError, ConnectionError):
        serve(connection, max_bytes)
    sys.stdout.flush()
    os._exit(0)  # not a normal exit: that would join threads of libraries, which may wait for ever


def serve(connection: Connection, max_bytes: int) -> None:
    """Answer tasks one at a time, until this process has grown too big or old; the last answer says so."""
    for count in range(1, MAX_TASKS + 1):
        answer = _carry_out(connection.recv_bytes())
        retires = count == MAX_TASKS or _held_bytes() > max_bytes
        connection.send((answer, retires))
        if retires:
            return


def _carry_out(task: bytes) -> Answer:
    try:
        fn, item = pickle.loads(task)  # noqa: S301 - our own driver's
    except Exception as error:
        return failure(error)
    return perform(fn, item)


def _held_bytes() -> int:
    """Return what is really held: Arrow keeps freed memory for later, so it gives that back first."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    return resident_bytes()


def die_with_driver(life_line: int) -> None:
    """End this process and its children when the other end of the pipe closes, however the driver ended.

    Linux does it from the kernel, by a signal for input on the pipe, even while C code holds the interpreter's lock.
    `PR_SET_PDEATHSIG` would not do: it fires when the *thread* that started us ends.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life_line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life_line, fcntl.F_SETOWN, -os.getpgrp())  # the whole group; the driver made us its leader
        fcntl.fcntl(life_line, fcntl.F_SETFL, fcntl.fcntl(life_line, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([life_line], [], [], 0)[0]:  # it hung up before we listened
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(life_line,), daemon=True).start()


def _watch(life_line: int) -> None:
    os.read(life_line, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)
