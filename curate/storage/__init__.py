"""Where bytes live: one small interface over local folders and S3-compatible, Google and Azure object stores.

A `Storage` is rooted at a URL; every path below is relative to that root and uses `/`. Two promises carry the
engine's exactly-once results: `write` replaces a file whole or not at all, and `create` succeeds for exactly one
of any number of racing callers (exclusive link on a local disk, conditional put on an object store).

Credentials come from the environment or the machine's role, never from a URL or a pipeline file.
"""

from __future__ import annotations

from curate.storage.base import REMOTE_SCHEMES, FileInfo, Storage, is_remote, join, open_file, open_storage
from curate.storage.local import LocalStorage
from curate.storage.objects import ObjectStorage

__all__ = ["REMOTE_SCHEMES", "FileInfo", "LocalStorage", "ObjectStorage", "Storage", "is_remote", "join", "open_file", "open_storage"]
