"""Inputs on an S3-compatible store: the same listings and the same rows as on a local disk."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DatasetError, PipelineError
from curate.inputs import Listing, content_identities, list_input, units
from curate.pipeline import Input
from curate.readers import ReadOptions, reader
from tests.s3_server import S3Server

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(s3: S3Server) -> Any:
    """A client of a server with an empty bucket `raw`."""
    client = s3.client()
    client.create_bucket(Bucket="raw")
    yield client
    for entry in client.list_objects_v2(Bucket="raw").get("Contents", []):
        client.delete_object(Bucket="raw", Key=entry["Key"])
    client.delete_bucket(Bucket="raw")


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
