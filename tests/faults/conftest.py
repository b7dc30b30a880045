"""Small pipelines over documents made for the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
import yaml

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes documents and a pipeline over them, and gives its path."""

    def write(texts: Sequence[str], operators: Sequence[dict[str, object]], **stage: object) -> Path:
        lines = [orjson.dumps({"id": f"d{n:03d}", "text": text}) for n, text in enumerate(texts)]
        (tmp_path / "docs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        shutil.copy(Path(__file__).with_name("rules.py"), tmp_path / "rules.py")
        pipeline = {
            "name": "faults",
            "inputs": {"docs": {"path": "docs.jsonl"}},
            "stages": {"clean": {"from": "docs", "operators": list(operators), **stage}},
            "outputs": {"corpus": {"path": "out", "stage": "clean"}},
        }
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
        return path

    return write
