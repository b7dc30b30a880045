"""A real S3 server process on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

import boto3
import pytest

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
            [sys.executable, "-P", __file__, str(port)],
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


def serve(port: int) -> None:
    """Serve S3 by `moto`, with one put at a time: it looks for an object and then puts it, in threads, so that of two callers with
    `If-None-Match: *` both may win, which S3 rules out."""
    import moto.server
    from moto.s3.responses import S3Response

    put, lock = S3Response._key_response_put, threading.Lock()

    def one_put_at_a_time(self: S3Response, query: dict[str, Any], key_name: str) -> Any:
        with lock:
            return put(self, query, key_name)

    S3Response._key_response_put = one_put_at_a_time  # type: ignore[method-assign]
    moto.server.main(["-H", "127.0.0.1", "-p", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
