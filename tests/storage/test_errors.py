"""What a storage says when the place fails: each an error that names the place and the remedy, and no secret."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from curate.errors import CurateError, DatasetError, PipelineError, TransientError, WorkspaceError
from curate.storage import LocalStorage, ObjectStorage, open_storage

pytestmark = pytest.mark.s3

EVERY_REQUEST: list[Callable[[ObjectStorage], Any]] = [
    lambda storage: storage.list("d"),
    lambda storage: storage.read("x"),
    lambda storage: storage.info("x"),
    lambda storage: storage.open_input("x"),
    lambda storage: storage.write("x", b"1"),
    lambda storage: storage.create("x", b"1"),
    lambda storage: storage.delete("x"),
    lambda storage: storage.delete_tree("d"),
    lambda storage: _output(storage, 20_000_000),
]
NAMES = ["list", "read", "info", "open_input", "write", "create", "delete", "delete_tree", "open_output"]


def _output(storage: ObjectStorage | LocalStorage, size: int) -> None:
    with storage.open_output("x") as out:
        for _ in range(size // 1_000_000):
            out.write(b"x" * 1_000_000)


def test_the_test_server_enforces_conditional_puts(s3: Any) -> None:
    """Without this, the contract's race would prove nothing about `create`; no code of ours takes part."""
    client, bucket, codes = s3.client(), s3.new_bucket(), []

    def put(number: int) -> None:
        try:
            client.put_object(Bucket=bucket, Key="x", Body=str(number).encode(), IfNoneMatch="*")
            codes.append(200)
        except ClientError as error:
            codes.append(error.response["ResponseMetadata"]["HTTPStatusCode"])

    threads = [threading.Thread(target=put, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [412] * 31


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=NAMES)
def test_a_missing_bucket_is_named_at_once(s3: Any, request_: Callable[[ObjectStorage], Any]) -> None:
    storage, started = ObjectStorage("s3://no-such-bucket-here/prefix"), time.monotonic()
    if request_ is EVERY_REQUEST[2]:  # a HEAD request's 404 does not say what is missing
        assert request_(storage) is None
    else:
        with pytest.raises((DatasetError, WorkspaceError), match="no-such-bucket-here/prefix"):
            request_(storage)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=NAMES)
def test_wrong_credentials_are_refused_and_never_shown(s3: Any, request_: Callable[[ObjectStorage], Any]) -> None:
    storage = ObjectStorage(f"s3://{s3.new_bucket()}")
    s3.check_credentials_from_now(True)
    try:
        with pytest.raises((DatasetError, WorkspaceError), match="refused access") as caught:
            request_(storage)
    finally:
        s3.check_credentials_from_now(False)
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)
    for text in (str(caught.value), repr(caught.value), repr(storage), storage.url):
        assert s3.secret not in text and s3.key not in text


def test_an_aborted_upload_leaves_no_parts_to_pay_for(s3: Any) -> None:
    bucket = s3.new_bucket()
    with pytest.raises(KeyError), ObjectStorage(f"s3://{bucket}").open_output("x") as out:
        for _ in range(30):
            out.write(b"x" * 1_000_000)
        time.sleep(0.5)
        assert s3.client().list_multipart_uploads(Bucket=bucket)["Uploads"]
        raise KeyError("x")
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


def test_an_object_that_changes_while_it_is_read_is_an_error(s3: Any) -> None:
    storage = ObjectStorage(f"s3://{s3.new_bucket()}")
    storage.write("x", b"a" * 3_000_000)
    with storage.open_input("x") as stream:
        stream.read(10)
        storage.write("x", b"b" * 3_000_000)
        with pytest.raises(DatasetError, match="changed while it was read"):
            stream.read()


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=NAMES)
def test_a_stopped_server_is_a_passing_error_after_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, request_: Callable[[ObjectStorage], Any]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens on `discard`
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    started = time.monotonic()
    with pytest.raises(TransientError, match="s3://bucket") as caught:
        request_(ObjectStorage("s3://bucket", retry_s=0.5))
    assert caught.value.cause == "storage"
    assert time.monotonic() - started < 5


