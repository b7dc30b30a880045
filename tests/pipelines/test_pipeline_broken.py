"""Every mistake in a pipeline file is explained with file and line; `broken.txt` is the table of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from curate.errors import PipelineError
from curate.pipeline_validate import Built, validate
from curate.pipeline_yaml import load_pipeline, parse_pipeline
from curate.readers.base import Format

FOLDER = Path(__file__).parent
HEAD = 'name: demo\ninputs: {raw: {path: "*.jsonl"}}\n'


def read_table() -> list[tuple[str, str, str]]:
    text = (FOLDER / "broken.txt").read_text(encoding="utf-8")
    blocks = re.split(r"^=== (.*)\n", text, flags=re.MULTILINE)[1:]
    table = []
    for name, block in zip(blocks[::2], blocks[1::2], strict=True):
        pipeline, message = block.split(">>>\n")
        table.append((name, pipeline, message.strip()))
    return table


def check(text: str) -> Built:
    loaded = parse_pipeline(text, "p.yaml", FOLDER)
    return validate(loaded.pipeline, loaded.positions)


@pytest.mark.parametrize(("pipeline", "message"), [row[1:] for row in read_table()], ids=[row[0] for row in read_table()])
def test_a_mistake_is_explained(pipeline: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        check(pipeline)
    assert str(caught.value).replace(str(FOLDER), "FOLDER") == message


def test_the_table_is_large_and_without_repeats() -> None:
    names = [row[0] for row in read_table()]
    assert len(names) == len(set(names)) >= 90


def test_an_unknown_format_lists_the_known_ones() -> None:
    text = f"name: demo\ninputs:\n  raw:\n    path: x\n    format: warcs\n{stage_of('from: raw', 'apply: []')}"
    with pytest.raises(PipelineError) as caught:
        check(text)
    *first, last = (f"`{name}`" for name in get_args(Format))
    assert caught.value.message == f"p.yaml:5: `format` must be {', '.join(first)} or {last}, found the string `warcs`"
    assert caught.value.hint == "did you mean `warc`?"


def test_a_control_character_is_named() -> None:
    with pytest.raises(PipelineError, match=r"p.yaml:2: not valid YAML: the character 0x0001 is not allowed"):
        check("name: demo\ninputs: \x01\n")


def test_a_bomb_of_aliases_is_refused() -> None:
    levels = [f"a{n}: &a{n} [{', '.join(['*a' + str(n - 1)] * 9)}]" for n in range(1, 9)]
    with pytest.raises(PipelineError, match="expand to more than 100,000 values"):
        check("\n".join(["a0: &a0 [x]", *levels]))


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 3000 + "x", "a: " + "{a: " * 150 + "x" + "}" * 150])
def test_a_deep_file_is_refused(text: str) -> None:
    with pytest.raises(PipelineError, match="nested"):
        check(text)


def test_many_mistakes_are_cut_short() -> None:
    text = HEAD + "".join(f"key{n}: 1\n" for n in range(60)) + stage_of("from: raw", "apply: [x]")
    with pytest.raises(PipelineError) as caught:
        check(text)
    assert len(caught.value.message.splitlines()) == 51
    assert caught.value.message.endswith("… and 10 more mistakes")


def test_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("name: x\n")
    (tmp_path / "latin.yml").write_bytes(b"name: caf\xe9\n")
    cases = {
        "quickstrat.yaml": ("pipeline file not found: {}", "did you mean `quickstart.yaml`?"),
        "z": ("pipeline file not found: {}", "pipelines in that folder: latin.yml, quickstart.yaml"),
        "latin.yml": ("{}: not UTF-8 text at byte 9", None),
        "": ("{}: this is a folder, not a pipeline file", "pipelines in that folder: latin.yml, quickstart.yaml"),
    }
    for name, (message, hint) in cases.items():
        with pytest.raises(PipelineError) as caught:
            load_pipeline(tmp_path / name)
        assert caught.value.message == message.format(tmp_path / name)
        assert caught.value.hint == hint


def stage_of(*lines: str) -> str:
    return "stages:\n  clean:\n" + "".join(f"    {line}\n" for line in lines)
