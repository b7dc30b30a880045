"""What tests share: where the larger real data lies, a checkout's own sample, and an S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.s3_server import S3Server

ROOT = Path(__file__).parent.parent

# An example takes what it takes: machines that test are busy, and a first example may compile kernels.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with an environment that leads to it."""
    s3_server.point_to(monkeypatch)
    return s3_server
