"""Every implementation of storage, for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.storage import LocalStorage, ObjectStorage, Storage
from tests.s3_server import S3Server


@pytest.fixture
def own_s3_server() -> Iterator[S3Server]:
    """A server of the test's own, which it may stop."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3), pytest.param("s3-prefix", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Every implementation, for the contract."""
    if request.param == "local":
        return LocalStorage(tmp_path / "root")
    bucket = request.getfixturevalue("s3").new_bucket()
    return ObjectStorage(f"s3://{bucket}" + ("/a folder/läufe" if request.param == "s3-prefix" else ""))
