"""Identity is what a dataset is made of: every change of that is seen, downstream only; nothing else is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.errors import PipelineError
from curate.executors.base import Resources
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.plan import FILE_CACHE
from curate.storage import LocalStorage
from curate.units import shard_tasks
from curate_operators.language import SHIPPED_MODEL
from tests.engine import small

STAGES = ("first", "second", "mark", "third")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return small.write_jsonl(tmp_path / "in/a.jsonl", small.documents(20))


def pipeline(source: Path, rules: Path | None = None) -> Pipeline:
    use = str(rules) if rules else "my_ops.py"
    return small.pipeline(
        source,
        {
            "first": Stage("crawl", [Step("length", {"min_chars": 2})]),
            "second": Stage(
                "first", [Step(f"{use}:Short", {"min_chars": 1}, name="short"), Step(f"{use}:Length", into="size", name="length")]
            ),
            "mark": Stage("second", use="exact_dedup"),
            "third": Stage(["second", "mark"], apply=["mark"]),
        },
    )


def identities(pipe: Pipeline, workspace: Path) -> dict[str, tuple[str, str]]:
    plan = small.plan(pipe, workspace)
    return {name: (planned.fingerprint, planned.chain) for name, planned in plan.stages.items()}


def changed(pipe: Pipeline, name: str, **change: Any) -> Pipeline:
    return dataclasses.replace(pipe, stages={**pipe.stages, name: dataclasses.replace(pipe.stages[name], **change)})


@pytest.mark.parametrize(
    "change",
    [
        lambda pipe: changed(pipe, "second", resources=Resources(cpus=4, memory=1 << 30)),
        lambda pipe: changed(pipe, "second", max_errors=9),
        lambda pipe: changed(pipe, "first", timeout_s=9.0),
        lambda pipe: dataclasses.replace(pipe, report_by=["id"]),
        lambda pipe: dataclasses.replace(pipe, name="another"),
        lambda pipe: changed(pipe, "first", operators=[Step("length", {"min_chars": 2, "max_chars": None})]),  # a default, said aloud
    ],
    ids=["resources", "max_errors", "timeout", "report_by", "name", "default"],
)
def test_how_it_is_done_is_no_identity(source: Path, tmp_path: Path, change: Callable[[Pipeline], Pipeline]) -> None:
    pipe = pipeline(source)
    assert identities(change(pipe), tmp_path / "b") == identities(pipe, tmp_path / "a")


def test_a_file_that_was_touched_or_moved_with_its_folder_is_the_same(source: Path, tmp_path: Path) -> None:
    before = identities(pipeline(source), tmp_path / "ws")
    os.utime(source, (1, 1))
    assert identities(pipeline(source), tmp_path / "ws") == before
    (tmp_path / "moved").mkdir()
    moved = source.rename(tmp_path / "moved" / source.name)
    assert identities(pipeline(moved), tmp_path / "ws") == before


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (lambda pipe: changed(pipe, "first", operators=[Step("length", {"min_chars": 3})]), STAGES),
        (lambda pipe: changed(pipe, "first", trace="documents"), STAGES),
        (lambda pipe: changed(pipe, "second", operators=pipe.stages["second"].operators[::-1]), STAGES[1:]),
        (lambda pipe: changed(pipe, "mark", params={"compare": "exact"}), STAGES[2:]),
        (lambda pipe: changed(pipe, "third", operators=[Step("length")]), STAGES[3:]),
        (lambda pipe: dataclasses.replace(pipe, shard_bytes=7), STAGES),
        (lambda pipe: dataclasses.replace(pipe, inputs={"crawl": dataclasses.replace(pipe.inputs["crawl"], max_record_bytes=99)}), STAGES),
        (lambda pipe: dataclasses.replace(pipe, inputs={"crawl": dataclasses.replace(pipe.inputs["crawl"], limit=9)}), STAGES),
    ],
    ids=["parameter", "trace", "order", "dataset operator", "last", "shard_bytes", "reader", "limit"],
)
def test_what_is_done_is_identity_downstream(
    source: Path, tmp_path: Path, change: Callable[[Pipeline], Pipeline], touched: tuple[str, ...]
) -> None:
    before, after = identities(pipeline(source), tmp_path / "a"), identities(change(pipeline(source)), tmp_path / "a")
    assert tuple(name for name in STAGES if before[name][0] != after[name][0]) == touched


def test_input_content_is_identity_even_when_size_and_time_are_the_same(source: Path, tmp_path: Path) -> None:
    pipe = pipeline(source)
    before = identities(pipe, tmp_path / "ws")
    stat = source.stat()
    source.write_bytes(source.read_bytes().replace(b"word1-1", b"word1-X"))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    LocalStorage(tmp_path / "ws").delete(FILE_CACHE)  # the cache believes size and time
    after = identities(pipe, tmp_path / "ws")
    assert all(before[name][0] != after[name][0] and before[name][1] == after[name][1] for name in STAGES), "the chain stays"


def test_the_user_s_code_is_identity_and_its_version_too(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text((small.FOLDER / "my_ops.py").read_text())
    before = identities(pipeline(source, rules), tmp_path / "ws")
    rules.write_text(rules.read_text() + "\n# another comment\n")
    after = identities(pipeline(source, rules), tmp_path / "ws")
    assert [name for name in STAGES if before[name] != after[name]] == list(STAGES[1:])
    from curate_operators.length import Length

    monkeypatch.setattr(Length, "version", Length.version + 1)
    bumped = identities(pipeline(source, rules), tmp_path / "ws")
    assert all(bumped[name][0] != after[name][0] for name in STAGES)


def test_a_file_in_a_parameter_counts_by_its_content(source: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("a")
    pipe = small.pipeline(source, {"first": Stage("crawl", [Step("my_ops.py:Short", {"poison": "words.txt"})])}, folder=tmp_path)
    (tmp_path / "my_ops.py").write_text((small.FOLDER / "my_ops.py").read_text())
    before = identities(pipe, tmp_path / "ws")
    os.utime(words, (1, 1))
    assert identities(pipe, tmp_path / "ws") == before
    words.write_text("b")
    assert identities(pipe, tmp_path / "ws") != before


def test_a_file_counts_whatever_its_name_where_the_operator_says_that_it_is_one(source: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(SHIPPED_MODEL.read_bytes())
    pipe = small.pipeline(source, {"first": Stage("crawl", [Step("language", {"model": "model"}, into="lang")])}, folder=tmp_path)
    before = identities(pipe, tmp_path / "ws")
    model.write_bytes(SHIPPED_MODEL.read_bytes().replace(b"__label__en\0", b"__label__english\0"))
    assert identities(pipe, tmp_path / "ws") != before
    model.unlink()
    with pytest.raises(PipelineError, match=r"stage first, step 1 \(language\): `model`: there is no file model"):
        identities(pipe, tmp_path / "ws")


def test_units_have_identities_of_their_own(tmp_path: Path) -> None:
    for number in range(4):
        small.write_jsonl(tmp_path / f"in/{number}.jsonl", small.documents(10, start=number * 10))
    pipe = dataclasses.replace(pipeline(tmp_path / "in"), inputs={"crawl": Input(str(tmp_path / "in"))}, shard_bytes=1)

    def units() -> list[str]:
        plan = small.plan(pipe, tmp_path / "ws")
        return [task.unit for task in shard_tasks(plan, plan.stages["first"], 1)]

    before = units()
    assert len(set(before)) == len(before)
    path = tmp_path / "in/2.jsonl"
    path.write_bytes(path.read_bytes().replace(b"word", b"WORD"))
    after = units()
    assert len(after) == len(before) and {a == b for a, b in zip(before, after, strict=True)} == {True, False}


def test_a_folder_that_a_parameter_names_is_its_files(source: Path, tmp_path: Path) -> None:
    def identity(lists: Path) -> str:
        pipe = small.pipeline(
            source, {"first": Stage("crawl", [Step("url_blocklist", {"domains": "lists/ut1", "by": "text"})])}, folder=lists
        )
        return small.plan(pipe, tmp_path / "ws").stages["first"].fingerprint

    for name in ("one", "two"):
        (tmp_path / name / "lists/ut1/adult").mkdir(parents=True)
        (tmp_path / name / "lists/ut1/adult/domains").write_text("bad.example")
    assert identity(tmp_path / "one") == (first := identity(tmp_path / "two"))
    (tmp_path / "two/lists/ut1/adult/domains").write_text("worse.example")
    assert identity(tmp_path / "two") != first


def test_a_long_condition_is_no_file_name(source: Path, tmp_path: Path) -> None:
    keep = " or ".join(f"length(text) > {n}.5" for n in range(100))
    pipe = small.pipeline(source, {"first": Stage("crawl", [Step("where", {"keep": keep})])})
    assert small.plan(pipe, tmp_path / "ws").stages["first"].fingerprint
