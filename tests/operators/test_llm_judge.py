"""`llm_judge` against a server: which answers count as votes, and what becomes of several."""

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
from curate_operators.llm_judge import LlmJudge, _summed
from tests.llm.servers import StubProcess
from tests.operators.conftest import batch

NONE = {"score": None, "votes": 0, "agreement": None, "reason": None}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess() as process:
        yield process


@pytest.mark.parametrize(
    ("said", "score", "reason"),
    [
        ('{"reason": "Good.", "score": 4}', 4, "Good."),
        ('{"score": 0}', 0, ""),
        ('{"reason": "Good.", "score": 4.0}', 4, "Good."),
        ('<think>{"score": 1}, or {"score": 2}?</think>{"reason": "Good.", "score": 3}', 3, "Good."),
        ('{"reason": "Good.", "score": 1e400}', None, None),
        ('{"reason": "Good.", "score": 6.0}', None, None),
        ('```json\\n{"reason": 1, "score": 5}\\n```', 5, ""),
        ('{"reason": "Good.", "score": 6}', None, None),
        ('{"reason": "Good.", "score": -1}', None, None),
        ('{"reason": "Good.", "score": "4"}', None, None),
        ('{"reason": "Good.", "score": 4.5}', None, None),
        ('{"reason": "Good.", "score": true}', None, None),
        ('{"reason": "Good."}', None, None),
        ('{"reason": "Good.", "sc', None, None),
        ("[4]", None, None),
        ("Score: 4", None, None),
    ],
)
def test_answers_that_are_votes(stub: StubProcess, said: str, score: int | None, reason: str | None) -> None:
    [row] = LlmJudge(stub.settings).score(batch([f"[say]{said}[/say]"])).to_pylist()
    assert row == (NONE if score is None else {"score": score, "votes": 1, "agreement": 1.0, "reason": reason})


def test_several_votes_are_asked_for_and_summed(stub: StubProcess) -> None:
    operator = LlmJudge(stub.settings | {"temperature": 0.7}, votes=3)
    before = len(stub.asked())
    [row] = operator.score(batch(['[say]{"score": 2}[/say]'])).to_pylist()
    assert (row["score"], row["votes"], row["agreement"]) == (2, 3, 1)
    assert len(stub.asked()) - before == 3 and len(set(stub.asked()[before:])) == 1


def test_votes_that_differ() -> None:
    assert _summed([(2, "a"), None, (5, "b"), (2, "c"), (4, "d")]) == {"score": 3.25, "votes": 4, "agreement": 0.4, "reason": "a"}
    assert _summed([None]) == NONE


PIPELINE = """
name: judged
inputs: {pages: {path: pages.jsonl}}
stages:
  judged:
    from: pages
    MORE
    operators:
      - {use: llm_judge, into: education, params: {llm: {model: stub, endpoint: "URL", temperature: 1}, votes: 2}}
"""


@pytest.mark.parametrize(("shard_bytes", "more"), [(10**9, ""), (90, "timeout_s: 60")])  # with a time-out, in a process of its own
def test_a_run_tells_of_votes_lost_and_agreement(stub: StubProcess, tmp_path: Path, shard_bytes: int, more: str) -> None:
    said = ['{"score": 2}'] * 5 + ["Two.", ""]
    rows = [{"id": str(n), "text": text and f"[say]{text}[/say]"} for n, text in enumerate(said)]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline = PIPELINE.replace("URL", stub.url).replace("MORE", more)
    (tmp_path / "judged.yaml").write_text(f"{pipeline}shard_bytes: {shard_bytes}\n")
    options = ["--workspace", str(tmp_path / "work")]
    for _ in range(2):  # the second time the stage is done already
        done = CliRunner().invoke(cli, ["run", str(tmp_path / "judged.yaml"), *options])
        assert done.exit_code == 0, done.output
        told = " ".join(done.output.split())
        message = "llm_judge: 2 of 12 votes were lost, 1 of 6 documents have none; 83.3% of all votes gave their document's commonest score"
        assert f"warning: judged: {message}" in told


def test_blank_texts_are_not_shown() -> None:
    with StubProcess() as stub:
        found = LlmJudge(stub.settings, rubric="cleanliness").score(batch(["", None, " \n", "words"]))
        assert found.to_pylist() == [None] * 3 + [NONE]
        [asked] = stub.asked()
    assert "How clean is the text below" in asked and asked.endswith("<document>\nwords\n</document>")


def test_servers_are_told_the_schema(stub: StubProcess) -> None:
    operator = LlmJudge(stub.settings | {"temperature": 0.7}, votes=2, max_score=3)
    answers = operator.models()["llm"].ask(operator._prompts("[request]"))
    sent = [json.loads(answer.text)["request"]["response_format"] for answer in answers]
    score = {"type": "integer", "minimum": 0, "maximum": 3}
    assert [each["json_schema"]["schema"]["properties"]["score"] for each in sent] == [score, score]


def test_a_prompt_without_an_answer_is_an_error_of_its_row(stub: StubProcess) -> None:
    with pytest.raises(Unanswered):
        LlmJudge(stub.settings).score(batch(["a", "[fault filter 9]"]))


def test_the_battery(stub: StubProcess) -> None:
    texts = ['[say]{"score": 1}[/say]', "", "words", "x" * 9000, '\U0001f600\x00 [say]{"score": 3}[/say]']
    docs = pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, TEXT_TYPE)})
    check_operator(LlmJudge(stub.settings), docs)
    check_operator(LlmJudge(stub.settings | {"temperature": 1}, votes=2), docs)


def test_wrong_parameters_are_told(tmp_path: Path) -> None:
    llm: dict[str, Any] = {"model": "m", "endpoint": "http://127.0.0.1:1/v1"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"votes": 0}, "votes is less than 1"),
        ({"max_score": 0}, "max_score is less than 1"),
        ({"votes": 3}, "at temperature 0 are one vote"),
        ({"rubric": "educational"}, "there is no rubric `educational`"),
    ]
    for params, message in wrong:
        with pytest.raises(PipelineError, match=message):
            LlmJudge(llm, **params)
    file = tmp_path / "rubrics.yaml"
    file.write_text("styles: {wit: {about: x, prompt: '{text}', max_input_tokens: 9, max_output_tokens: 9}}")
    LlmJudge(llm, rubric="wit", prompt_file=str(file)).verify_file("prompt_file", file)
    with pytest.raises(PipelineError, match="there is no rubric `education`"):
        LlmJudge(llm, prompt_file=str(file)).verify_file("prompt_file", file)
