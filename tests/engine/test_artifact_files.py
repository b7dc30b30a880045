"""A stage that trains keeps files in its artifact, and a parameter `stage:NAME` of another stage opens them wherever they lie."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import curate
from curate import launch
from curate.errors import CurateError, DatasetError, PipelineError
from curate.files import local_file, local_folder
from curate.pipeline import Input, Output, Pipeline, Stage, Step
from curate.storage import open_storage
from tests.engine import small
from tests.s3_server import S3Server

TRAINER = '''
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curate.dataset import read_shard
from curate.document import TEXT
from curate.errors import OperatorError
from curate.files import local_file
from curate.protocols import DatasetOperator, Scorer


def count(item, place):
    """Write how often each letter stands in a dataset: a model of a kind."""
    text = "".join(t or "" for path in item for batch in read_shard(place.storage, path, [TEXT]) for t in batch.column(TEXT).to_pylist())
    path = f"{place.prefix}.counts"
    with place.storage.open_output(path) as out:
        out.write(str(text.count("a") + NUMBER).encode())
    return path


def nothing(item, place):
    yield pa.record_batch([pa.array(["all"]), pa.array([1])], ["id", "n"])


NUMBER = 0


@dataclass(frozen=True)
class Train(DatasetOperator):
    emits = "artifact"
    names: tuple[str, ...] = ("counts",)

    def adds(self):
        return {"n": pa.int64()}

    def run(self, inputs, work):
        paths = [inputs[0].shard_path(i) for i in range(len(inputs[0].manifest.shards))]
        for name, path in zip(self.names, work.map("count", count, [paths] * len(self.names))):
            work.write_file(name, path)
        work.write_shards(nothing, [None])


@dataclass(frozen=True)
class Score(Scorer):
    model: str

    files: ClassVar[tuple[str, ...]] = ("model",)

    def output(self):
        return pa.int64()

    def verify_file(self, parameter, path):
        if not path.read_text().isdigit():
            raise OperatorError(f"{path} is no count, which {parameter} is", "train one")

    def score(self, docs):
        return pa.array([int(local_file(self.model).read_text())] * docs.num_rows)


def marked(item, place):
    for batch in read_shard(place.storage, item, ["id"]):
        yield pa.record_batch([batch.column("id"), pa.array([True] * batch.num_rows)], ["id", "keep"])


@dataclass(frozen=True)
class Mark(Train):
    """Emits attributes, and keeps a file beside them."""

    emits = "attributes"

    def adds(self):
        return {"keep": pa.bool_()}

    def run(self, inputs, work):
        paths = [inputs[0].shard_path(i) for i in range(len(inputs[0].manifest.shards))]
        work.write_file("counts", work.map("count", count, [paths])[0])
        work.write_shards(marked, paths)
'''


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    (tmp_path / "ops.py").write_text(TRAINER)
    crawl = small.write_jsonl(tmp_path / "crawl.jsonl", [{"id": f"d{i}", "text": "banana " * i} for i in range(9)])
    return small.pipeline(crawl, {"model": Stage("crawl", use="ops.py:Train"), "score": scored("stage:model")}, folder=tmp_path)


def scored(model: str) -> Stage:
    return Stage("crawl", operators=[Step("ops.py:Score", {"model": model}, into="n")])


def with_score(pipe: Pipeline, model: str) -> Pipeline:
    return dataclasses.replace(pipe, stages={**pipe.stages, "score": scored(model)})


def numbers(rows: list[dict[str, Any]]) -> set[int]:
    return {row["n"] for row in rows}


def test_a_stage_opens_what_another_one_trained(pipe: Pipeline, tmp_path: Path) -> None:
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9))}
    (kept,) = plan.dataset("model").manifest.files
    assert kept.name == "counts" and kept.bytes == 3
    _, again = small.run(pipe, tmp_path / "ws")
    assert {stage.status for stage in again.stages.values()} == {"reused"}


def test_another_model_is_another_score(pipe: Pipeline, tmp_path: Path) -> None:
    small.run(pipe, tmp_path / "ws")
    (tmp_path / "ops.py").write_text(TRAINER.replace("NUMBER = 0", "NUMBER = 5"))
    plan, result = small.run(pipe, tmp_path / "ws")
    assert [stage.status for stage in result.stages.values()] == ["reused", "done", "done"]
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9)) + 5}


def test_one_of_several_files_is_named(pipe: Pipeline, tmp_path: Path) -> None:
    two = Stage("crawl", use="ops.py:Train", params={"names": ["one", "two"]})
    pipe = dataclasses.replace(pipe, stages={"model": two, "score": scored("stage:model/two")})
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9))}
    result = small.execute(small.plan(with_score(pipe, "stage:model"), tmp_path / "ws"))
    assert "keeps 2 files, where one is needed" in str(result.error)


def test_attributes_may_keep_a_file(pipe: Pipeline, tmp_path: Path) -> None:
    pipe = dataclasses.replace(pipe, stages={"marks": Stage("crawl", use="ops.py:Mark"), "score": scored("stage:marks")})
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert plan.dataset("marks").manifest.kind == "attributes"
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9))}


def test_an_operator_looks_at_its_file_before_anything_runs(pipe: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "count.txt"
    file.write_text("seven")
    with pytest.raises(PipelineError, match=r"score, step 1 \(Score\): `ops.py:Score`: .*count.txt is no count, which model is") as error:
        small.plan(with_score(pipe, "count.txt"), tmp_path / "ws")
    assert error.value.hint == "train one"
    file.write_text("7")
    small.plan(with_score(pipe, "count.txt"), tmp_path / "ws")
    file.unlink()
    for made, told in ((False, "there is no file count.txt"), (True, "count.txt is a folder, not a file")):
        if made:
            file.mkdir()
        with pytest.raises(PipelineError, match=told):
            small.plan(with_score(pipe, "count.txt"), tmp_path / "ws")


def test_an_operator_looks_at_the_file_of_an_artifact_that_is_there(pipe: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "ops.py").write_text(TRAINER.replace("out.write(str", 'out.write(b"x" + str'))
    plan, _ = small.run(dataclasses.replace(pipe, stages={"model": pipe.stages["model"]}), tmp_path / "old")
    inputs = {**pipe.inputs, "kept": Input(artifact=plan.dataset("model").url)}
    for name in ("stage:kept", "stage:kept/counts"):
        with pytest.raises(PipelineError, match=r"score, step 1 \(Score\): `ops.py:Score`: .*counts is no count"):
            small.plan(dataclasses.replace(pipe, inputs=inputs, stages={"score": scored(name)}), tmp_path / "new")


def test_an_artifact_of_an_earlier_run_is_an_input(pipe: Pipeline, tmp_path: Path) -> None:
    first = dataclasses.replace(pipe, outputs={"model": Output(str(tmp_path / "out"))})
    plan, _ = small.run(first, tmp_path / "old")
    for place in (plan.dataset("model").url, str(tmp_path / "out")):
        inputs = {**pipe.inputs, "kept": Input(artifact=place)}
        later = dataclasses.replace(pipe, inputs=inputs, stages={"score": scored("stage:kept")})
        found, _ = small.run(later, tmp_path / "new")
        assert numbers(small.rows(found.dataset("score"))) == {3 * sum(range(9))}


def test_a_damaged_or_missing_file_is_told(pipe: Pipeline, tmp_path: Path) -> None:
    plan, _ = small.run(pipe, tmp_path / "ws")
    folder = plan.dataset("model").url
    (Path(folder) / "counts").write_text("7")
    for change, told in (("damaged", "bytes are not those of its manifest"), ("gone", "no such file")):
        if change == "gone":
            (Path(folder) / "counts").unlink()
        local_file.cache_clear()
        with pytest.raises(DatasetError, match=told) as error:
            local_file(folder)
        assert error.value.hint and "run again" in error.value.hint


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("stage:crawl", "is an input"),
        ("stage:modle", "did you mean `model`?"),
        ("stage:other", "`other` makes attributes and keeps no file, but `model` needs one"),
    ],
)
def test_what_keeps_no_file_is_refused(model: str, told: str, pipe: Pipeline, tmp_path: Path) -> None:
    pipe = dataclasses.replace(pipe, stages={**pipe.stages, "other": scored("stage:model"), "score": scored(model)})
    with pytest.raises(PipelineError) as error:
        small.plan(pipe, tmp_path / "ws")
    assert told in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    "name",
    ["", "../model", "a//b", "a/b/c", "/a", "a/", "a/.b", "drops/a", "manifest.json", "manifest.json/a", ".hidden", "same", "a/same"],
)
def test_a_file_needs_a_name_of_its_own(name: str, pipe: Pipeline, tmp_path: Path) -> None:
    stage = Stage("crawl", use="ops.py:Train", params={"names": [name, name]})
    result = small.execute(small.plan(dataclasses.replace(pipe, stages={"model": stage}), tmp_path / "ws"))
    assert "not a name for a new file" in str(result.error)


def test_models_may_have_a_folder_each(pipe: Pipeline, tmp_path: Path) -> None:
    several = Stage("crawl", use="ops.py:Train", params={"names": ["a/counts", "b/counts", "told"]})
    pipe = dataclasses.replace(pipe, stages={"model": several, "score": scored("stage:model/b/counts")}, outputs={"model": Output("out")})
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9))}
    for place in (plan.dataset("model").url, str(tmp_path / "out")):
        assert local_folder(f"{place}/a") == local_file(f"{place}/a/counts").parent == local_folder(place) / "a"
        assert local_file(f"{place}/told").read_text() == "108"
        with pytest.raises(DatasetError, match="keeps no folder `c`") as error:
            local_folder(f"{place}/c")
        assert error.value.hint == "its folders: a, b"
        with pytest.raises(DatasetError, match="no such file"):
            local_file(f"{place}/c/counts")
    Path(plan.dataset("model").url, "a/counts").write_text("7")
    local_file.cache_clear()
    with pytest.raises(DatasetError, match="bytes are not those of its manifest"):
        local_file(f"{plan.dataset('model').url}/a/counts")


def test_a_folder_that_is_no_artifact_is_itself(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path / "none")) == tmp_path / "none"


@pytest.mark.s3
def test_in_an_object_store(pipe: Pipeline, tmp_path: Path, s3: S3Server) -> None:
    workspace = f"s3://{s3.new_bucket()}/ws"
    plan = launch.plan_for(pipe, None, open_storage(workspace))
    result = small.execute(plan, workers=2)
    assert result.status == "done", result.error
    assert numbers(small.rows(plan.dataset("score"))) == {3 * sum(range(9))}
    kept = f"{plan.dataset('model').url}/counts"
    assert local_file(kept).read_text() == local_file(plan.dataset("model").url).read_text() == "108"
    with pytest.raises(CurateError, match="no such file"):
        local_file(f"{workspace}/none")
    manifest = plan.dataset("model").manifest
    for name in ("../counts", "a/../../counts", "/counts"):
        spoilt = dataclasses.replace(manifest, files=[dataclasses.replace(manifest.files[0], name=name)])
        plan.storage.write("spoilt/manifest.json", spoilt.to_json())
        with pytest.raises(DatasetError, match="names a file outside of it"):
            local_folder(f"{workspace}/spoilt")
    assert curate.load(plan.dataset("model").url).manifest.kind == "artifact"
