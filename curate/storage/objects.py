"""Objects of a bucket, or of a prefix of one, reached through `obstore`."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, BinaryIO, cast

import pyarrow as pa

from curate.errors import PipelineError, TransientError
from curate.storage.aws import aws_profile, plain_endpoint
from curate.storage.base import FileInfo, inside, is_unfinished
from curate.storage.errors import explained
from curate.storage.logs import Log, SegmentLog
from curate.storage.streams import PART, RangeReader, UploadWriter

RETRY_S = 30.0
_BUFFER = 64 << 10  # small, so that a read of a Parquet footer or column asks for little more than that
_WRITER = "curate-writer"


class ObjectStorage:
    """A bucket or a prefix of one; a store that does not answer is an error after `retry_s` seconds."""

    def __init__(self, url: str, retry_s: float = RETRY_S) -> None:
        scheme, _, rest = url.rstrip("/").partition("://")
        bucket, _, self._prefix = rest.partition("/")
        if ":" in bucket.rpartition("@")[0] or "?" in (rest if scheme.startswith("http") else bucket):
            raise PipelineError(f"{scheme}://…: credentials do not belong in a URL", "set them in the environment")
        self._bucket = f"{'s3' if scheme == 's3a' else scheme}://{bucket}"
        self.url = "/".join(filter(None, (self._bucket, self._prefix)))
        self.retry_s = retry_s

    def __repr__(self) -> str:
        return f"ObjectStorage({self.url!r})"

    def __reduce__(self) -> tuple[type[ObjectStorage], tuple[str, float]]:
        return ObjectStorage, (self.url, self.retry_s)

    @cached_property
    def _store(self) -> Any:
        from obstore.store import from_url

        profile = aws_profile(os.environ) if self._bucket.startswith("s3://") else {}
        options: dict[str, Any] = {
            "config": profile or None,
            "client_options": {"timeout": "60s", "allow_http": self._bucket.startswith("http://") or plain_endpoint(os.environ, profile)},
            "retry_config": {"max_retries": 10, "retry_timeout": timedelta(seconds=self.retry_s)},
        }
        with explained(self.url):
            return from_url(self._bucket, **options)

    def _key(self, path: str) -> str:
        return inside(self._prefix, path)

    def _where(self, path: str) -> str:
        return f"{self._bucket}/{self._key(path)}"

    def list(self, prefix: str = "") -> list[FileInfo]:
        import obstore

        with explained(self._where(prefix)):
            found = [meta for page in obstore.list(self._store, self._key(prefix) or None) for meta in page]
        root = len(self._prefix) + 1 if self._prefix else 0
        files = [_file_info(meta["path"][root:], meta) for meta in found if not is_unfinished(meta["path"].rpartition("/")[2])]
        single = None if files or not self._key(prefix) else self.info(prefix)
        return [single] if single else sorted(files)

    def info(self, path: str) -> FileInfo | None:
        import obstore

        with explained(self._where(path)), contextlib.suppress(FileNotFoundError):
            return _file_info(path, obstore.head(self._store, self._key(path)))
        return None

    def read(self, path: str) -> bytes:
        import obstore

        with explained(self._where(path)):
            return bytes(obstore.get(self._store, self._key(path)).bytes())

    def open_input(self, path: str) -> BinaryIO:
        import obstore

        with explained(self._where(path)):
            meta = obstore.head(self._store, self._key(path))
        etag = meta["e_tag"] or ""
        same = {"if_match": etag} if etag and not etag.startswith("W/") else {}

        def fetch(start: int, end: int) -> memoryview:
            with explained(self._where(path)):
                options = cast("obstore.GetOptions", {"range": (start, end), **same})
                answer = obstore.get(self._store, self._key(path), options=options)
                return memoryview(answer.bytes())

        return io.BufferedReader(RangeReader(fetch, meta["size"]), _BUFFER)

    def open_arrow(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(cast(io.IOBase, self.open_input(path)), "r")

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        out = UploadWriter(lambda data: self._put(path, data))
        try:
            yield cast(BinaryIO, out)
            out.commit()
        except BaseException:
            out.abort()
            raise
        finally:
            out.close()

    def _put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        import obstore

        with explained(self._where(path), writing=True):
            obstore.put(self._store, self._key(path), data, chunk_size=PART, max_concurrency=4)

    def write(self, path: str, data: bytes) -> None:
        self._put(path, data)

    def open_log(self, path: str) -> Log:
        return SegmentLog(self, path)

    def create(self, path: str, data: bytes) -> bool:
        """A lost answer makes `obstore` ask again and find the object there: so it carries a mark that says whose it is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        mark = uuid.uuid4().hex
        with explained(self._where(path), writing=True):
            for _ in range(5):
                with contextlib.suppress(AlreadyExistsError):
                    obstore.put(self._store, self._key(path), data, mode="create", attributes={_WRITER: mark}, use_multipart=False)
                    return True
                with contextlib.suppress(FileNotFoundError):  # refused for a race that nobody won, or deleted since
                    return bool(obstore.get(self._store, self._key(path)).attributes.get(_WRITER) == mark)
        raise TransientError(f"{self._where(path)} is there and not there", cause="storage")

    def adopt(self, attempt: str, path: str) -> str:
        return attempt

    def delete(self, path: str) -> None:
        import obstore

        with explained(self._where(path), writing=True):
            obstore.delete(self._store, self._key(path))

    def delete_tree(self, prefix: str) -> None:
        import obstore

        with explained(self._where(prefix), writing=True):
            for page in obstore.list(self._store, self._key(prefix) or None, chunk_size=1000):
                obstore.delete(self._store, [meta["path"] for meta in page])

    def delete_unfinished(self, prefix: str) -> None:
        return  # an upload that was not closed never became an object; the bucket's lifecycle rule ends its parts


def _file_info(path: str, meta: Mapping[str, Any]) -> FileInfo:
    return FileInfo(path, meta["size"], meta["e_tag"] or str(meta["last_modified"]))
