"""A real S3 server process for the storage tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from curate.storage import LocalStorage, ObjectStorage, Storage

UNCHECKED = "1000000000"  # so many requests pass before the server looks at credentials


class S3Server:
    """A `moto` server on a free port of this machine."""

    key, secret = "AKIAEXAMPLEEXAMPLE", "wJalrXUtnFEMI-example-secret"

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": UNCHECKED},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
            except urllib.error.URLError:
                assert self._process.poll() is None and time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.05)
            else:
                return

    def client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=self.key, aws_secret_access_key=self.secret, region_name="us-east-1"
        )

    def new_bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name

    def check_credentials_from_now(self, yes: bool) -> None:
        count = b"0" if yes else UNCHECKED.encode()
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()

    def point_to(self, environment: pytest.MonkeyPatch) -> None:
        """Make the environment lead to this server, and to nothing else."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        environment.setenv("AWS_ENDPOINT_URL", self.url)
        environment.setenv("AWS_ACCESS_KEY_ID", self.key)
        environment.setenv("AWS_SECRET_ACCESS_KEY", self.secret)
        environment.setenv("AWS_REGION", "us-east-1")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def own_s3_server() -> Iterator[S3Server]:
    """A server of the test's own, which it may stop."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with an environment that leads to it."""
    s3_server.point_to(monkeypatch)
    return s3_server


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3), pytest.param("s3-prefix", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Every implementation, for the contract."""
    if request.param == "local":
        return LocalStorage(tmp_path / "root")
    bucket = request.getfixturevalue("s3").new_bucket()
    return ObjectStorage(f"s3://{bucket}" + ("/a folder/läufe" if request.param == "s3-prefix" else ""))
