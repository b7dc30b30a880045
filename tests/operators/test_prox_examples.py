"""From labels to examples: what a large model's programs come to, which of them go, and that a refiner learns what it will be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.testing import check_operator
from curate_operators.prox_annotate import AnnotationGuard, ProxAnnotate
from curate_operators.prox_chunk import ProxChunk
from curate_operators.prox_edits import EDITS, merged_programs
from curate_operators.prox_examples import ProxExamples
from curate_operators.prox_execute import execute
from curate_operators.prox_program import Call, RemoveLines, Replace, read_program, write_program
from curate_operators.prox_windows import windows
from tests.llm.servers import StubProcess
from tests.operators.conftest import batch

PAGE = "Home | About | Contact\nThe harbour is old, and it is kept by those who have ships there.\nShare this\nIt has a wall of stone."
SMALL = """
styles:
  chunk_trained: {about: short lines, prompt: "[doc]\\n{text}\\n[/doc]", max_input_tokens: 30, max_output_tokens: 9, max_line_chars: 20}
"""


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Prompts with windows of few lines, of which the beginnings are shown."""
    (tmp_path / "prompts.yaml").write_text(SMALL)
    return str(tmp_path / "prompts.yaml")


def annotated(stub: StubProcess, *texts: str | None, **params: Any) -> list[Any]:
    found = ProxAnnotate(stub.settings, **params).score(batch([*texts]))
    assert found.type == EDITS
    return list(found.to_pylist())


def examples(text: str | None, program: str | None, **params: Any) -> list[dict[str, Any]]:
    docs = batch([text], program=pa.array([program], pa.large_string()))
    return list(ProxExamples("program", **params).expand(docs).to_pylist())


def test_three_intents_are_asked_for_and_their_programs_joined(stub: StubProcess) -> None:
    before = len(stub.asked())
    said = 'remove_lines(0, 0)\\nnormalize("old, and it is ")\\nremove_lines(004, 004)'
    [row] = annotated(stub, f"{PAGE}\n[say]{said}[/say]")
    asked = stub.asked()[before:]
    assert len(asked) == 3 and len({prompt.partition("[doc]")[0] for prompt in asked}) == 3
    assert all("navigation" in prompt or "addresses" in prompt or "copyright" in prompt for prompt in asked)
    assert row["program"].split("\n") == [
        'normalize(source_str="old, and it is ", target_str="")',
        "remove_lines(line_start=000, line_end=000)",
        "remove_lines(line_start=004, line_end=004)",
    ]
    assert (row["outcome"], row["lines"], row["errors"]) == ("edited", [0, 4], 0)


def test_answers_that_are_no_programs_are_counted_and_a_blank_page_has_none(stub: StubProcess) -> None:
    chatty, blank, missing, kept = annotated(
        stub, f"{PAGE}\n[say]Sure! Here it is.[/say]", " \n", None, "all good\n[say]keep_chunk()[/say]"
    )
    assert chatty["errors"] == 3 and chatty["program"] == "keep_chunk()" and "no call" in chatty["error_messages"][0]
    assert blank is None and missing is None
    assert (kept["outcome"], kept["errors"], kept["kept_word_ratio"]) == ("untouched", 0, 1.0)


def test_one_intent_alone(stub: StubProcess) -> None:
    before = len(stub.asked())
    annotated(stub, PAGE, intents=("footer",))
    assert len(stub.asked()) == before + 1 and "copyright" in stub.asked()[-1]
    with pytest.raises(PipelineError, match="no intent `foter`") as told:
        ProxAnnotate(stub.settings, intents=("foter",))
    assert told.value.hint == "did you mean `footer`?"


