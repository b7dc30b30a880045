"""The settings of a language model: one parameter of the operators that ask it, checked before anything runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from curate.errors import PipelineError
from curate.registry import suggest

ENGINES = ("endpoint", "vllm")
MAX_TOKENS = 10_000_000  # of a prompt or an answer; no model takes as many
_BOUNDS = {
    "max_tokens": (1, MAX_TOKENS),
    "concurrency": (1, 100_000),
    "attempts": (1, 1000),
    "temperature": (0, 100),
    "deadline_s": (0, 10_000_000),
    "patience_s": (0, 10_000_000),
}
PRICES = ("prompt", "output", "gpu_hour")
OWN_FIELDS = ("model", "messages", "stream", "n", "temperature", "top_p", "max_tokens")  # of a request, that `body` may not set
_IDENTITY = ("model", "revision", "temperature", "top_p", "body")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "float": (int, float),
    "int": (int,),
    "Mapping[str, Any]": (Mapping,),
    "Mapping[str, float]": (Mapping,),
}
_KEY = "name the environment variable that holds the key with `key_variable`"
_SAID = {"str": "a string", "str | None": "a string", "float": "a number", "int": "a whole number"}


@dataclass(frozen=True)
class Settings:
    """Which model answers, how, and what it costs.

    What follows changes answers, and is part of a dataset's identity:

    - `model`: the name that the endpoint knows it by; for the engine `vllm` a folder, or `stage:NAME` of one that trains a model: what
      it holds is then part of the identity.
    - `revision`: which model of that name it is; a server that gets another one under the same name has another revision.
    - `temperature`, `top_p`: 0 takes the likeliest token always. No seed is ever sent: servers do not keep that promise under load.
    - `max_tokens`: the longest answer, where a prompt says nothing else; prompts of a style do, by its `max_output_tokens`.
    - `body`: further fields of each request, such as `chat_template_kwargs: {enable_thinking: false}`.

    What follows does not:

    - `engine`: `endpoint` is a server that speaks OpenAI's chat completions, `vllm` runs in the worker itself.
    - `endpoint`: its address, such as `http://127.0.0.1:8000/v1`.
    - `key_variable`: the environment variable that holds the key; the key itself never stands in a pipeline.
    - `concurrency`: requests under way at a time, in each worker; fewer while the server cannot answer so many within `deadline_s`.
    - `deadline_s`: seconds that one request may take.
    - `attempts`: tries of one prompt, where the server fails at it.
    - `patience_s`: seconds to wait for a server that does not answer at all, or asks for patience, before the stage ends.
    - `price`: dollars for a million tokens, `{prompt: 0.1, output: 0.4}`, or for an hour, `{gpu_hour: 2.5}`: of the stage where an
      endpoint is asked, of each worker that runs the model itself.
    - `arguments`: further arguments of the engine `vllm`, such as `{max_model_len: 4096}`.
    """

    model: str
    revision: str | None = None
    engine: Literal["endpoint", "vllm"] = "endpoint"
    endpoint: str | None = None
    key_variable: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    concurrency: int = 32
    deadline_s: float = 120.0
    attempts: int = 4
    patience_s: float = 300.0
    price: Mapping[str, float] = field(default_factory=dict, hash=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Return checked settings; raise `PipelineError`, which names the setting, for whatever is wrong with them."""
        known = {spec.name: str(spec.type) for spec in dataclasses.fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise PipelineError(f"llm: unknown setting `{name}`", suggest(name, list(known)) or f"settings are: {', '.join(known)}")
            _check_type(name, value, known[name])
        if not given.get("model", "").strip():
            raise PipelineError("llm: `model` is missing", "write the name that the endpoint knows the model by")
        settings = cls(**given)
        _check_numbers(settings)
        _check_body(settings.body)
        _check_engine(settings)
        _check_price(settings.price)
        return settings

    @property
    def identity(self) -> dict[str, Any]:
        """What of the settings changes the answer to a prompt that has a `max_tokens`; a folder is what its files are, wherever it lies.

        Settings that are equal have equal identities: 0 and 0.0 are one number.
        """
        told = {name: _plain(getattr(self, name)) for name in _IDENTITY}
        return told | ({"model": None} if self.engine == "vllm" and self.revision else {})


def _plain(value: Any) -> Any:
    """Return JSON data with whole numbers written in one way."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


def _check_type(name: str, value: Any, kind: str) -> None:
    if name == "engine":
        if value not in ENGINES:
            raise PipelineError(f"llm: `engine` is one of {', '.join(ENGINES)}, found `{value}`", suggest(str(value), list(ENGINES)))
    elif not isinstance(value, _TYPES[kind]) or (kind in ("int", "float") and not _is_number(value)):
        raise PipelineError(f"llm: `{name}` must be {_SAID.get(kind, 'a mapping')}, found {_shown(value)}")


def _is_number(value: Any) -> bool:
    """Tell a number that is finite and no longer than a float can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _shown(value: Any) -> str:
    return "a very long number" if isinstance(value, int) and value.bit_length() > 128 else repr(value)


def _check_numbers(settings: Settings) -> None:
    for name in ("deadline_s", "patience_s"):
        if not getattr(settings, name) > 0:
            raise PipelineError(f"llm: `{name}` must be more than 0 seconds: {getattr(settings, name)}")
    for name, (least, most) in _BOUNDS.items():
        if getattr(settings, name) < least:
            raise PipelineError(f"llm: `{name}` is less than {least}: {getattr(settings, name)}")
        if getattr(settings, name) > most:
            raise PipelineError(f"llm: `{name}` is more than {most:,}")
    if not 0 < settings.top_p <= 1:
        raise PipelineError(f"llm: `top_p` lies above 0 and at most at 1: {settings.top_p}")


def _check_body(body: Mapping[str, Any]) -> None:
    for name in OWN_FIELDS:
        if name in body:
            hint = f"`{name}` is a setting of its own" if name in _IDENTITY or name == "max_tokens" else "each request has one answer"
            raise PipelineError(f"llm: `body` is for further fields, not for `{name}`", hint)
    try:
        same = orjson.loads(orjson.dumps(dict(body))) == body
    except TypeError as error:
        raise PipelineError(f"llm: `body` cannot be written as JSON: {error}") from error
    if not same:
        raise PipelineError("llm: `body` cannot be written as JSON as it is", "dates are strings, and all numbers finite")


def _check_engine(settings: Settings) -> None:
    if settings.engine == "vllm":
        if settings.endpoint is not None:
            raise PipelineError("llm: `endpoint` is for the engine `endpoint`", "remove it, or `engine: vllm`")
        return
    if settings.arguments:
        raise PipelineError("llm: `arguments` is for the engine `vllm`", "give them to the server when it is started")
    if settings.model.startswith("stage:"):
        raise PipelineError(
            "llm: an endpoint knows its model by a name, not by a stage", "`engine: vllm`, or serve its folder: `curate llm serve FOLDER`"
        )
    if settings.endpoint is None:
        raise PipelineError("llm: `endpoint` is missing", "such as http://127.0.0.1:8000/v1; see `curate llm serve`")
    if "?" in settings.endpoint or "#" in settings.endpoint:
        raise PipelineError("llm: `endpoint` has something behind `?` or `#`", f"paths are put behind it; {_KEY}")
    if "@" in settings.endpoint:
        raise PipelineError("llm: `endpoint` holds credentials", _KEY)
    if not _is_address(settings.endpoint):
        raise PipelineError(f"llm: `endpoint` is no address: {settings.endpoint}", "such as http://127.0.0.1:8000/v1")


def _is_address(endpoint: str) -> bool:
    try:
        address = urlsplit(endpoint)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number, brackets round what is no IPv6 address
        return False


def _check_price(price: Mapping[str, Any]) -> None:
    for name, value in price.items():
        if name not in PRICES:
            raise PipelineError(
                f"llm: unknown key `{name}` of `price`", suggest(str(name), list(PRICES)) or f"keys are: {', '.join(PRICES)}"
            )
        if not _is_number(value) or value < 0:
            raise PipelineError(f"llm: `price` holds dollars, found {name}: {_shown(value)}")
    if "gpu_hour" in price and len(price) > 1:
        raise PipelineError("llm: `price` is that of tokens or that of hours", "remove `gpu_hour`, or the others")
