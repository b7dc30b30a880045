"""What tests share: where the larger real data lies, and a checkout's own sample."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The larger sets of real data; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CURATE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def quickstart() -> Path:
    """The quickstart pipeline."""
    return ROOT / "pipelines" / "quickstart.yaml"
