"""From documents to instruction pairs, against a server: which answers are questions, judgements and answers, and why others go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

import curate
from curate import run_pipeline
from curate.document import TEXT_TYPE
from curate.errors import PipelineError
from curate.llm import Unanswered
from curate.testing import check_operator
from curate_operators.instruct_answer import InstructAnswer, InstructPair
from curate_operators.instruct_query import MAX_CHARS, InstructQuery
from curate_operators.instruct_score import OUTPUT, InstructGuard, InstructScore
from curate_operators.prompt_sets import read_shipped
from tests.llm.servers import StubProcess
from tests.operators.conftest import batch

LLM = {"model": "m", "endpoint": "http://127.0.0.1:1/v1"}
GOOD = {"quality": 8, "difficulty": 3, "needs_context": False}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


def say(told: Any) -> str:
    return f"[say]{json.dumps(told)}[/say]"


def unlike(told: Any) -> str:
    """Return JSON without words that a guard could find in the document that it stands in, and without marks of the server's."""
    return json.dumps(told, separators=(",", ":")).replace(" ", "\\u0020").replace("[", "\\u005b")


def queries(operator: InstructQuery, *texts: str | None) -> list[tuple[str, str, str | None]]:
    rows = operator.expand(batch([*texts])).to_pylist()
    assert {row["rewrite"]["style"] for row in rows} <= {"query"}
    return [(row["parent_id"], row["text"], row["rewrite"]["problem"]) for row in rows]


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"queries": ["How old is it?", " Who keeps it? "]}, ["How old is it?", "Who keeps it?"]),
        ({"queries": ["How old is it?", "How old is it?"]}, ["How old is it?"]),
        ({"queries": ["One?", "Two?", "Three?"]}, ["One?", "Two?"]),
        ({"queries": ["", 3, None, "x" * (MAX_CHARS + 1), "Who?"]}, ["Who?"]),
        ({"queries": []}, None),
        ({"queries": "Who?"}, None),
        ({"questions": ["Who?"]}, None),
        (["Who?"], None),
    ],
)
def test_answers_that_are_questions(stub: StubProcess, told: Any, found: list[str] | None) -> None:
    made = queries(InstructQuery(stub.settings), "A page.\n" + say(told))
    assert made == ([("0", text, None) for text in found] if found else [("0", "", "no_query")])


def test_an_answer_that_is_cut_has_its_problem_and_blank_documents_no_questions(stub: StubProcess, tmp_path: Path) -> None:
    (tmp_path / "prompts.yaml").write_text("styles: {query: {about: x, prompt: '{text}', max_input_tokens: 99, max_output_tokens: 2}}")
    operator = InstructQuery(stub.settings, prompt_file=str(tmp_path / "prompts.yaml"))
    assert queries(operator, "", None, " \n", "one two three") == [("3", "", "truncated")]
    assert operator.expand(batch([""])).num_rows == 0


def test_what_is_shown_fits_and_is_kept_as_the_source(stub: StubProcess) -> None:
    [row] = InstructQuery(stub.settings).expand(batch(["word " * 5000])).to_pylist()
    asked = stub.asked()[-1]
    assert 0 < len(row["source_text"]) < 8000 and row["source_text"].strip() in asked
    assert len(asked) <= 4 * read_shipped("instruct")["query"].max_input_tokens


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (GOOD, GOOD),
        (GOOD | {"why": "so"}, GOOD),
        (GOOD | {"quality": 11}, None),
        (GOOD | {"difficulty": 0}, None),
        (GOOD | {"quality": "8"}, None),
        (GOOD | {"quality": True}, None),
        (GOOD | {"needs_context": "no"}, None),
        ({"quality": 8}, None),
        ("fine", None),
    ],
)
def test_answers_that_are_judgements(stub: StubProcess, told: Any, found: Any) -> None:
    assert InstructScore(stub.settings).score(batch([say(told)])).to_pylist() == [found]


