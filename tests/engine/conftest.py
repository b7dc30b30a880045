"""What tests of dataset operators share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder in which the tasks of `my_ops.py:Number` note that they ran."""
    folder = tmp_path / "log"
    folder.mkdir()
    return folder
