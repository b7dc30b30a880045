"""Tells a file's format and compression by its name."""

from __future__ import annotations

from curate.readers.base import Format

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
_PLAIN: dict[str, Format] = {".parquet": "parquet", ".arrow": "arrow"}
_COMPRESSIBLE: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".warc": "warc",
    ".arc": "warc",
    ".wet": "wet",
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
}


def format_of(path: str) -> Format | None:
    """Return the format that a file's name tells, or None."""
    name = path.rpartition("/")[2].lower()
    stem, suffix = _cut(name)
    if suffix in COMPRESSIONS:
        return _COMPRESSIBLE.get(_cut(stem)[1])
    return _PLAIN.get(suffix) or _COMPRESSIBLE.get(suffix)


def compression_of(path: str) -> str | None:
    """Return the compression that a file's name tells, or None."""
    return COMPRESSIONS.get(_cut(path.lower())[1])


def _cut(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if dot else (name, "")
