"""The documents tell the truth: what they show runs, what they name exists, and what is generated is current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from curate.registry import packs
from tests.conftest import ROOT
from tests.docs import blocks, generate

DOCUMENTS = generate.documents()
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _with_examples() -> list[Path]:
    return [path for path in DOCUMENTS if blocks.marked(_text(path))]


@pytest.mark.parametrize("path", _with_examples(), ids=_name)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    blocks.checkout(tmp_path, ROOT)
    for block in blocks.marked(_text(path)):
        blocks.carry_out(block, tmp_path, {})


def test_a_failing_example_is_noticed(tmp_path: Path) -> None:
    [good, bad] = blocks.marked("<!-- run -->\n```python\nprint(1)\n```\n\n<!-- run -->\n```sh\ncurate check missing.yaml\n```\n")
    blocks.carry_out(good, tmp_path, {})
    with pytest.raises(AssertionError, match=r"missing\.yaml"):
        blocks.carry_out(bad, tmp_path, {})


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_command_lines_are_what_curate_understands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_SERVICE", "http://127.0.0.1:8300")  # documents say it once, and not in every line
    for words in blocks.command_lines(_text(path)):
        blocks.parse(words)


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        blocks.parse(["run", "pipeline.yaml", "--wokers", "2"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = [link for link in _LINK.findall(_without_code(_text(path))) if not _resolves(path, link)]
    assert not broken


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`(?!\])", "", text, flags=re.MULTILINE | re.DOTALL)


def _resolves(path: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    file, _, anchor = link.partition("#")
    target = (path.parent / file) if file else path
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(path: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(_text(path))}


def test_tests_that_documents_name_exist() -> None:
    named = {pair for path in DOCUMENTS for pair in re.findall(r"`(test_\w+\.py)::(test_\w+)`", _text(path))}
    assert len(named) > 20
    files = {path.name: _text(path) for path in (ROOT / "tests" / "service").glob("test_*.py")}
    assert [pair for pair in named if f"def {pair[1]}(" not in files.get(pair[0], "")] == []


def test_generated_blocks_are_current() -> None:
    done = subprocess.run([sys.executable, "tests/docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_is_documented() -> None:
    page = _text(ROOT / "curate" / "cli" / "README.md")
    missing = [" ".join(path) for path in generate.commands() if f"## curate {' '.join(path)}\n" not in page]
    assert not missing


def test_every_operator_is_documented() -> None:
    page = _text(ROOT / "operators" / "README.md") + _text(ROOT / "scorers" / "README.md")
    missing = [name for name, target in packs().items() if target.startswith("curate") and f"`{name}`" not in page]
    assert not missing


def test_every_room_has_a_readme() -> None:
    rooms = ["curate", "pipelines", "scorers", "operators", "tests", "deploy", "docker"]
    assert [room for room in rooms if not _text(ROOT / room / "README.md").startswith("# ")] == []


NEED_MODELS = {"d4.yaml", "instructions.yaml", "minipile.yaml"}
"""Recipes whose heads say how to get models; without them nothing but their folders may be missed."""


@pytest.mark.parametrize("path", PIPELINES, ids=_name)
def test_every_shipped_pipeline_checks_and_plans(path: Path, tmp_path: Path) -> None:
    for command in ("check", "plan"):
        options = ["--workspace", str(tmp_path)] if command == "plan" else []
        done = subprocess.run(
            [sys.executable, "-m", "curate", command, _name(path), *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        told = [line for line in done.stderr.splitlines() if line.partition(": ")[0] not in ("warning", "hint")]
        if path.name in NEED_MODELS:
            assert done.returncode == 2 and told and all(re.search("there is no (such )?folder", line) for line in told), (
                done.stdout + done.stderr
            )
        else:
            assert done.returncode == 0, done.stdout + done.stderr
    assert f"({path.name})" in _text(ROOT / "pipelines" / "README.md"), "pipelines/README.md lists every pipeline"
