"""A stage over inputs that grew makes the new shards only, and everybody finds those of earlier datasets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DatasetError
from curate.explain import explain
from curate.manifest import MANIFEST, Manifest
from curate.pipeline import Input, Output, Pipeline, Stage, Step
from curate.plan import Plan
from curate.run import RunResult
from curate.units import group_shards
from tests.engine import small


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)), st.integers(0, 40))
def test_later_shards_change_no_group_but_the_last(sizes: list[int], more: list[int], target: int) -> None:
    groups, longer = list(group_shards(sizes, target)), list(group_shards(sizes + more, target))
    assert [index for group in groups for index in group] == list(range(len(sizes)))
    assert longer[: max(0, len(groups) - 1)] == groups[:-1]
    assert all(sum(sizes[i] for i in group) >= target for group in groups[:-1])
    assert target or groups == [[i] for i in range(len(sizes))]


def grown(tmp_path: Path, files: int, **change: Any) -> Pipeline:
    for number in range(files):
        path = tmp_path / f"in/{number}.jsonl"
        if not path.exists():
            small.write_jsonl(path, small.documents(20, start=number * 20))
    stages = {
        "even": Stage("crawl", [Step("my_ops.py:Even")], trace="documents"),
        "score": Stage("even", [Step("my_ops.py:Length", into="size", name="length")]),
        "late": Stage(["even", "score"], [Step("where", {"keep": "score.size.chars > 10"}), Step("my_ops.py:Upper", name="upper")]),
    }
    outputs = {"late": Output(str(tmp_path / "out"))}
    return small.pipeline(
        tmp_path / "in", stages, inputs={"crawl": Input(str(tmp_path / "in"))}, outputs=outputs, shard_bytes=500, **change
    )


def new_shards(result: RunResult) -> dict[str, int]:
    return {name: stage.new_shards for name, stage in result.stages.items()}


def files(plan: Plan, name: str) -> list[str]:
    return [shard.data.path for shard in plan.dataset(name).manifest.shards]


def test_only_new_units_run(tmp_path: Path) -> None:
    _, first = small.run(grown(tmp_path, 2), tmp_path / "ws")
    plan, second = small.run(grown(tmp_path, 3), tmp_path / "ws")
    old, new = new_shards(first), new_shards(second)
    shards = {name: len(files(plan, name)) for name in plan.stages}
    assert all(0 < new[name] <= shards[name] - old[name] + 1 < shards[name] for name in plan.stages), "at most the last unit and the added"
    assert sum(path.startswith("../even@") for path in files(plan, "even")) == shards["even"] - new["even"]
    fresh, _ = small.run(grown(tmp_path, 3), tmp_path / "fresh")
    for name in plan.stages:
        dataset, alone = plan.dataset(name), fresh.dataset(name)
        assert small.rows(dataset) == small.rows(alone)
        assert dataset.scan().collect().to_dicts() == small.rows(alone)
        for which in ("drops", "errors", "trace"):
            assert small.ledger(dataset, which) == small.ledger(alone, which)
        assert dataset.manifest.counts == alone.manifest.counts and dataset.manifest.statistics == alone.manifest.statistics
        assert dataset.manifest.samples == alone.manifest.samples
        assert [s.data.sha256 for s in dataset.manifest.shards] == [s.data.sha256 for s in alone.manifest.shards]
    for doc_id in ("d0001", "d0002", "d0058"):
        told = explain([plan.dataset(name) for name in plan.stages], doc_id)
        assert told == explain([fresh.dataset(name) for name in plan.stages], doc_id) != []


def test_borrowed_shards_are_named_where_they_lie(tmp_path: Path) -> None:
    """A third dataset names the first one's files, not a chain of borrowings."""
    folders = {}
    for count in (1, 2, 3):
        plan, _ = small.run(grown(tmp_path, count), tmp_path / "ws")
        folders[count] = plan.stages["even"].folder.rpartition("/")[2]
    borrowed = {path.split("/")[1] for path in files(plan, "even") if path.startswith("../")}
    assert borrowed == {folders[1], folders[2]}
    assert len(small.rows(plan.dataset("even"))) == 30


def test_another_chain_borrows_nothing(tmp_path: Path) -> None:
    small.run(grown(tmp_path, 2), tmp_path / "ws")
    pipe = grown(tmp_path, 3)
    other = dataclasses.replace(pipe, stages={**pipe.stages, "even": Stage("crawl", [Step("my_ops.py:Even")])})
    plan, _ = small.run(other, tmp_path / "ws")
    assert not any(path.startswith("../") for path in files(plan, "even"))


def test_a_lender_that_lost_a_file_lends_the_others(tmp_path: Path) -> None:
    before, _ = small.run(grown(tmp_path, 2), tmp_path / "ws")
    (tmp_path / "ws" / before.dataset("even").shard_path(0)).unlink()
    plan, _ = small.run(grown(tmp_path, 3), tmp_path / "ws")
    assert not files(plan, "even")[0].startswith("../") and files(plan, "even")[1].startswith("../")
    assert len(small.rows(plan.dataset("even"))) == 30


