"""The client against a real server process that fails on request."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CurateError, TransientError
from curate.llm import Answer, Llm, Prompt, Unanswered, endpoint
from curate.llm.gate import Gate, Load
from curate.llm.llm import HOPELESS
from tests.llm.servers import StubProcess


def ask(stub: StubProcess, *texts: str, **settings: Any) -> list[Answer]:
    return Llm(stub.settings | settings).ask([Prompt.user(text) for text in texts])


def test_answers_come_in_the_order_of_the_prompts_and_equal_prompts_are_asked_once(stub: StubProcess) -> None:
    texts = [f"[slow] first {n}" if n % 7 == 0 else f"first {n}" for n in range(60)]
    answers = ask(stub, *texts, *texts)
    assert [answer.text for answer in answers] == [text.upper() for text in texts] * 2
    assert answers[1] == Answer("FIRST 1", "stop", 2, 2)
    assert sorted(text for text in stub.asked() if "first" in text) == sorted(texts)


def test_a_request_says_what_the_prompt_and_the_settings_say_and_never_a_seed(stub: StubProcess) -> None:
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}}
    prompt = Prompt((("system", "be brief"), ("user", "[request]")), 7, ("END",), schema)
    model = Llm(stub.settings | {"temperature": 0.5, "top_p": 0.9, "body": {"chat_template_kwargs": {"enable_thinking": False}}})
    assert json.loads(model.ask([prompt])[0].text)["request"] == {
        "model": "stub",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "[request]"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_requests_under_way_are_as_many_as_asked_for() -> None:
    with StubProcess() as stub:
        ask(stub, *(f"[slow] {n}" for n in range(40)), concurrency=8)
        assert stub.most() == 8


@pytest.mark.parametrize("fault", ["500", "503", "cut", "half", "junk", "finish", "429"])
def test_a_passing_fault_costs_a_try_and_no_answer(stub: StubProcess, fault: str) -> None:
    text = f"passing [fault {fault} 2]"
    assert ask(stub, text)[0].text == text.upper()
    assert stub.asked().count(text) == 3


def test_a_server_that_asks_for_patience_gets_it_and_no_try_is_counted(stub: StubProcess) -> None:
    begun = time.monotonic()
    assert ask(stub, "patient [fault 429 2]", attempts=1)[0].finish == "stop"
    assert time.monotonic() - begun >= 2  # `Retry-After: 1`, twice


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("400", "the server refuses the prompt: 400 fault 400"),
        ("filter", "the server gives no text: it ended by `content_filter`"),
        ("500", "500 fault 500 (try 3 of 3)"),
        ("junk", "the answer is no chat completion: <html>a proxy's page</html> (try 3 of 3)"),
    ],
)
def test_what_fails_always_is_an_error_of_its_prompt_alone(stub: StubProcess, fault: str, said: str) -> None:
    good, bad = ask(stub, "beside", f"failing [fault {fault} 99]", attempts=3)
    assert (good.text, bad.finish, bad.error) == ("BESIDE", "error", said)
    with pytest.raises(Unanswered, match=r"fault|gives no text|no chat"):
        bad.required()


def test_a_request_that_hangs_ends_at_its_deadline(stub: StubProcess) -> None:
    (answer,) = ask(stub, "hanging [fault hang 99]", deadline_s=0.2, attempts=2)
    assert (answer.error, answer.late) == ("no answer within 0.2 s (try 2 of 2)", 2)
    (slow, failed) = ask(stub, "late at first [fault hang 1]", "no deadline [fault 500 1]", deadline_s=0.2, attempts=3)
    assert (slow.finish, slow.late, failed.finish, failed.late) == ("stop", 1, "stop", 0)


def test_a_crowded_server_gets_as_many_requests_as_it_answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 0.03 s for each request under way: 32 at a time take 0.96 s, which is too long, and 16 take half of it."""
    monkeypatch.setattr(endpoint, "PAUSE_S", 0.05)
    texts = [f"[crowded] {n}" for n in range(100)]
    with StubProcess() as stub:
        model = Llm(stub.settings | {"deadline_s": 0.7, "attempts": 1})
        answers = model.ask([Prompt.user(text) for text in texts])
        assert [answer.text for answer in answers] == [text.upper() for text in texts]
        assert 10 < sum(answer.late for answer in answers) < 100
        before = len(stub.asked())
        more = model.ask([Prompt.user(f"{text} again") for text in texts[:30]])
        assert {answer.finish for answer in more} == {"stop"} and len(stub.asked()) - before < 45  # what was learnt is not forgotten


def test_one_late_prompt_does_not_slow_down_a_quick_server(stub: StubProcess) -> None:
    load = Load(8, 1.0)
    early = load.mark()
    for _ in range(8):
        load.was_answered(load.mark())
    assert not load.was_late(early, 8) and load.limit == 8
    texts = [f"[slow] quick {n}" for n in range(60)]
    late, *quick = ask(stub, "for ever [fault hang 99]", *texts, deadline_s=1.5, attempts=2, concurrency=8)
    assert {answer.late for answer in quick} == {0} and (late.finish, late.late) == ("error", 2)


