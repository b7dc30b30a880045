"""Artifacts of earlier runs as inputs: where they lie, what stands for them, what is told when they do not fit, and what is copied."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

import curate
from curate import launch
from curate.artifacts import open_artifacts
from curate.cleaning import remove, unused
from curate.cli import cli
from curate.errors import PipelineError
from curate.launch import Request
from curate.pipeline import Input, Output, Pipeline, Stage, Step
from curate.pipeline_validate import validate
from curate.pipeline_yaml import to_yaml
from curate.plan import Plan
from curate.portable import absolute, with_files
from curate.storage import LocalStorage, open_storage
from tests.contracts import duplicates
from tests.engine import small
from tests.s3_server import S3Server

SHARDS = 4


@pytest.fixture
def docs() -> list[dict[str, Any]]:
    return duplicates.documents(90)


def dump(folder: Path, docs: Sequence[dict[str, Any]], artifact: str | None = None, out: str | None = None) -> Pipeline:
    """Return the pipeline of one dump, which reads an index and publishes a new one."""
    crawl = Input(str(duplicates.write(folder / f"crawl-{docs[0]['id']}", list(docs), SHARDS)))
    last = {"last": Input(artifact=artifact)} if artifact is not None else {}
    stages = {
        "dedup": Stage(["crawl", *last], use="minhash_dedup"),
        "index": Stage(["crawl", "dedup", *last], use="minhash_index"),
    }
    outputs = {"index": Output(out)} if out else {}
    return small.pipeline(folder, stages, inputs={"crawl": crawl, **last}, outputs=outputs, shard_bytes=1)


def told(plan: Plan) -> list[dict[str, Any]]:
    return small.rows(plan.dataset("dedup"))


def hashes(plan: Plan, stage: str) -> list[str]:
    return [shard.data.sha256 for shard in plan.dataset(stage).manifest.shards]


def in_one_run(folder: Path, docs: list[dict[str, Any]]) -> Plan:
    """Return the plan of both dumps in one pipeline, where the index is a stage."""
    first, second = dump(folder, docs[:50]), dump(folder, docs[50:])
    stages = {
        "before": first.stages["dedup"],
        "last": first.stages["index"],
        "dedup": Stage(["new", "last"], use="minhash_dedup"),
        "index": Stage(["new", "dedup", "last"], use="minhash_index"),
    }
    stages = {
        name: dataclasses.replace(stage, from_=[{"dedup": "before"}.get(s, s) if name == "last" else s for s in stage.sources])
        for name, stage in stages.items()
    }
    inputs = {"crawl": first.inputs["crawl"], "new": second.inputs["crawl"]}
    return small.run(dataclasses.replace(first, inputs=inputs, stages=stages), folder / "one")[0]


def test_an_index_of_the_same_workspace_grows_without_a_copy(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    first, _ = small.run(dump(tmp_path, docs[:50]), tmp_path / "ws")
    old = first.dataset("index")
    for named in (old.url, f"{old.url}/", str(tmp_path / "ws/../ws" / old.path)):
        second, _ = small.run(dump(tmp_path, docs[50:], named), tmp_path / "ws")
        new = second.dataset("index").manifest.shards
        assert [shard.data.path for shard in new[:SHARDS]] == [
            f"../{old.path.partition('/')[2]}/part-{i:05d}.parquet" for i in range(SHARDS)
        ]
        assert not list((tmp_path / "ws" / second.dataset("index").path).glob("part-0000[0-3].parquet"))
    assert told(second) == told(in_one_run(tmp_path, docs))
    assert sum(not row["keep"] for row in told(second)) > sum(
        not row["keep"] for row in told(small.run(dump(tmp_path, docs[50:]), tmp_path / "ws")[0])
    )


def test_an_index_from_elsewhere_is_copied_and_gives_the_same(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    first, _ = small.run(dump(tmp_path, docs[:50]), tmp_path / "old")
    second, _ = small.run(dump(tmp_path, docs[50:], first.dataset("index").url), tmp_path / "new")
    grown = second.dataset("index")
    assert not any(shard.data.path.startswith("../") for shard in grown.manifest.shards)
    shutil.rmtree(tmp_path / "old")  # nothing of it is needed any more
    at_once = in_one_run(tmp_path, docs)
    assert told(second) == told(at_once)
    assert hashes(second, "index") == hashes(at_once, "index")


def test_a_grown_index_is_read_from_another_workspace(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    """Its first shards lie in the folder of the index before it."""
    first, _ = small.run(dump(tmp_path, docs[:30]), tmp_path / "old")
    second, _ = small.run(dump(tmp_path, docs[30:60], first.dataset("index").url), tmp_path / "old")
    grown = second.dataset("index")
    assert small.rows(curate.load(grown.url)) == small.rows(grown) == curate.load(grown.url).scan().collect().to_dicts()
    here, _ = small.run(dump(tmp_path, docs[60:], grown.url), tmp_path / "old")
    there, _ = small.run(dump(tmp_path, docs[60:], grown.url), tmp_path / "new")
    assert told(here) == told(there)
    assert hashes(here, "index") == hashes(there, "index")


def test_a_published_index_is_a_stable_place(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    out = str(tmp_path / "indexes/one")
    pipe = dump(tmp_path, docs[:50], out=out)
    joined = dataclasses.replace(pipe, outputs={"index": Output(out, shard_bytes=1 << 30)})
    small.run(joined, tmp_path / "old")
    shutil.rmtree(tmp_path / "old")
    assert curate.load(out).manifest.kind == "artifact" and len(curate.load(out).manifest.shards) == 1
    second, _ = small.run(dump(tmp_path, docs[50:], out, str(tmp_path / "indexes/two")), tmp_path / "new")
    at_once = in_one_run(tmp_path, docs)
    assert told(second) == told(at_once)
    for grown in (second.dataset("index"), curate.load(str(tmp_path / "indexes/two"))):
        assert small.rows(grown) == small.rows(at_once.dataset("index"))
        about = grown.manifest.about
        assert about["dumps"] == len(about["documents"]) == 2 and about["settings"] == at_once.dataset("index").manifest.about["settings"]


@pytest.mark.s3
@pytest.mark.parametrize("named", ["its folder", "published"])
def test_an_index_on_an_object_store(named: str, docs: list[dict[str, Any]], tmp_path: Path, s3: S3Server) -> None:
    bucket = f"s3://{s3.new_bucket()}"

    def run(pipe: Pipeline, workspace: str) -> Plan:
        planned = launch.plan_for(pipe, None, open_storage(workspace))
        result = small.execute(planned, workers=2)
        assert result.status == "done", result.error
        return planned

    first = run(dump(tmp_path, docs[:50], out=f"{bucket}/indexes/one"), f"{bucket}/ws")
    url = {"its folder": first.dataset("index").url, "published": f"{bucket}/indexes/one"}[named]
    second = run(dump(tmp_path, docs[50:], url), f"{bucket}/ws")
    local = run(dump(tmp_path, docs[50:], url), str(tmp_path / "ws"))
    at_once = in_one_run(tmp_path, docs)
    for planned in (second, local):
        assert told(planned) == told(at_once)
        assert small.rows(planned.dataset("index")) == small.rows(at_once.dataset("index"))
    borrowed = [shard.data.path.startswith("../index@") for shard in second.dataset("index").manifest.shards]
    assert sum(borrowed) == (SHARDS if named == "its folder" else 0)
    assert first.dataset("index").rows == curate.load(url).rows == curate.load(f"{bucket}/indexes/one").rows


def test_an_index_that_is_still_to_come_is_none(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    without, _ = small.run(dump(tmp_path, docs), tmp_path / "ws")
    empty, result = small.run(dump(tmp_path, docs, ""), tmp_path / "ws")
    assert [stage.status for stage in result.stages.values()] == ["reused"] * 3
    assert {name: stage.fingerprint for name, stage in empty.stages.items()} == {
        name: stage.fingerprint for name, stage in without.stages.items()
    }


def test_another_index_makes_other_datasets(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    plans = []
    for number, part in enumerate((docs[:30], docs[30:60])):
        small.run(dump(tmp_path, part, out=str(tmp_path / f"index{number}")), tmp_path / "ws")
        plans.append(small.plan(dump(tmp_path, docs[60:], str(tmp_path / f"index{number}")), tmp_path / "ws"))
    assert plans[0].stages["crawl"].fingerprint == plans[1].stages["crawl"].fingerprint
    assert all(plans[0].stages[name].fingerprint != plans[1].stages[name].fingerprint for name in ("dedup", "index"))
    entry = plans[0].to_dict()["artifacts"]["last"]
    assert (entry["url"], entry["dataset"], entry["stage"]) == (str(tmp_path / "index0"), None, "index")
    assert entry["rows"] == curate.load(str(tmp_path / "index0")).rows > 20


def test_the_documents_of_the_index_itself_are_refused(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    first, _ = small.run(dump(tmp_path, docs), tmp_path / "ws")
    failed = small.execute(small.plan(dump(tmp_path, docs, first.dataset("index").url), tmp_path / "ws"))
    assert isinstance(failed.error, PipelineError)
    assert "holds the documents of `crawl` already" in failed.error.message
    assert failed.error.hint == "name the index of the dump before; that of this dump is for the next one"


def test_an_output_that_is_read_is_refused(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    small.run(dump(tmp_path, docs[:50], out=str(tmp_path / "index")), tmp_path / "ws")
    again = dump(tmp_path, docs[50:], f"{tmp_path}/index/", str(tmp_path / "index"))
    with pytest.raises(PipelineError, match="is also read: a second run would read what the first one wrote"):
        launch.launch(again, None, Request(str(tmp_path / "ws"), "local", 1), lambda event: None)


def mistake(pipe: Pipeline, tmp_path: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        small.plan(pipe, tmp_path / "ws")
    return caught.value


def test_what_does_not_fit_is_told_before_anything_runs(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    first, _ = small.run(dump(tmp_path, docs[:50], out=str(tmp_path / "index")), tmp_path / "ws")
    index = str(tmp_path / "index")
    other = dump(tmp_path, docs[50:], index)
    stages = {**other.stages, "dedup": dataclasses.replace(other.stages["dedup"], params={"similarity": 0.5})}
    assert "stage dedup: the index " in mistake(dataclasses.replace(other, stages=stages), tmp_path).message
    assert "similarity 0.8, not 0.5" in mistake(dataclasses.replace(other, stages=stages), tmp_path).message
    cases = {
        str(tmp_path / "nowhere"): "input last: input `last`: no finished dataset at",
        first.dataset("crawl").url: "holds documents, not an artifact",
        first.dataset("dedup").url: "holds attributes, not an artifact",
    }
    for named, message in cases.items():
        assert message in mistake(dump(tmp_path, docs[50:], named), tmp_path).message
    assert not (tmp_path / "nowhere").exists()
    both = dataclasses.replace(
        other,
        inputs={**other.inputs, "more": Input(artifact=index)},
        stages={"dedup": Stage(["crawl", "last", "more"], use="minhash_dedup")},
    )
    assert "minhash_dedup reads one index, found 2" in mistake(both, tmp_path).message


def test_an_index_published_as_json_lines_is_refused(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    pipe = dump(tmp_path, docs[:50])
    lines = dataclasses.replace(pipe, outputs={"index": Output(str(tmp_path / "index"), format="jsonl")})
    small.run(lines, tmp_path / "ws")
    error = mistake(dump(tmp_path, docs[50:], str(tmp_path / "index")), tmp_path)
    assert "was published as JSONL" in error.message and error.hint == "publish it with `format: parquet`"


def test_the_command_line_checks_an_artifact_with_its_line(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    small.run(dump(tmp_path, docs[:50], out=str(tmp_path / "index")), tmp_path / "ws")
    file = tmp_path / "next.yaml"
    file.write_text(to_yaml(dump(tmp_path, docs[50:], str(tmp_path / "index"))))
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if text.strip() == "dedup:")
    runner = CliRunner()
    assert "all columns found" in runner.invoke(cli, ["check", str(file)]).output
    wrong = runner.invoke(cli, ["check", str(file), "--set", "dedup.n=3"], standalone_mode=False)
    assert isinstance(wrong.exception, PipelineError) and wrong.exception.message.startswith(f"{file}:{line}: the index")
    moved = runner.invoke(cli, ["check", str(file), "--set", "inputs.last.artifact=gone"], standalone_mode=False)
    assert isinstance(moved.exception, PipelineError)
    assert moved.exception.message.startswith("--set inputs.last.artifact=gone: input `last`: no finished dataset at")
    printed = runner.invoke(cli, ["plan", str(file), "-w", str(tmp_path / "ws")]).output
    assert f"rows of an artifact in {tmp_path / 'index'}" in printed


@pytest.mark.parametrize(("named", "sent"), [("indexes/one", "/indexes/one"), ("s3://b/one", "s3://b/one"), ("", "")])
def test_a_cluster_gets_a_path_that_means_the_same(named: str, sent: str, docs: list[dict[str, Any]], tmp_path: Path) -> None:
    pipe = dump(tmp_path, docs, named)
    expected = f"{pipe.folder.absolute()}{sent}" if sent.startswith("/") else sent
    assert absolute(pipe).inputs["last"] == Input(artifact=expected)


def test_a_limited_run_reads_the_whole_artifact(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    small.run(dump(tmp_path, docs[:50], out=str(tmp_path / "index")), tmp_path / "ws")
    planned = launch.plan_for(dump(tmp_path, docs[50:], str(tmp_path / "index")), None, LocalStorage(tmp_path / "ws"), limit=5)
    assert small.execute(planned).status == "done"
    assert planned.dataset("crawl").rows == 5 and planned.dataset("last").rows == curate.load(str(tmp_path / "index")).rows


def test_an_artifact_that_is_read_is_not_cleaned(docs: list[dict[str, Any]], tmp_path: Path) -> None:
    def run(number: int, pipe: Pipeline) -> dict[str, str]:
        request = Request(str(tmp_path / "ws"), "local", 1, run_id=f"run-{number}")
        assert launch.launch(pipe, None, request, lambda event: None)["status"] == "done"
        plan = orjson.loads((tmp_path / f"ws/runs/run-{number}/plan.json").read_bytes())
        return {name: stage["dataset"] for name, stage in plan["stages"].items()}

    storage = LocalStorage(tmp_path / "ws")
    first = run(0, dump(tmp_path, docs[:50]))
    only_dedup = dump(tmp_path, docs[50:], str(tmp_path / "ws" / first["index"]))
    run(1, dataclasses.replace(only_dedup, stages={"dedup": only_dedup.stages["dedup"]}))
    assert [entry.folder for entry in unused(storage)] == sorted([first["crawl"], first["dedup"]])
    remove(storage, unused(storage))
    assert open_artifacts(only_dedup, None, storage)["last"].path == first["index"]


def test_a_cluster_gets_whole_paths_of_the_files_in_parameters(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"a")
    (tmp_path / "part1").write_bytes(b"no parameter means this file")
    steps = [Step("fasttext", {"model": "model", "label": "part1"}, into="q"), Step("word_blocklist", {"words": ["a.b"]})]
    pipe = small.pipeline(tmp_path / "in.jsonl", {"one": Stage("crawl", steps[:1]), "two": Stage("crawl", steps[1:])}, folder=tmp_path)
    sent = with_files(pipe, validate(pipe), LocalStorage(tmp_path / "ws"), "runs/one")
    assert sent.stages["one"].operators[0].params == {"model": str(tmp_path / "model"), "label": "part1"}
    assert sent.stages["two"] == pipe.stages["two"]
