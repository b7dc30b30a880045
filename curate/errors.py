"""Every error that `curate` raises on purpose; the class says what the engine does about it.

CurateError
├── PipelineError    the YAML or the graph is wrong           nothing ran, exit 2
├── OperatorError    an operator raised on a batch            row quarantined within budget, else the stage fails
├── DatasetError     a shard, file or manifest cannot be used quarantined within budget, else the stage fails
├── WorkspaceError   the workspace cannot be used             the run fails at once (locked, read-only, disk full)
└── TransientError   a worker died, storage throttled         the task is retried, then fails the stage
"""

from __future__ import annotations


class CurateError(Exception):
    """An expected failure: `message` says where and what, `hint` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[CurateError], tuple[str, str | None]]:
        return type(self), (self.message, self.hint)


class PipelineError(CurateError):
    """The pipeline file, its graph or the command line is wrong; nothing ran."""

    exit_code = 2


class OperatorError(CurateError):
    """An operator raised, or returned something that its verb does not allow; never retried."""


class DatasetError(CurateError):
    """A shard, file or manifest is missing, damaged or not what its record says."""


class WorkspaceError(CurateError):
    """The workspace is locked by another run, read-only, or out of space."""


class TransientError(CurateError):
    """A worker died or a store was unreachable: the same task may succeed when tried again."""

    def __init__(self, message: str, hint: str | None = None, cause: str = "worker_died") -> None:
        super().__init__(message, hint)
        self.cause = cause

    def __reduce__(self) -> tuple[type[CurateError], tuple[str, str | None, str]]:  # type: ignore[override]
        return type(self), (self.message, self.hint, self.cause)
