"""The layout on disk is an API: every file and every JSON field that a run leaves stands in `curate/README.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import ROOT
from tests.docs import blocks

README = (ROOT / "curate" / "README.md").read_text(encoding="utf-8")
MAPS = {"dropped", "edited", "columns", "statistics", "samples", "steps", "step_seconds", "measures"}
"""Fields whose keys are names of the user's, not ours."""

RULES = """
from dataclasses import dataclass

import pyarrow as pa

from curate import Filter


@dataclass(frozen=True)
class Fussy(Filter):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        if any("AM" in text for text in docs.column("text").to_pylist()):
            raise ValueError("too early")
        return pa.nulls(docs.num_rows, pa.string())
"""
PIPELINE = """
name: layout
inputs: { lines: { path: lines.jsonl } }
stages:
  clean:
    from: lines
    max_errors: 100
    trace: documents
    operators:
      - { use: normalize }
      - { use: language, into: lang }
      - { use: length, params: { min_chars: 3 } }
      - { use: rules.py:Fussy }
  dedup: { from: clean, use: exact_dedup }
  corpus: { from: [clean, dedup], apply: [dedup] }
outputs: { corpus: { path: out } }
checks: { enough: { use: expect, from: corpus } }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace and an output with a drop, an error, an edit, a duplicate, a check and code of the user."""
    folder = tmp_path_factory.mktemp("layout")
    texts = ["a text", "a text", "b", "9 AM", "two\\r\\nlines"]
    (folder / "lines.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    (folder / "rules.py").write_text(RULES)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    blocks.carry_out(blocks.Block("sh", "curate run pipeline.yaml --on local --workers 1", None), folder, {})
    return folder


def test_every_json_field_is_documented(folder: Path) -> None:
    files = [*folder.glob("workspace/datasets/*/**/*.json"), *folder.glob("workspace/runs/*/*.json"), folder / "out" / "manifest.json"]
    assert len(files) == 9
    fields = {field for path in files for field in _fields(orjson.loads(path.read_bytes()))}
    events = [orjson.loads(line) for path in folder.glob("workspace/runs/*/events/*") for line in path.read_bytes().splitlines()]
    fields |= {field for event in events for field in event} | {str(event["event"]) for event in events}
    assert {"rows_in", "sha256", "aligned_to", "peak_rss_bytes", "output", "check"} <= fields
    assert [field for field in sorted(fields) if not re.search(rf"[`{{ ,]{field}[`}}:, ]", README)] == []


def _fields(value: Any) -> Iterator[str]:
    """Yield the names of a record's fields, leaving out the user's own names."""
    if isinstance(value, list):
        for entry in value:
            yield from _fields(entry)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            if name in ("inputs", "stages") and isinstance(inner, Mapping):
                yield from _fields(list(inner.values()))
            elif name not in MAPS:
                yield from _fields(inner)


def test_every_file_is_documented(folder: Path) -> None:
    known = [
        r"workspace/datasets/\w+@[0-9a-f]{16}/((drops/|errors/|trace/)?part-\d{5}\.parquet|receipts/part-\d{5}\.json|manifest\.json)",
        r"workspace/runs/[\w-]+/(pipeline\.yaml|plan\.json|report\.json|report\.html|events/\d{5}\.jsonl|code/[0-9a-f]{64}/\w+\.py)",
        r"workspace/cache/files\.json",
        r"out/(v-[0-9a-f]{16}/part-\d{5}\.parquet|manifest\.json)",
    ]
    found = [str(path.relative_to(folder)) for top in ("workspace", "out") for path in sorted((folder / top).rglob("*")) if path.is_file()]
    assert [path for path in found if not any(re.fullmatch(pattern, path) for pattern in known)] == []
    kinds = ("drops/part-", "errors/part-", "trace/part-", "receipts/part-", "/code/", "/events/", "cache/files.json", "report.html")
    assert [kind for kind in kinds if not any(kind in path for path in found)] == []
