"""Reading whole inputs in tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from curate.readers import Drop, Format, ReadOptions, RowError, reader
from curate.storage import LocalStorage


@dataclass
class Result:
    """All that a reader found in some files."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    batches: int = 0

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]

    @property
    def reasons(self) -> list[str]:
        return [drop.reason for drop in self.drops]


def read_all(format: Format, folder: Path, options: ReadOptions | None = None, target_bytes: int = 1 << 60) -> Result:
    """Read every file of a folder; each batch must be valid and have exactly the columns of the schema."""
    storage, options = LocalStorage(folder), options or ReadOptions("in")
    chosen, files = reader(format), storage.list()
    schema = chosen.schema(storage, files, options)
    result = Result()
    for file in files:
        for part in chosen.split(storage, file, target_bytes):
            for batch in chosen.read(storage, part, schema, options):
                batch.docs.validate(full=True)
                assert batch.docs.schema.equals(schema)
                result.rows += batch.docs.to_pylist()
                result.drops += batch.drops
                result.errors += batch.errors
                result.batches += 1
    assert schema.names[0] == "id"
    found = result.ids + [note.id for note in [*result.drops, *result.errors]]
    assert len(set(found)) == len(found), "every record has an id of its own"
    return result


@pytest.fixture(scope="session")
def read_folder() -> Callable[..., Result]:
    """Read a folder: `(format, folder, options, target_bytes)`."""
    return read_all


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Result]:
    """Read the folder `tmp_path` in a format, with changes to the default options."""

    def run(format: Format, target_bytes: int = 1 << 60, **changes: Any) -> Result:
        return read_all(format, tmp_path, replace(ReadOptions("in"), **changes), target_bytes)

    return run


@pytest.fixture(scope="session")
def warc_real() -> Path:
    """The folder of real and broken archives, or skip."""
    shared = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (shared / "warc_real").is_dir():
        pytest.skip("no test data: ../shared/data/warc_real is absent and CURATE_TEST_DATA does not name it")
    return shared / "warc_real"