def test_blank_questions_are_not_judged(stub: StubProcess) -> None:
    before = len(stub.asked())
    assert InstructScore(stub.settings).score(batch(["", None, " "])).to_pylist() == [None] * 3
    assert len(stub.asked()) == before


def test_the_guard_gives_its_reasons() -> None:
    rows = [GOOD, None, GOOD | {"needs_context": True}, GOOD | {"quality": 5}, GOOD | {"difficulty": 1}, GOOD | {"difficulty": 9}]
    docs = batch(["x"] * len(rows), query=pa.array(rows, OUTPUT))
    found = InstructGuard(min_difficulty=2, max_difficulty=8).drop(docs).to_pylist()
    assert [row and row["reason"] for row in found] == [None, "not_scored", "needs_context", "low_quality", "too_easy", "too_hard"]
    assert [row and row["value"] for row in found[3:]] == [5, 1, 9]
    open_to_all = InstructGuard(min_quality=None, self_contained=False).drop(docs).to_pylist()
    assert [row and row["reason"] for row in open_to_all] == [None, "not_scored", None, None, None, None]


def answered(operator: InstructAnswer, query: str | None, source: str | None) -> tuple[Any, ...]:
    [row] = operator.map(batch([query], source_text=pa.array([source], TEXT_TYPE))).to_pylist()
    return row["instruction"], row["text"], row["rewrite"]["problem"]


def test_answers(stub: StubProcess) -> None:
    operator = InstructAnswer(stub.settings)
    assert answered(operator, "How old?", "A page.\n" + say({"answer": " Very old. "})) == ("How old?", "Very old.", None)
    assert answered(operator, "How old?", "A page.\n" + say({"answer": ""})) == ("How old?", "", "no_answer")
    assert answered(operator, "How old?", "A page.") == ("How old?", "", "no_answer")
    before = len(stub.asked())
    assert answered(operator, "", "A page.") == ("", "", "no_query")
    assert answered(operator, None, None) == (None, "", "no_query")
    assert len(stub.asked()) == before


def test_neither_question_nor_document_can_fill_the_other_slot_or_close_the_marks() -> None:
    style = read_shipped("instruct")["answer"]
    [_, (_, text)] = style.ask("D {query} {text}</document>", "Q {text} </document>").messages
    assert text.endswith("<document>\nD {query} {text}< /document>\n</document>") and "\nQ {text} < /document>\n" in text
    assert "{" not in style.words.replace('{"answer": "…"}', "")


def test_a_pair_is_one_text() -> None:
    docs = batch(["Old {instruction}.", None], instruction=pa.array(["How {answer}?", None], TEXT_TYPE))
    assert InstructPair().map(docs).column("text").to_pylist() == ["How {answer}?\n\nOld {instruction}.", "\n\n"]
    told = InstructPair("User: {instruction}\nAssistant: {answer}").map(docs).column("text")[0].as_py()
    assert told == "User: How {answer}?\nAssistant: Old {instruction}."


def test_a_prompt_without_an_answer_is_an_error_of_its_row(stub: StubProcess) -> None:
    bad = batch(["a", "[fault filter 9]"], source_text=pa.array(["b", "c"], TEXT_TYPE))
    for call in (InstructQuery(stub.settings).expand, InstructScore(stub.settings).score, InstructAnswer(stub.settings).map):
        with pytest.raises(Unanswered):
            call(bad)


def test_the_battery(stub: StubProcess) -> None:
    texts = [say({"queries": ["a?", "b?"], "answer": "c"} | GOOD), "", "words", "x" * 9000, "\U0001f600\x00 港は古い。"]
    docs = pa.record_batch(
        {"id": [str(n) for n in range(5)], "text": pa.array(texts, TEXT_TYPE), "source_text": pa.array(texts, TEXT_TYPE)}
    )
    for operator in (InstructQuery(stub.settings, max_queries=1), InstructScore(stub.settings), InstructAnswer(stub.settings)):
        check_operator(operator, docs)


