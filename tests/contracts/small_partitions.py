"""The command line of `curate` with partitions, pieces and blocks so small that a hundred documents pass through every phase."""

from __future__ import annotations

import pytest

from curate.cli import main
from tests.contracts import duplicates

if __name__ == "__main__":
    duplicates.shrink(pytest.MonkeyPatch())
    main()
