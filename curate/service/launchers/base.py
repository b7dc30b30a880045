"""What the service asks of the place where runs go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Task:
    """One attempt at a run: `text` is the pipeline with whole paths, `options` further words of `curate run`."""

    id: str
    text: str
    workspace: str
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Sight:
    """What a launcher sees of a task: never started, going on, ended with a code, or gone without one."""

    state: Literal["absent", "alive", "ended", "gone"]
    exit_code: int | None = None
    said: str | None = None


class Launcher(Protocol):
    """Starts tasks that go on without the service, and finds them again.

    Errors: `TransientError` when the place does not answer, so that nothing is known.
    """

    host: str | None  # the machine whose service alone can look after its tasks, None where any can

    def start(self, task: Task) -> None:
        """Start a task unless it was started already, by whomever."""

    def look(self, task_id: str) -> Sight:
        """Say how a task is."""

    def stop(self, task_id: str, force: bool) -> None:
        """Ask a task to end as by Ctrl-C, or end it; one that is not there is no error."""

    def log(self, task_id: str, last_bytes: int) -> str:
        """Return the end of what a task printed; an empty text where there is none."""
