"""Settings of a language model: what is wrong with them is told, with a hint."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from curate.errors import PipelineError
from curate.llm import Llm, Settings

GOOD = {"model": "small", "endpoint": "http://127.0.0.1:8000/v1"}


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"modle": "small"}, "unknown setting `modle`", "did you mean `model`?"),
        ({"endpoint": None}, "`endpoint` is missing", "curate llm serve"),
        ({"endpoint": "127.0.0.1:8000"}, "no address: 127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ({"endpoint": "https://me:secret@host/v1"}, "holds credentials", "key_variable"),
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
        ({"price": {"promt": 1}}, "unknown key `promt` of `price`", "did you mean `prompt`?"),
        ({"price": {"prompt": -1}}, "`price` holds dollars, found prompt: -1", None),
        ({"price": {"prompt": 1, "gpu_hour": 2}}, "that of tokens or that of hours", None),
    ],
)
def test_a_wrong_setting_is_told(given: dict[str, Any], said: str, hint: str | None) -> None:
    with pytest.raises(PipelineError) as told:
        Llm(GOOD | given)
    assert told.value.message.startswith("llm: ") and said in told.value.message
    assert hint is None or hint in (told.value.hint or "")


def test_no_model_is_told() -> None:
    with pytest.raises(PipelineError, match="`model` is missing"):
        Settings.of({"endpoint": "http://127.0.0.1:8000/v1"})


def test_a_model_travels_to_workers_as_its_settings() -> None:
    assert pickle.loads(pickle.dumps(Llm(GOOD))).settings == Settings.of(GOOD)
