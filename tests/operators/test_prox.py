"""ProX's operators against a server: what a model is shown, what its programs do, and what a run keeps of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from curate.cli import cli
from curate.document import TEXT_TYPE
from curate.errors import PipelineError
from curate.llm import Unanswered
from curate.testing import check_operator
from curate_operators.prox_chunk import ProxChunk, ProxPage
from curate_operators.prox_document import ProxDocument
from curate_operators.prox_edits import EDITS
from tests.llm.servers import StubProcess
from tests.operators.conftest import batch


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


PAGE = "Home | About | Contact\nThe harbour is old, and it is kept by those who have ships there.\nShare this\nIt has a wall of stone."


def say(program: str, page: str = PAGE) -> str:
    """Return a page whose last line has the server write this program; the line's number is that of the line feeds in the page."""
    return f"{page}\n[say]{program}[/say]"


def cleaned(operator: ProxChunk, *texts: str | None) -> list[dict[str, Any]]:
    docs = batch([*texts])
    found = operator.map(docs)
    assert found.schema.field(operator.into).type == EDITS and found.column("id").equals(docs.column("id"))
    return [row[operator.into] | {"text": row["text"]} for row in found.to_pylist()]


def test_documents_go_when_the_answer_says_drop(stub: StubProcess) -> None:
    texts = ["[say]drop_doc()[/say]", "[say]keep_doc()[/say]", "[say]Drop it.[/say]", "[say]hard to say[/say]", " \n", None]
    for trained in (False, True):
        found = ProxDocument(stub.settings, trained=trained).drop(batch([*texts]))
        assert found.to_pylist() == ["drop_doc", None, "drop_doc", None, None, None]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Keep: it tells of raindrops.", None),
        ("<think>Should I drop it? No.</think>keep_doc()", None),
        ("<think>Keep it?</think>\\ndrop_doc()", "drop_doc"),
        ("<think>I would drop", None),
        ('{"decision": "keep_doc", "why": "nothing to drop"}', None),
        ('{"decision": "drop_doc"}', "drop_doc"),
    ],
)
def test_the_decision_is_read_and_nothing_beside_it(stub: StubProcess, said: str, reason: str | None) -> None:
    for trained in (False, True):
        assert ProxDocument(stub.settings, trained=trained).drop(batch([f"[say]{said}[/say]"])).to_pylist() == [reason]


def test_a_program_stands_behind_the_thoughts(stub: StubProcess) -> None:
    said = "<think>\\nremove_lines(1, 1)\\n</think>\\n\\nremove_lines(0, 0)"
    [row] = cleaned(ProxChunk(stub.settings), say(said))
    assert (row["program"], row["lines"], row["errors"]) == ("remove_lines(0, 0)", [0], 0)


def test_models_are_shown_the_beginning_of_a_document_alone_or_behind_a_task(stub: StubProcess) -> None:
    long = "word " * 3000
    ProxDocument(stub.settings, trained=True).drop(batch([long]))
    ProxDocument(stub.settings).drop(batch([long]))
    trained, told = stub.asked()[-2:]
    assert trained == long[:8000].rstrip("\n")
    assert '{"decision": "drop_doc"}' in told and told.endswith(f"<document>\n{long[:8000]}\n</document>")


def test_a_model_that_is_told_what_to_do_is_left_two_decisions(stub: StubProcess, tmp_path: Path) -> None:
    """The server answers with what it was sent: it is the schema alone that names *drop_doc* there."""
    file = tmp_path / "prompts.yaml"
    bare = "{about: x, prompt: '{text}', max_input_tokens: 99, max_output_tokens: 9}"
    file.write_text(f"styles: {{document: {bare}, document_trained: {bare}}}")
    for trained in (False, True):
        found = ProxDocument(stub.settings, trained=trained, prompt_file=str(file)).drop(batch(["[request]"]))
        assert found.to_pylist() == [None if trained else "drop_doc"]


def test_a_prompt_without_an_answer_is_an_error_of_its_row(stub: StubProcess) -> None:
    for operator in (ProxDocument(stub.settings), ProxChunk(stub.settings)):
        verb = operator.drop if isinstance(operator, ProxDocument) else operator.map
        with pytest.raises(Unanswered):
            verb(batch(["a", "[fault filter 9]"]))