def test_a_server_that_stops_during_an_upload_does_not_block_the_writer(own_s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own_s3_server.point_to(monkeypatch)
    storage = ObjectStorage(f"s3://{own_s3_server.new_bucket()}", retry_s=0.5)
    with pytest.raises(TransientError), storage.open_output("x") as out:
        for number in range(200):
            if number == 20:
                own_s3_server.stop()
            out.write(b"x" * 1_000_000)


class _Throttling(BaseHTTPRequestHandler):
    """An S3 server that only ever asks to be left alone."""

    seen = 0

    def _refuse(self) -> None:
        type(self).seen += 1
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _refuse

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_throttling_is_retried_then_a_passing_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Throttling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with pytest.raises(TransientError, match="SlowDown: Please reduce") as caught:
            ObjectStorage("s3://bucket", retry_s=1).read("x")
        server.shutdown()
    assert caught.value.cause == "storage"
    assert _Throttling.seen > 1


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "https://host/x?X-Amz-Signature=secret"])
def test_credentials_in_a_url_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(PipelineError, match="do not belong in a URL") as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


def test_credentials_may_come_from_the_aws_tools_own_files(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.new_bucket()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(f"[work]\naws_access_key_id = {s3.key}\naws_secret_access_key = {s3.secret}\n")
    (tmp_path / "config").write_text(f"[profile work]\nregion = us-east-1\nendpoint_url = {s3.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    storage = ObjectStorage(f"s3a://{bucket}")
    storage.write("x", b"1")
    assert storage.read("x") == b"1"
    assert storage.url == f"s3://{bucket}"


def test_an_unknown_kind_of_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="ftp://host/x: unknown kind"):
        open_storage("ftp://host/x")
    assert open_storage(f"file://{tmp_path}/a%20b").url == f"{tmp_path}/a b"


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_workspace_error_and_leaves_nothing(tmp_path: Path) -> None:
    with _mounted(tmp_path / "small", "size=64k") as folder:
        storage = LocalStorage(folder)
        attempts: list[Callable[[], Any]] = [
            lambda: storage.write("a", b"x" * 1_000_000),
            lambda: storage.create("b", b"x" * 1_000_000),
            lambda: _output(storage, 3_000_000),
        ]
        for attempt in attempts:
            with pytest.raises(WorkspaceError, match="no space left") as caught:
                attempt()
            assert "free some space" in str(caught.value)
        assert list(folder.iterdir()) == []
        storage.write("small", b"fits")


def test_a_read_only_folder_is_a_workspace_error(tmp_path: Path) -> None:
    with _mounted(tmp_path / "mount", "size=64k") as folder:
        storage = LocalStorage(folder)
        storage.write("x", b"1")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        attempts: list[Callable[[], Any]] = [
            lambda: storage.write("a/b", b"1"),
            lambda: storage.create("b", b"1"),
            lambda: storage.adopt("x", "y"),
            lambda: storage.delete("x"),
            lambda: storage.delete_tree(""),
            lambda: _output(storage, 1_000_000),
        ]
        for attempt in attempts:
            with pytest.raises(WorkspaceError, match="Read-only file system"):
                attempt()
        assert storage.read("x") == b"1"


def test_errors_of_the_code_that_writes_stay_what_they_are(tmp_path: Path) -> None:
    for mine in (FileNotFoundError(errno.ENOENT, "mine"), PermissionError(errno.EACCES, "mine"), ValueError("mine")):
        with pytest.raises(type(mine), match="mine") as caught, LocalStorage(tmp_path).open_output("x"):
            raise mine
        assert not isinstance(caught.value, CurateError)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(DatasetError, match="x/y"):
        LocalStorage(tmp_path).write("x/y", b"1")
    assert LocalStorage(tmp_path).info("x/y") is None


def test_create_works_where_files_have_one_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    storage, won = LocalStorage(tmp_path), []
    threads = [threading.Thread(target=lambda me=me: won.append(me) if storage.create("x", f"{me}".encode()) else None) for me in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("x") == f"{won[0]}".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
