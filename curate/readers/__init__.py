"""Readers of file formats; each is imported when it is first asked for, so this package costs nothing to import."""

from __future__ import annotations

import importlib
from typing import cast

from curate.errors import PipelineError
from curate.readers.base import Drop, Format, ReadBatch, Reader, ReadOptions, RowError, Slice

__all__ = ["FORMATS", "Drop", "Format", "ReadBatch", "ReadOptions", "Reader", "RowError", "Slice", "reader"]

FORMATS: dict[Format, str] = {
    "parquet": "curate.readers.parquet:ParquetReader",
    "arrow": "curate.readers.arrow:ArrowReader",
    "jsonl": "curate.readers.jsonl:JsonlReader",
    "warc": "curate.readers.warc:WarcReader",
    "wet": "curate.readers.warc:WetReader",
    "text": "curate.readers.files:TextReader",
    "html": "curate.readers.files:HtmlReader",
}


def reader(format: Format) -> Reader:
    """Return the reader of a format."""
    if format not in FORMATS:
        raise PipelineError(f"unknown input format `{format}`", f"formats: {', '.join(FORMATS)}")
    module, _, name = FORMATS[format].partition(":")
    return cast(Reader, getattr(importlib.import_module(module), name)())
