"""`rewrite` against a server: what becomes of documents, their ids and columns; and a run with its guard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import curate
from curate.cli import cli
from curate.document import TEXT_TYPE
from curate.llm import Unanswered
from curate.testing import check_operator
from curate_operators.rewrite import Rewrite
from tests.llm.servers import StubProcess
from tests.operators.conftest import batch

PAIRS = "[say]Question: Is it old?\\nAnswer: Yes.\\n\\nQuestion: Of what is it?\\nAnswer: Of stone.[/say]"
PLAIN = """styles:
  plain: {about: as it is, prompt: "{text}", max_input_tokens: 40, max_output_tokens: 60}
  long: {about: as it is, prompt: "{text}", max_input_tokens: 40, max_output_tokens: 60, min_document_tokens: 30, faithful: false}
  behind: {about: as it is, prompt: "{text}", max_input_tokens: 40, max_output_tokens: 60, min_output_tokens: 4, append: true}
"""


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    path.write_text(PLAIN)
    return str(path)


def made(operator: Rewrite, *texts: str | None, **columns: pa.Array) -> list[tuple[str, str, str | None, str | None, str | None]]:
    rows = operator.expand(batch([*texts], **columns)).to_pylist()
    return [(row["parent_id"], row["rewrite"]["style"], row["rewrite"]["problem"], row["text"], row["source_text"]) for row in rows]


def test_originals_and_what_is_made_of_them(stub: StubProcess, prompts: str) -> None:
    operator = Rewrite(stub.settings, prompt_file=prompts, styles={"plain": {}})
    assert made(operator, "One text.", "Two\n[say]Said.[/say]", "", None) == [
        ("0", "original", None, "One text.", None),
        ("0", "plain", None, "ONE TEXT.", "One text."),
        ("1", "original", None, "Two\n[say]Said.[/say]", None),
        ("1", "plain", None, "Said.", "Two\n[say]Said.[/say]"),
        ("2", "original", None, "", None),
        ("3", "original", None, None, None),
    ]


@pytest.mark.parametrize(("originals", "rows"), [("keep", "opo"), ("drop", "p"), ("others", "po")])
def test_which_originals_stay(stub: StubProcess, prompts: str, originals: Any, rows: str) -> None:
    operator = Rewrite(stub.settings, prompt_file=prompts, styles={"plain": {"min_score": 1}}, score="q", originals=originals)
    found = made(operator, "a", "b", q=pa.array([1, 0]))
    assert "".join(style[0] for _, style, *_ in found) == rows


def test_a_page_whose_questions_are_of_no_use_stays(stub: StubProcess, prompts: str) -> None:
    """`behind` would hold the page: what other styles make of it does not stand in for it."""
    operator = Rewrite(stub.settings, prompt_file=prompts, styles={"plain": {}, "behind": {}}, originals="others")
    assert [(style, problem) for _, style, problem, *_ in made(operator, "Short text.", "A text that is long enough.")] == [
        ("original", None),
        ("plain", None),
        ("behind", "too_few_tokens"),
        ("plain", None),
        ("behind", None),
    ]


def test_styles_have_their_own_lengths_and_shapes(stub: StubProcess, prompts: str) -> None:
    operator = Rewrite(stub.settings, prompt_file=prompts, originals="drop")
    short, long = "Short text.", "Line that is long enough.\n" * 8
    rows = operator.expand(batch([short, long])).to_pylist()
    assert [(row["parent_id"], row["rewrite"]["style"]) for row in rows] == [
        ("0", "plain"),
        ("0", "behind"),
        ("1", "plain"),
        ("1", "long"),
        ("1", "behind"),
    ]
    assert rows[1]["rewrite"]["problem"] == "too_few_tokens" and rows[1]["text"] == ""
    assert [row["rewrite"]["segments"] for row in rows] == [1, 1, 2, 2, 2]
    four = " ".join(["LINE THAT IS LONG ENOUGH."] * 4)
    assert rows[2]["text"] == f"{four}\n{four}"
    assert rows[4]["text"] == f"{long}\n\n{rows[2]['text']}"
    assert [row["rewrite"]["faithful"] for row in rows] == [True, True, True, False, True]


def test_answers_that_are_of_no_use_leave_an_empty_text_and_say_why(stub: StubProcess) -> None:
    operator = Rewrite(
        stub.settings, prompt_set="nemotron_cc", styles={"wikipedia": {}, "diverse_qa": {}, "knowledge_list": {}}, originals="drop"
    )
    text = "The harbour is old, and it is kept by those who have ships there. " * 3
    found = made(operator, text + PAIRS)
    assert [(style, problem) for _, style, problem, *_ in found] == [
        ("wikipedia", "no_lead_in"),
        ("diverse_qa", "too_few_tokens"),
        ("knowledge_list", "no_list"),
    ]
    assert {text for *_, text, _ in found} == {""}


def test_questions_are_drawn_and_put_behind_the_document(stub: StubProcess) -> None:
    pairs = [
        f"Question: What is the number of the berth that lies behind stone {n}?\\nAnswer: It is berth number {n * 7}, as all know."
        for n in range(12)
    ]
    text = "The harbour is old, and it is kept by those who have ships there. " * 3
    said = "\\n\\n".join(pairs)
    source = f"{text}\n[say]{said}[/say]"
    operator = Rewrite(stub.settings, prompt_set="nemotron_cc", styles={"diverse_qa": {}}, originals="drop")
    drawn = []
    for n in range(40):
        [(_, _, problem, made_text, _)] = made(
            Rewrite(stub.settings, prompt_set="nemotron_cc", styles={"diverse_qa": {}}, originals="drop", seed=n), source
        )
        assert made_text is not None and (problem == "too_few_tokens" or made_text.startswith(f"{source}\n\nQuestion: "))
        drawn.append(tuple(made_text.removeprefix(source).split("\n\n")[1:]))
    kept = [each for each in drawn if each]
    assert len({len(each) for each in kept}) > 1 and len({each[0] for each in kept}) > 1
    assert all(set(each) <= {pair.replace("\\n", "\n") for pair in pairs} for each in kept)
    assert made(operator, source) == made(operator, source)


def test_an_answer_that_is_cut_goes_and_the_others_stay(stub: StubProcess, tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text('styles: {plain: {about: x, prompt: "{text}", max_input_tokens: 12, max_output_tokens: 5}}')
    operator = Rewrite(stub.settings, prompt_file=str(file), originals="drop")
    [row] = operator.expand(batch(["one two three.\none two three four five six seven.\none two."])).to_pylist()
    assert (row["text"], row["rewrite"]["segments"], row["rewrite"]["lost"], row["rewrite"]["problem"]) == (
        "ONE TWO THREE.\nONE TWO.",
        3,
        1,
        None,
    )
    assert row["rewrite"]["lost_ratio"] == pytest.approx(
        len("onetwothreefourfivesixseven.") / len("onetwothree.onetwothreefourfivesixseven.onetwo.")
    )
    [row] = operator.expand(batch(["one two three four five six seven."])).to_pylist()
    assert (row["text"], row["rewrite"]["problem"], row["rewrite"]["lost_ratio"]) == ("", "truncated", 1)


def test_a_prompt_without_an_answer_is_an_error_of_its_row(stub: StubProcess, prompts: str) -> None:
    with pytest.raises(Unanswered):
        Rewrite(stub.settings, prompt_file=prompts).expand(batch(["a", "[fault filter 9]"]))


def test_the_battery(stub: StubProcess, prompts: str) -> None:
    texts = ["a b", "", "[say]x[/say]", "one. two. " * 40, "\U0001f600\ufeff\x00", "a\r\nb\u2028c", "y" * 900, "港は町の人々が作った。" * 9]
    columns = {"id": [str(n) for n in range(8)], "text": pa.array(texts, TEXT_TYPE), "q": pa.array([None, 1, 2, 3, 4, 5, 6, 7], pa.int8())}
    for params in (
        {"choose": "one"},
        {"styles": {"plain": {"min_score": 3}, "behind": {"ratio": 0.5}}, "score": "q", "originals": "others"},
    ):
        check_operator(Rewrite(stub.settings, prompt_file=prompts, **params), pa.record_batch(columns))  # type: ignore[arg-type]


PIPELINE = """
name: rewritten
report_by: [rewrite.style]
inputs: {pages: {path: pages.jsonl}}
stages:
  rewritten:
    from: pages
    operators:
      - use: rewrite
        params:
          llm: {model: stub, endpoint: "URL"}
          prompt_set: wrap
          styles: {medium: {ratio: 0.5}, qa: {}}
  corpus: {from: rewritten, operators: [use: rewrite_guard]}
