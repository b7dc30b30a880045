"""The command line of `curate` with partitions, pieces and blocks so small that a hundred documents pass through every phase.

A phase ends a moment after its last task did, so that who kills it finds it on a fast machine too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from curate.cli import main
from curate.work import Work
from tests.contracts import duplicates

LINGER_S = 0.02
run = Work._run


def lingering(work: Work, *arguments: Any) -> Iterator[Any]:
    """Run the tasks of a phase, and wait a moment."""
    yield from run(work, *arguments)
    time.sleep(LINGER_S)


if __name__ == "__main__":
    patch = pytest.MonkeyPatch()
    duplicates.shrink(patch)
    patch.setattr(Work, "_run", lingering)
    main()