def test_attributes_of_other_rows_are_refused(tmp_path: Path) -> None:
    pipe = grown(tmp_path, 2)
    plan, _ = small.run(pipe, tmp_path / "ws")
    score, late = (tmp_path / "ws" / plan.stages[name].folder for name in ("score", "late"))
    manifest = Manifest.from_json((score / MANIFEST).read_bytes(), "score")
    for change in ({"aligned_to": "another"}, {"shards": manifest.shards[:-1]}):
        (late / MANIFEST).unlink(missing_ok=True)
        (score / MANIFEST).write_bytes(dataclasses.replace(manifest, **change).to_json())
        result = small.execute(small.plan(pipe, tmp_path / "ws"))
        assert isinstance(result.error, DatasetError) and "score@" in result.error.message and "do not describe" in result.error.message


def test_attributes_whose_ids_differ_are_refused_row_by_row(tmp_path: Path) -> None:
    pipe = grown(tmp_path, 1)
    plan, _ = small.run(pipe, tmp_path / "ws")
    dataset = plan.dataset("score")
    path = tmp_path / "ws" / dataset.shard_path(0)
    batch = next(dataset.batches())
    small.write_shard(path, [batch.slice(1), batch.slice(0, 1)], dataset.schema)
    late = tmp_path / "ws" / plan.stages["late"].folder
    for file in late.rglob("*.json"):
        file.unlink()
    result = small.execute(small.plan(pipe, tmp_path / "ws"))
    assert isinstance(result.error, DatasetError)
    assert "attributes `score` do not describe the rows of" in result.error.message


def errors(tmp_path: Path, max_errors: int) -> Pipeline:
    rows = [{"id": f"d{i}", "text": "poison" if i in (3, 17) else "fine " * 10} for i in range(20)]
    source = tmp_path / "in/a.jsonl"
    if not source.exists():
        small.write_jsonl(source, rows)
    stage = Stage("crawl", [Step("my_ops.py:Upper", {"poison": "poison"}, name="upper")], max_errors=max_errors)
    return small.pipeline(source, {"upper": stage}, shard_bytes=source.stat().st_size // 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_holds_for_the_stage_and_for_its_reruns(tmp_path: Path, workers: int) -> None:
    for _ in range(3):  # a rerun finds both shards finished, each within the budget: their sum is not
        result = small.execute(small.plan(errors(tmp_path, 1), tmp_path / "ws"), workers)
        assert isinstance(result.error, DatasetError)
        assert (
            "stage upper: 2 rows could not be processed, 1 are allowed; the first: `d3` at step `upper`: ValueError" in result.error.message
        )
    plan, result = small.run(errors(tmp_path, 2), tmp_path / "ws", workers)
    assert result.stages["upper"].new_shards == 0, "finished shards are kept"
    assert [row["id"] for row in small.ledger(plan.dataset("upper"), "errors")] == ["d3", "d17"]


def test_a_finished_dataset_is_no_way_around_a_budget(tmp_path: Path) -> None:
    small.run(errors(tmp_path, 2), tmp_path / "ws")
    result = small.execute(small.plan(errors(tmp_path, 1), tmp_path / "ws"))
    assert isinstance(result.error, DatasetError) and "2 rows could not be processed, 1 are allowed" in result.error.message
    assert small.execute(small.plan(errors(tmp_path, 3), tmp_path / "ws")).stages["upper"].status == "reused"


def test_a_receipt_for_another_unit_is_taken_back(tmp_path: Path) -> None:
    pipe = errors(tmp_path, 2)
    plan, _ = small.run(pipe, tmp_path / "ws")
    folder = tmp_path / "ws" / plan.stages["upper"].folder
    receipt = folder / "receipts/part-00000.json"
    stale = orjson.loads(receipt.read_bytes())
    receipt.write_bytes(orjson.dumps(stale | {"unit": "of another source"}))
    (folder / MANIFEST).unlink()
    again, result = small.run(pipe, tmp_path / "ws")
    assert result.stages["upper"].new_shards == 1
    assert again.dataset("upper").manifest.shards[0].unit == stale["unit"] == orjson.loads(receipt.read_bytes())["unit"]


def test_a_filter_that_empties_a_batch_hides_no_column_type(tmp_path: Path) -> None:
    """What a Mapper would have made of a batch that has no row left is not missed."""
    source = small.write_jsonl(tmp_path / "a.jsonl", [{"id": "d1", "text": "x", "tags": ["y"]}])
    (tmp_path / "rules.py").write_text(
        "from dataclasses import dataclass\nimport pyarrow as pa\nfrom curate import Mapper\n\n@dataclass(frozen=True)\nclass Flat(Mapper):\n"
        "    def removes(self): return ('tags',)\n    def adds(self): return {'tags': pa.int64()}\n"
        "    def map(self, docs): return docs.set_column(2, 'tags', pa.array([1] * docs.num_rows, pa.int64()))\n"
    )
    pipe = small.pipeline(
        source, {"even": Stage("crawl", [Step(str(small.FOLDER / "my_ops.py") + ":Even"), Step("rules.py:Flat")])}, folder=tmp_path
    )
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert plan.dataset("even").rows == 0 and plan.dataset("even").manifest.counts.rows_dropped == 1