def test_a_load_halves_once_for_all_that_are_late_together_and_grows_again() -> None:
    load = Load(8, 1000.0)
    marks = [load.mark() for _ in range(8)]
    assert all(load.was_late(mark, 8 - n) for n, mark in enumerate(marks)) and load.limit == 4
    for _ in range(4):
        load.was_answered(load.mark())
    assert 4.8 < load.limit < 5
    for _ in range(50):
        load.was_answered(load.mark())
    assert load.limit == 8
    assert not load.was_late(load.mark(), 1)  # alone: then it is the prompt


def test_a_cut_answer_says_so(stub: StubProcess) -> None:
    (answer,) = ask(stub, "one two three", max_tokens=2)
    assert (answer.text, answer.finish, answer.output_tokens) == ("ONE TWO", "length", 2)
    assert answer.required() == "ONE TWO"
    with pytest.raises(Unanswered, match="cut after 2 tokens"):
        answer.required(whole=True)


def test_a_model_that_is_not_served_is_told_with_a_hint(stub: StubProcess) -> None:
    with pytest.raises(CurateError, match="has no model `stab`") as told:
        ask(stub, "x", model="stab")
    assert told.value.hint == "did you mean `stub`?"


def test_a_key_that_is_not_there_is_told_by_the_name_of_its_variable(stub: StubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CurateError, match="`CURATE_TEST_KEY` is not set"):
        ask(stub, "x", key_variable="CURATE_TEST_KEY")
    monkeypatch.setenv("CURATE_TEST_KEY", "secret")
    assert ask(stub, "x", key_variable="CURATE_TEST_KEY")[0].text == "X"


def test_a_dead_server_is_waited_for_and_then_told_as_no_fault_of_a_row() -> None:
    with StubProcess() as stub:
        stub.kill()
        begun = time.monotonic()
        with pytest.raises(TransientError, match=r"no answer for 1 s: .*Connect") as told:
            ask(stub, *(f"{n}" for n in range(100)), patience_s=1)
        assert 1 <= time.monotonic() - begun < 6  # all prompts wait together
        assert "run again" in (told.value.hint or "")
        assert told.value.cause == "endpoint"


def test_a_prompt_that_kills_the_server_takes_no_other_with_it(tmp_path: Path) -> None:
    with StubProcess(tmp_path / "faults", restart_after_s=0.1) as stub:
        texts = [f"[slow] row {n}" for n in range(8)]
        *others, poison = ask(stub, *texts, "poison [fault die 99]", attempts=4)
        assert [answer.text for answer in others] == [text.upper() for text in texts]
        assert poison.finish == "error" and "(try 4 of 4)" in (poison.error or "")
        assert stub.starts == 5


def test_many_prompts_that_cut_all_connections_take_no_other_with_them(stub: StubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PAUSE_S", 0.05)
    texts = [f"[slow] cutting {n} [fault drop 99]" if n % 3 == 2 else f"[slow] beside {n}" for n in range(48)]
    answers = ask(stub, *texts, concurrency=16, patience_s=60)
    assert [answer.finish for answer in answers] == ["error" if "fault" in text else "stop" for text in texts]


def test_with_two_tries_the_second_is_alone(stub: StubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PAUSE_S", 0.05)
    texts = ["twice [fault drop 99]", *(f"[slow] twice {n}" for n in range(4))]
    assert [answer.finish for answer in ask(stub, *texts, attempts=2)] == ["error"] + ["stop"] * 4


def test_tries_alone_wait_for_the_others_and_keep_none_waiting_for_ever() -> None:
    async def tries() -> None:
        gate, inside, most = Gate(Load(100, 1)), [0, 0], 0

        async def one(alone: bool) -> None:
            nonlocal most
            async with gate.through(alone):
                inside[alone] += 1
                assert inside in ([inside[0], 0], [0, 1])
                most = max(most, inside[0])
                try:
                    await asyncio.sleep(0.001)
                finally:
                    inside[alone] -= 1

        lost = [asyncio.create_task(one(alone)) for alone in (True, True, False)]  # inside, next, and behind it
        work = [asyncio.create_task(one(n % 4 == 3)) for n in range(40)]
        await asyncio.sleep(0)
        for task in lost:
            task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*work)
        assert most == 3

    asyncio.run(tries())


def test_a_model_that_answers_nothing_at_all_is_no_fault_of_rows(stub: StubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PAUSE_S", 0.01)
    failing = [f"never {n} [fault 500 99]" for n in range(HOPELESS)]
    with pytest.raises(CurateError, match=f"stub answers none of the first {HOPELESS} prompts: 500 fault 500") as told:
        ask(stub, *failing)
    assert "see its log" in (told.value.hint or "")
    answers = ask(stub, "one that it answers", *failing)  # it answers, so that these are faults of their own
    assert [answer.finish for answer in answers] == ["stop"] + ["error"] * HOPELESS


def test_refused_prompts_say_nothing_of_those_that_are_slower(stub: StubProcess) -> None:
    refused = [f"too long {n} [fault 400 99]" for n in range(HOPELESS)]
    answers = ask(stub, *refused, "in a while [slow]")
    assert [answer.finish for answer in answers] == ["error"] * HOPELESS + ["stop"]
    assert all(answer.refused for answer in answers[:-1])
    with pytest.raises(CurateError, match=f"none of the first {HOPELESS} prompts: the server refuses the prompt: 400"):
        ask(stub, *refused)


def test_it_can_be_asked_where_a_loop_runs_already(stub: StubProcess) -> None:
    async def notebook() -> list[Answer]:
        return ask(stub, "inside")

    assert asyncio.run(notebook())[0].text == "INSIDE"