def test_a_program_and_its_account(stub: StubProcess) -> None:
    program = 'remove_lines(line_start=0, line_end=0)\\nnormalize("old, and it is kept", "kept")\\nremove_lines(2, 2)\\nremove_lines(4, 4)'
    [row] = cleaned(ProxChunk(stub.settings), say(program))
    assert row == {
        "text": "The harbour is kept by those who have ships there.\nIt has a wall of stone.",
        "program": program.replace("\\n", "\n"),
        "outcome": "edited",
        "lines": [0, 2, 4],
        "replaced": [{"source": "old, and it is kept", "target": "kept", "count": 2}],  # once in the line with the program itself
        "errors": 0,
        "error_messages": [],
        "words": 16,
        "kept_word_ratio": 16 / len(say(program).split()),
    }


def test_what_models_are_shown(stub: StubProcess) -> None:
    cleaned(ProxChunk(stub.settings, trained=True), PAGE)
    cleaned(ProxChunk(stub.settings), PAGE)
    trained, told = stub.asked()[-2:]
    lines = [f"[00{n}]{line}" for n, line in enumerate(PAGE.split("\n"))]
    assert trained == "\n".join(["[doc]", *lines, "[/doc]"])
    assert told.endswith(f"\n\n{trained}") and "remove_lines(line_start=3, line_end=5)" in told


@pytest.mark.parametrize("release", [False, True])
def test_too_many_errors_leave_a_document_as_it_was(stub: StubProcess, release: bool) -> None:
    texts = [say("remove_lines(0, 0)\\nremove_lines(line_start=9, line_end=9)"), say("keep_chunk()"), say("[0] Home is a menu.")]
    texts.append(
        say("remove_lines(line_start=0, line_end=0)\\nremove_lines(line_start=8, line_end=8)\\nremove_lines(line_start=, line_end=)")
    )
    rows = cleaned(ProxChunk(stub.settings, trained=True, release=release, max_program_errors=1), *texts)
    assert [row["outcome"] for row in rows] == ["refused" if release else "edited", "untouched", "untouched", "refused"]
    assert [row["errors"] for row in rows] == ([2, 0, 0, 2] if release else [1, 0, 1, 2])
    assert [row["text"] for row in rows[1:]] == texts[1:]
    assert rows[3]["kept_word_ratio"] == 1 and rows[3]["lines"] == []
    words = len(texts[3].split())
    assert rows[3]["words"] == (words - 5 if release else words)
    assert all(len(row["error_messages"]) == row["errors"] for row in rows)


def test_a_program_is_bound_to_the_lines_of_its_window(stub: StubProcess) -> None:
    lines = [f"Line {n} of a page that is long enough to be shown in more than one window of it." for n in range(300)]
    lines[290] = "[say]remove_lines(0, 1)\\nremove_lines(289, 290)[/say]"
    [row] = cleaned(ProxChunk(stub.settings, trained=True, max_program_errors=500), "\n".join(lines))
    assert row["lines"] == [289, 290] and "there are no lines 0 to 1" in row["error_messages"][-1]
    assert row["text"].split("\n") == lines[:289] + lines[291:]
    [row] = cleaned(ProxChunk(stub.settings, trained=True, max_program_errors=500, release=True), "\n".join(lines))
    assert row["lines"] == []  # the release knows no arguments without names


def test_documents_that_no_program_is_written_for(stub: StubProcess) -> None:
    before = len(stub.asked())
    long = "word " * 3000
    rows = cleaned(ProxChunk(stub.settings), "", None, " \n ", long)
    assert len(stub.asked()) == before
    assert [row["outcome"] for row in rows] == ["unseen"] * 4
    assert [row["text"] for row in rows] == ["", None, " \n ", long]
    assert [row["kept_word_ratio"] for row in rows] == [None, None, None, 1]
    assert cleaned(ProxChunk(stub.settings, release=True), long)[0]["outcome"] != "unseen"