def test_wrong_parameters_are_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="max_queries is less than 1"):
        InstructQuery(LLM, max_queries=0)
    for template, message in (("{answer}", "{instruction} 0 times"), ("{instruction}{answer}{answer}", "{answer} 2 times")):
        with pytest.raises(PipelineError, match=message):
            InstructPair(template)
    file = tmp_path / "prompts.yaml"
    file.write_text("styles: {answer: {about: x, prompt: '{text}', max_input_tokens: 9, max_output_tokens: 9}}")
    for operator, message in (
        (InstructQuery(LLM, prompt_file=str(file)), "no style `query`"),
        (InstructAnswer(LLM, prompt_file=str(file)), "{query} 0"),
    ):
        with pytest.raises(PipelineError, match=message):
            operator.verify_file("prompt_file", file)


PAGE = "The harbour of Visby was built in 1902, of stone that came from the hills behind the town."
STEPS = """
name: pairs
inputs: {docs: {path: docs.jsonl}}
stages:
  queries: {from: docs, operators: [{use: instruct_query, params: {llm: LLM}}]}
  scored: {from: queries, operators: [{use: rewrite_guard, params: {prompt_set: instruct}}, {use: instruct_score, into: query, params: {llm: LLM}}]}
  answers: {from: scored, operators: [{use: instruct_guard}, {use: instruct_answer, params: {llm: LLM}}]}
  pairs: {from: answers, operators: [{use: rewrite_guard, params: {prompt_set: instruct}}, {use: instruct_pair}]}
"""


def test_a_run_accepts_pairs_and_says_why_others_went(stub: StubProcess, tmp_path: Path) -> None:
    def asks(query: str, **told: Any) -> str:
        """Return a question that the server judges and answers as told."""
        answer = {"answer": "It was built in 1902, of stone from the hills."}
        return f"{query} [say]{unlike(GOOD | answer | told)}[/say]"

    told = {
        "good": [asks("When was the harbour of Visby built, and of what?")],
        "poor": [asks("Harbour?", quality=3), asks("What does the passage say?", needs_context=True)],
        "refused": [asks("Who built the harbour of Visby?", answer="I'm sorry, but I cannot help with that.")],
        "odd": [asks("Why is the harbour there?", quality="high"), "I'm sorry, but I cannot write questions."],
        "none": [],
    }
    bodies = {name: f"{PAGE}\n[say]{_listed(said)}[/say]" for name, said in told.items()}
    (tmp_path / "docs.jsonl").write_bytes(b"".join(orjson.dumps({"id": name, "text": text}) + b"\n" for name, text in bodies.items()))
    (tmp_path / "pipeline.yaml").write_text(STEPS.replace("LLM", json.dumps(stub.settings)))
    report = run_pipeline(tmp_path / "pipeline.yaml", str(tmp_path / "workspace"), on="local", workers=1)
    assert report["status"] == "done"
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert stages["scored"]["counts"]["dropped"] == {"rewrite_guard": {"no_query": 1, "refusal": 1}}
    assert stages["answers"]["counts"]["dropped"] == {"instruct_guard": {"low_quality": 1, "needs_context": 1, "not_scored": 1}}
    assert stages["pairs"]["counts"]["dropped"] == {"rewrite_guard": {"refusal": 1}}
    [pair] = curate.load(stages["pairs"]["dataset"]).scan().collect().to_dicts()
    assert pair["parent_id"] == "good" and pair["text"].startswith("When was the harbour of Visby built, and of what?")
    assert pair["text"].endswith("\n\nIt was built in 1902, of stone from the hills.") and pair["query"] == GOOD


def _listed(queries: Sequence[str]) -> str:
    """Return questions as the JSON that the server is to say."""
    return '{"queries":[' + ",".join(unlike(query) for query in queries) + "]}"
