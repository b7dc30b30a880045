"""Inputs on an S3-compatible store: the same listings and the same rows as on a local disk."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DatasetError, PipelineError
from curate.inputs import Listing, content_identities, list_input, units
from curate.pipeline import Input
from curate.readers import ReadOptions, reader

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of a `moto` server that this test starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", url.rpartition(":")[2]],
        env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "1000000"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1"}.items():
            environment.setenv(f"AWS_{name}", value)
        try:
            wait_for(url, server)
            client = boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
            client.create_bucket(Bucket="raw")
            yield client
        finally:
            server.kill()
            server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, "the S3 server ended"
            time.sleep(0.1)
    pytest.fail("the S3 server did not start")


def fill(folder: Path, client: Any) -> None:
    (folder / "2026").mkdir()
    (folder / "2026" / "a.jsonl").write_text("".join(f'{{"text": "{n}"}}\n' for n in range(500)))
    (folder / "2026" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "packed"}\n'))
    pq.write_table(pa.table({"text": [str(n) for n in range(500)]}), folder / "2026" / "t.parquet", row_group_size=100)
    (folder / "2026" / "page.html").write_text("<p>x")
    record = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>page"
    head = f"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: {len(record)}\r\n\r\n".encode()
    (folder / "2026" / "w.warc.gz").write_bytes(gzip.compress(head + record + b"\r\n\r\n") * 3)
    for path in folder.rglob("*.*"):
        client.put_object(Bucket="raw", Key=f"crawl/{path.relative_to(folder)}", Body=path.read_bytes())


def everything(listing: Listing) -> list[dict[str, Any]]:
    chosen, options = reader(listing.format), ReadOptions("in")
    schema = chosen.schema(listing.storage, listing.files, options)
    parts = [part for unit in units(listing, chosen, 700) for part in unit]
    return [row for part in parts for batch in chosen.read(listing.storage, part, schema, options) for row in batch.docs.to_pylist()]


def test_listings_and_rows_are_those_of_a_local_disk(tmp_path: Path, bucket: Any) -> None:
    fill(tmp_path, bucket)
    for pattern in ("{dump}/*.jsonl", "*/*.jsonl*", "**/*.parquet", "{dump}/*.html", "2026/*.warc.gz", "2026/a.jsonl"):
        there, here = (list_input("in", Input(f"{root}/{pattern}"), tmp_path) for root in ("s3://raw/crawl", tmp_path))
        assert [(file.path, file.size) for file in there.files] == [(file.path, file.size) for file in here.files]
        assert there.captures == here.captures
        assert everything(there) == everything(here) != []
    whole = list_input("in", Input("s3://raw/crawl/2026", format="jsonl"), tmp_path)
    assert [file.path for file in whole.files] == ["a.jsonl", "b.jsonl.gz"]
    assert content_identities(whole, {}) == tuple((file.path, file.size, file.etag) for file in whole.files)
    with pytest.raises(PipelineError, match="no such file or folder: s3://raw/crawl/2027"):
        list_input("in", Input("s3://raw/crawl/2027"), tmp_path)
    listing = list_input("in", Input("s3://raw/crawl/2026/a.jsonl"), tmp_path)
    bucket.put_object(Bucket="raw", Key="crawl/2026/a.jsonl", Body=b"{}")
    with pytest.raises(DatasetError, match="changed during the run"):
        everything(listing)