@pytest.mark.parametrize(
    ("words", "ratio", "reason"),
    [
        (11, 1.0, None),
        (10, 1.0, ("too_few_words", 10)),
        (500, 0.05, None),
        (500, 0.049, ("too_little_kept", 0.049)),
        (3, 0.01, ("too_little_kept", 0.01)),
        (0, None, ("too_few_words", 0)),
        (None, None, None),
    ],
)
def test_pages_that_little_is_left_of(words: int | None, ratio: float | None, reason: tuple[str, float] | None) -> None:
    column = pa.array([{"words": words, "kept_word_ratio": ratio}], EDITS)
    docs = batch(["x"], prox=column)
    row = ProxPage().drop(docs)[0].as_py()
    assert (row and (row["reason"], row["value"])) == reason
    assert ProxPage(min_words=None, min_kept_word_ratio=None).drop(docs)[0].as_py() is None


def test_the_battery(stub: StubProcess) -> None:
    texts = [
        say("remove_lines(0, 0)"),
        say("[000]"),
        PAGE,
        "",
        "a\r\nb\u2028c",
        "x" * 9000,
        "\U0001f600\ufeff\x00 [say]normalize('x')[/say]",
    ]
    docs = pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, TEXT_TYPE)})
    for trained in (False, True):
        check_operator(ProxDocument(stub.settings, trained), docs)
        check_operator(ProxChunk(stub.settings, trained, release=trained), docs)


def test_wrong_parameters_are_told(tmp_path: Path) -> None:
    llm = {"model": "m", "endpoint": "http://127.0.0.1:1/v1"}
    for params, message in (({"max_program_errors": -1}, "less than 0"), ({"into": "text"}, "no name"), ({"into": "a.b"}, "no name")):
        with pytest.raises(PipelineError, match=message):
            ProxChunk(llm, **params)  # type: ignore[arg-type]
    file = tmp_path / "prompts.yaml"
    file.write_text("styles: {chunk: {about: x, prompt: '{text}', max_input_tokens: 9, max_output_tokens: 9}}")
    ProxChunk(llm, prompt_file=str(file)).verify_file("prompt_file", file)
    with pytest.raises(PipelineError, match="there is no style `document`"):
        ProxDocument(llm, prompt_file=str(file)).verify_file("prompt_file", file)


PIPELINE = """
name: clean
inputs: {pages: {path: pages.jsonl}}
stages:
  refined:
    from: pages
    trace: documents
    operators:
      - {use: prox_document, params: {llm: &llm {model: stub, endpoint: "URL"}, trained: true}}
      - {use: prox_chunk, params: {llm: *llm, trained: true}}
  corpus: {from: refined, operators: [use: prox_page]}
outputs: {corpus: {path: out, format: jsonl}}
"""
GOOD = """\
refined      edited    by prox_chunk: 207 characters became 100
    - Home | About | Contact
    - The harbour is old, and it is kept by those who have ships there.
    + The harbour is old, and it is kept by those who have boats there.
    - [say]remove_lines(0, 0)\\nnormalize("ships", "boats")\\nremove_lines(4, 4)\\nx()[/say]
refined      kept      source=pages, characters=100 (shard 0)
    prox.outcome             edited
    prox.program             remove_lines(0, 0)
                             normalize("ships", "boats")
                             remove_lines(4, 4)
                             x()
    prox.lines               0, 4
    prox.replaced            source='ships', target='boats', count=2
    prox.errors              1
    prox.error_messages      no such function: x()
    prox.words               22
    prox.kept_word_ratio     0.7096774193548387
corpus       kept      source=pages, characters=100 (shard 0)
"""


def test_a_run_and_what_explain_tells_of_it(stub: StubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = 'remove_lines(0, 0)\\nnormalize("ships", "boats")\\nremove_lines(4, 4)\\nx()'
    pages = {"bad": "[say]drop_doc()[/say]", "good": say(program), "menu": say("remove_lines(0, 4)")}
    Path("pages.jsonl").write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in pages.items()))
    Path("clean.yaml").write_text(PIPELINE.replace("URL", stub.url))
    runner = CliRunner()
    done = runner.invoke(cli, ["run", "clean.yaml", "--workspace", "work"])
    assert done.exit_code == 0, done.output
    told = {key: runner.invoke(cli, ["explain", "last", key, "--workspace", "work"]).output for key in pages}
    assert "drop_doc" in told["bad"]
    assert told["good"] == GOOD
    assert "- Home | About | Contact" in told["menu"] and "too_little_kept" in told["menu"]
    lines = runner.invoke(cli, ["explain", "last", "good", "--workspace", "work", "--json"]).stdout
    assert "remove_lines(4, 4)" in lines and '"lines":[0,4]' in lines