outputs: {corpus: {path: out, format: parquet}}
"""


def test_a_run_with_its_guard(stub: StubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "The harbour is old, and it is kept by those who have ships there. It was built of granite by Anna Berg."
    lines = [{"id": f"doc{n}", "text": f"{text} {PAIRS if n % 2 else ''}"} for n in range(20)]
    Path("pages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("rewritten.yaml").write_text(PIPELINE.replace("URL", stub.url))
    done = CliRunner().invoke(cli, ["run", "rewritten.yaml", "--workspace", "work"])
    assert done.exit_code == 0, done.output
    rows = curate.load("out").scan().collect().to_dicts()
    assert Counter(row["rewrite"]["style"] for row in rows)["original"] == 20
    assert all(row["id"].partition("/")[0] == row["parent_id"] for row in rows)
    counts = json.loads(next(Path("work/datasets").glob("corpus@*/manifest.json")).read_text())["counts"]
    reasons = counts["dropped"]["rewrite_guard"]
    assert counts["rows_in"] == counts["rows_out"] + sum(reasons.values()) and counts["rows_in"] == len(rows) + sum(reasons.values())
    assert set(reasons) == {
        "leaked_instructions",
        "no_pairs",
        "too_short",
    }  # the server says its prompt in capitals, or what a page has it say


def test_documents_that_nothing_is_made_of_are_dropped_with_a_reason(
    stub: StubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"good": "The harbour is old.", "empty": "", "blank": " \n\t", "null": None}
    Path("pages.jsonl").write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    Path("rewritten.yaml").write_text(PIPELINE.replace("URL", stub.url).replace("prompt_set: wrap", "originals: drop"))
    done = CliRunner().invoke(cli, ["run", "rewritten.yaml", "--workspace", "work"])
    assert done.exit_code == 0, done.output
    counts = json.loads(next(Path("work/datasets").glob("rewritten@*/manifest.json")).read_text())["counts"]
    assert (counts["rows_in"], counts["dropped"]) == (4, {"rewrite": {"expanded_to_none": 3}})
    assert counts["rows_added"] == counts["rows_out"] - 1 >= 0
    for name in ("empty", "blank", "null"):
        told = CliRunner().invoke(cli, ["explain", "last", name, "--workspace", "work"])
        assert told.exit_code == 0 and "expanded_to_none" in told.output, told.output
