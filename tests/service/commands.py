"""Calls of the command line, in this process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from curate.cli import main


@dataclass(frozen=True)
class Told:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Curate:
    """Calls `curate` with some first words and those that are given."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *first: str) -> None:
        self.capsys = capsys
        self.first = first

    def __call__(self, *words: str) -> Told:
        code = 0
        try:
            main([*self.first, *words])
        except SystemExit as end:
            code = int(end.code or 0)
        return Told(code, *self.capsys.readouterr())
