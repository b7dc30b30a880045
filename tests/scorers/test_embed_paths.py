"""The folder of an embedding model is looked for beside the pipeline's file, from wherever `curate` is called, and told of once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate.pipeline import Stage, Step
from tests.engine import small
from tests.scorers.embed_models import save_sentence_model

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")


def test_paths_are_relative_to_the_pipeline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_sentence_model(tmp_path / "pipelines" / "models" / "tiny")
    path = small.write_jsonl(tmp_path / "in.jsonl", small.documents(2))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stage = Stage("crawl", (Step("embed", into="vector", params={"model": "models/tiny"}),))
    planned = small.plan(small.pipeline(path, {"vectors": stage}, folder=tmp_path / "pipelines"), tmp_path / "workspace")
    assert planned.stages["vectors"].schema.field("vector").type == pa.list_(pa.float32(), 24)


def test_a_missing_folder_is_told_once(tmp_path: Path) -> None:
    path = small.write_jsonl(tmp_path / "in.jsonl", small.documents(2))
    stage = Stage("crawl", (Step("embed", into="vector", params={"model": "models/none"}),))
    with pytest.raises(PipelineError, match="there is no such folder") as caught:
        small.plan(small.pipeline(path, {"vectors": stage}, folder=tmp_path), tmp_path / "workspace")
    assert str(caught.value).count("there is no such folder") == 1