def test_the_guard_gives_its_reasons() -> None:
    rows = [
        {"outcome": "edited", "errors": 0, "kept_word_ratio": 0.5},
        {"outcome": "edited", "errors": 2, "kept_word_ratio": 0.5},
        {"outcome": "edited", "errors": 0, "kept_word_ratio": 0.01},
        {"outcome": "unseen", "errors": 0, "kept_word_ratio": 1.0},
        None,
    ]
    found = AnnotationGuard().drop(batch(["x"] * 5, annotation=pa.array(rows, EDITS))).to_pylist()
    assert [row and row["reason"] for row in found] == [None, "program_errors", "too_little_kept", "unseen", "unseen"]
    assert found[1]["value"] == 2 and found[2]["value"] == 0.01


def test_what_is_learnt_is_what_will_be_asked(stub: StubProcess, small: str) -> None:
    text = "\n".join(f"line {n} of a page that goes on and on" for n in range(12))
    made = examples(text, "remove_lines(3, 8)", prompt_file=small)
    before = len(stub.asked())
    ProxChunk(stub.settings, trained=True, prompt_file=small, max_program_errors=99).map(batch([text]))
    assert sorted(stub.asked()[before:]) == sorted(row["prompt"] for row in made) and len(made) > 2
    assert "[003]line 3 of a page tha…\n" in made[0]["prompt"] + made[1]["prompt"]
    assert all(row["parent_id"] == "0" and row["text"] == f"{row['prompt']}\n{row['answer']}" for row in made)


def test_a_window_is_answered_by_its_part_of_the_program(small: str) -> None:
    text = "\n".join(f"line {n} of a page" for n in range(9))
    program = 'remove_lines(line_start=002, line_end=006)\nnormalize(source_str="7 of", target_str="")'
    answers = [row["answer"] for row in examples(text, program, prompt_file=small)]
    lines = [int(number) for answer in answers for call in answer.split("\n") if "remove" in call for number in _numbers(call)]
    assert lines[0] == 2 and lines[-1] == 6 and len(answers) > 1
    assert [answer for answer in answers if "normalize" in answer] == [answers[-1]]


def _numbers(call: str) -> Iterator[int]:
    (found,) = read_program(call).calls
    assert isinstance(found, RemoveLines)
    yield from (found.start, found.end)


@pytest.mark.parametrize("program", [None, "remove_lines(1)", "Sure!\nremove_lines(0, 0)"])
def test_a_document_without_a_whole_program_teaches_nothing(program: str | None) -> None:
    assert examples(PAGE, program) == []
    assert examples(" ", "keep_chunk()") == [] and examples(None, "keep_chunk()") == []


def test_nothing_to_do_is_learnt_too() -> None:
    [row] = examples(PAGE, "keep_chunk()")
    assert row["answer"] == "keep_chunk()"


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30), min_size=1, max_size=40)
CALLS = st.lists(
    st.one_of(
        st.builds(lambda a, b: RemoveLines(min(a, b), max(a, b)), st.integers(0, 39), st.integers(0, 39)),
        st.builds(Replace, st.text(max_size=3), st.text(max_size=3)),
    ),
    max_size=6,
)


@given(calls=CALLS)
def test_a_written_program_is_read_as_the_same_calls(calls: list[Call]) -> None:
    assert read_program(write_program(calls)) == read_program("").__class__(tuple(calls))


@given(lines=LINES, ranges=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=5))
def test_the_answers_of_all_windows_come_to_the_program(lines: list[str], ranges: list[tuple[int, int]]) -> None:
    text, last = "\n".join(lines), len(lines) - 1
    calls = [RemoveLines(min(a, b), min(max(a, b), last)) for a, b in ranges if min(a, b) <= last]
    made = examples(text, write_program(calls))
    shown = windows(text, lambda texts: [len(each) // 4 + 1 for each in texts], 10**9)
    if text.strip():
        done = execute(text, merged_programs([row["answer"] for row in made], shown[: len(made)]))
        assert done.text == execute(text, read_program(write_program(calls))).text and done.errors == ()


def test_the_battery(stub: StubProcess) -> None:
    check_operator(ProxAnnotate(stub.settings))
