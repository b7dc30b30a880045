"""Settings of a language model: what is wrong with them is told, with a hint."""

from __future__ import annotations

import pickle
from typing import Any

import orjson
import pytest

from curate.errors import OperatorError, PipelineError
from curate.llm import Llm, Prompt, Settings

GOOD = {"model": "small", "endpoint": "http://127.0.0.1:8000/v1"}


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"modle": "small"}, "unknown setting `modle`", "did you mean `model`?"),
        ({"endpoint": None}, "`endpoint` is missing", "curate llm serve"),
        ({"endpoint": "127.0.0.1:8000"}, "no address: 127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ({"endpoint": "https://me:secret@host/v1"}, "holds credentials", "key_variable"),
        ({"endpoint": "https://me:secret@host:port/v1"}, "holds credentials", "key_variable"),
        ({"endpoint": "https://host/v1?key=secret"}, "has something behind `?` or `#`", "key_variable"),
        ({"endpoint": "https://host:port/v1#secret@x"}, "has something behind `?` or `#`", "key_variable"),
        ({"model": ""}, "`model` is missing", "the name that the endpoint knows"),
        ({"model": " \t"}, "`model` is missing", "the name that the endpoint knows"),
        ({"concurrency": 0}, "`concurrency` is less than 1: 0", None),
        ({"concurrency": 1.5}, "`concurrency` must be a whole number, found 1.5", None),
        ({"temperature": True}, "`temperature` must be a number, found True", None),
        ({"temperature": -1}, "`temperature` is less than 0: -1", None),
        ({"top_p": 0}, "`top_p` lies above 0", None),
        ({"deadline_s": 0}, "`deadline_s` must be more than 0 seconds", None),
        ({"engine": "vlm"}, "`engine` is one of endpoint, vllm, found `vlm`", "did you mean `vllm`?"),
        ({"engine": "vllm"}, "`endpoint` is for the engine `endpoint`", None),
        ({"model": "stage:refiner"}, "an endpoint knows its model by a name", "`engine: vllm`, or serve"),
        ({"arguments": {"max_model_len": 512}}, "`arguments` is for the engine `vllm`", "when it is started"),
        ({"temperature": 10**400}, "`temperature` must be a number, found a very long number", None),
        ({"temperature": 101}, "`temperature` is more than 100", None),
        ({"max_tokens": 10**30}, "`max_tokens` is more than 10,000,000", None),
        ({"max_tokens": 10**5000}, "`max_tokens` must be a whole number, found a very long number", None),
        ({"concurrency": 10**6}, "`concurrency` is more than 100,000", None),
        ({"deadline_s": 1e9}, "`deadline_s` is more than 10,000,000", None),
        ({"price": {"prompt": 10**400}}, "`price` holds dollars, found prompt: a very long number", None),
        ({"price": {"promt": 1}}, "unknown key `promt` of `price`", "did you mean `prompt`?"),
        ({"price": {"prompt": -1}}, "`price` holds dollars, found prompt: -1", None),
        ({"price": {"prompt": 1, "gpu_hour": 2}}, "that of tokens or that of hours", None),
        ({"price": {"prompt": float("nan")}}, "`price` holds dollars, found prompt: nan", None),
        ({"temperature": float("nan")}, "`temperature` must be a number, found nan", None),
        ({"deadline_s": float("inf")}, "`deadline_s` must be a number, found inf", None),
        ({"body": {"model": "other"}}, "`body` is for further fields, not for `model`", "a setting of its own"),
        ({"body": {"top_p": 0.9}}, "`body` is for further fields, not for `top_p`", "a setting of its own"),
        ({"body": {"n": 3}}, "`body` is for further fields, not for `n`", "one answer"),
        ({"body": {"stream": True}}, "`body` is for further fields, not for `stream`", "one answer"),
        ({"body": {"presence_penalty": float("nan")}}, "`body` cannot be written as JSON", "finite"),
        ({"body": {"logit_bias": {17: -100}}}, "`body` cannot be written as JSON: Dict key must be str", None),
        ({"endpoint": "http://::1:8000/v1"}, "`endpoint` is no address: http://::1:8000/v1", None),
        ({"endpoint": "http:///v1"}, "`endpoint` is no address", None),
    ],
)
def test_a_wrong_setting_is_told(given: dict[str, Any], said: str, hint: str | None) -> None:
    with pytest.raises(PipelineError) as told:
        Llm(GOOD | given)
    assert told.value.message.startswith("llm: ") and said in told.value.message
    assert hint is None or hint in (told.value.hint or "")
    assert "secret" not in str(told.value)


def test_what_is_equal_is_one_identity() -> None:
    plain = Settings.of(GOOD).identity
    assert Settings.of(GOOD | {"temperature": 0, "top_p": 1, "revision": None, "body": {}}).identity == plain
    bodies = [{"presence_penalty": number, "more": [{"deep": number}]} for number in (1, 1.0)]
    assert len({orjson.dumps(Settings.of(GOOD | {"body": body}).identity) for body in bodies}) == 1
    assert orjson.dumps(Settings.of(GOOD | {"temperature": 0}).identity) == orjson.dumps(plain)
    assert Settings.of(GOOD | {"body": {"flag": True}}).identity != Settings.of(GOOD | {"body": {"flag": False}}).identity


@pytest.mark.parametrize("bounded", [True, False])
def test_the_longest_answer_counts_where_prompts_do_not_say_it(bounded: bool) -> None:
    fingerprints = {Llm(GOOD | {"max_tokens": most}, bounded).placed(lambda model: (model, model))[1] for most in (10, 20)}
    assert len(fingerprints) == (1 if bounded else 2)


def test_a_prompt_without_its_longest_answer_is_told_where_all_are_said_to_have_one() -> None:
    with pytest.raises(OperatorError, match="a prompt has no `max_tokens`"):
        Llm(GOOD, bounded=True).ask([Prompt.user("x")])


def test_no_model_is_told() -> None:
    with pytest.raises(PipelineError, match="`model` is missing"):
        Settings.of({"endpoint": "http://127.0.0.1:8000/v1"})


def test_a_model_travels_to_workers_as_its_settings() -> None:
    travelled = pickle.loads(pickle.dumps(Llm(GOOD, bounded=True)))
    assert (travelled.settings, travelled.bounded) == (Settings.of(GOOD), True)
