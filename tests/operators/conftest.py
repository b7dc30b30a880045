"""Real text for the operators' tests; where the data is absent, what needs it is skipped with the reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set CURATE_TEST_DATA)")
    return DATA


def read_texts(folder: Path, *sets: str, limit: int = 1_000_000) -> list[str]:
    """Return the texts of whole sets, at most `limit` of each."""
    texts: list[str] = []
    for name in sets:
        with pa.input_stream(folder / name / "docs.jsonl.zst", compression="zstd") as stream:
            lines = stream.read().splitlines()
        texts += [json.loads(line)["text"] for line in lines[:limit] if line.strip()]
    return texts


def batch(texts: list[str | None], **columns: pa.Array) -> pa.RecordBatch:
    """Make documents with ids 0, 1, 2 …"""
    ids = pa.array([str(i) for i in range(len(texts))], pa.string())
    return pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string())} | columns)
