"""What a submitted pipeline may name: nothing outside of allowed packs and prefixes, in whatever disguise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curate.errors import PipelineError
from curate.service.allowed import Places
from curate.service.pipelines import Checker
from curate.service.settings import ServiceSettings
from tests.service.conftest import small_pipeline


@pytest.fixture
def checker(data: Path) -> Checker:
    (data.parent / "secret").mkdir()
    (data.parent / "secret" / "in.jsonl").write_text('{"id": "1", "text": "secret"}\n')
    return Checker(
        ServiceSettings(folder=data, workspace=str(data / "workspace"), allow=(str(data), "s3://bucket/corpora", "https://host/crawls"))
    )


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret/in.jsonl",
        "in/../../secret/*.jsonl",
        "*/../../secret/in.jsonl",
        "~/in.jsonl",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "s3://bucket/other/in.jsonl",
        "s3://bucket/corpora/../other/in.jsonl",
        "s3://bucket/corpora/%2e%2e/other/in.jsonl",
        "s3://bucket/corpora-of-others/in.jsonl",
        "https://host@169.254.169.254/crawls/in.jsonl",
        "https://host.evil/crawls/in.jsonl",
        "http://169.254.169.254/latest/meta-data",
        "gs://bucket/corpora/in.jsonl",
        "S3://bucket/corpora/in.jsonl",
        "in\0.jsonl",
    ],
)
def test_places_outside_are_refused(checker: Checker, data: Path, path: str) -> None:
    with pytest.raises(PipelineError, match="outside of what|not a plain|NUL|not allowed"):
        checker.places.check(path, data)


@pytest.mark.parametrize(
    "path", ["in.jsonl", "./a/../in.jsonl", "*.jsonl", "{dump}/*.jsonl", "s3://bucket/corpora/a/*.parquet", "https://host/crawls/a.warc"]
)
def test_places_inside_are_not(checker: Checker, data: Path, path: str) -> None:
    checker.places.check(path, data)


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="outside of what"):
        Places([str(tmp_path / "data")]).check(str(tmp_path / "data-of-others" / "in.jsonl"))


def test_links_are_followed(checker: Checker, data: Path) -> None:
    secret = data.parent / "secret"
    (data / "file.jsonl").symlink_to(secret / "in.jsonl")
    (data / "within.jsonl").symlink_to(data / "in.jsonl")
    (data / "folder").mkdir()
    (data / "folder" / "below").symlink_to(secret)
    checker.places.check("within.jsonl", data)
    for path in ("file.jsonl", "folder", "folder/below/in.jsonl", "folder/*/in.jsonl", "folder/below/../in.jsonl", "*.jsonl"):
        with pytest.raises(PipelineError, match="outside of what|leads out"):
            checker.places.check(path, data)


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        (3, "in.jsonl", "../secret/in.jsonl"),
        (11, "/out/small", "/../out"),
        (3, "path: {data}/in.jsonl", "artifact: ../secret"),
    ],
)
def test_every_place_of_a_pipeline_is_looked_at(checker: Checker, data: Path, line: int, before: str, after: str) -> None:
    text = small_pipeline(data).replace(before.replace("{data}", str(data)), after)
    [found] = checker.check(text, data).mistakes
    assert found.line == line and "outside of what this service may use" in found.message


def test_overrides_are_looked_at_as_well(checker: Checker, data: Path) -> None:
    [found] = checker.check(small_pipeline(data), data, ["inputs.rows.path=/etc/passwd"]).mistakes
    assert found.message == "--set inputs.rows.path=/etc/passwd: outside of what this service may use: /etc/passwd"


def test_files_and_addresses_of_operators_are_looked_at(checker: Checker, data: Path) -> None:
    (data.parent / "secret" / "words.txt").write_text("a\n")
    step = "use: length\n        params: { min_chars: 100 }"
    for other in (
        "use: url_blocklist\n        params: { domains: ../secret/words.txt }",
        "use: llm_judge\n        params: { llm: { model: m, endpoint: 'http://169.254.169.254/v1' } }",
    ):
        checked = checker.check(small_pipeline(data).replace(step, other), data)
        assert [(m.line, m.message.partition(":")[0]) for m in checked.mistakes] == [(9, "outside of what this service may use")], checked


def test_code_from_outside_the_packs_is_never_imported(checker: Checker, data: Path) -> None:
    (data / "mine.py").write_text("raise SystemExit('imported')\n")
    for use in ("mine.py:Mine", "antigravity:Anything", "curate_operators.length:Length", "os:system"):
        [found] = checker.check(small_pipeline(data).replace("use: length", f"use: {use}"), data).mistakes
        assert found.message == f"`{use}` is code from outside the packs of this service"
        assert found.line == 8
    assert "antigravity" not in sys.modules


def test_packs_can_be_named(data: Path) -> None:
    checker = Checker(ServiceSettings(folder=data, allow=(str(data),), packs=("curate_scorers",)))
    [found] = checker.check(small_pipeline(data), data).mistakes
    assert found.message == "`length` belongs to the pack `curate_operators`, which this service does not run"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("bcdefgh", "cdefghi", strict=True)),
        "a: &a [*a]",
        "[" * 5000,
        "name: small\n" + "# comment\n" * 500_000,
        "!!python/object/apply:os.system ['true']",
        "",
        "\0",
    ],
    ids=["billion laughs", "inside itself", "deep", "large", "tag", "empty", "nul"],
)
def test_hostile_yaml_is_a_mistake_and_soon_told(checker: Checker, data: Path, text: str) -> None:
    [*found] = checker.check(text, data).mistakes
    assert found
