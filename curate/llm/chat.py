"""The wire: OpenAI's chat completions as requests, answers and errors."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from curate.llm.prompts import Answer, Finish, Prompt
from curate.llm.settings import Settings

EXCERPT_CHARS = 300  # of a server's own words that an error repeats
FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length"}


class Fault(Exception):
    """A try that failed through no fault of the prompt's.

    `timed_out` = the deadline ended it; `crowded` = that is because too many were under way, so that it was no try. `later` = it was no
    try at all, since the server is busy or not there; `wait_s` is how long it asks to be left alone, if it says so.
    """

    def __init__(self, said: str, later: bool = False, wait_s: float | None = None, timed_out: bool = False) -> None:
        super().__init__(said)
        self.timed_out = timed_out
        self.crowded = False
        self.later = later
        self.wait_s = wait_s


def body(prompt: Prompt, settings: Settings) -> bytes:
    """Return the JSON of a request."""
    request: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": role, "content": text} for role, text in prompt.messages],
        "max_tokens": prompt.max_tokens or settings.max_tokens,
        "temperature": settings.temperature,
    }
    if settings.top_p != 1:
        request["top_p"] = settings.top_p
    if prompt.stop:
        request["stop"] = list(prompt.stop)
    if prompt.schema is not None:
        request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": prompt.schema, "strict": True}}
    return orjson.dumps(request | dict(settings.body))


def parsed(data: bytes) -> Answer:
    """Return the answer that a server's JSON holds; raise `Fault` for what is no such JSON."""
    try:
        told = orjson.loads(data)
        choice, usage = told["choices"][0], told.get("usage") or {}
        text, reason = choice["message"].get("content"), choice.get("finish_reason") or "stop"
        finish, refusal = FINISHES.get(reason), choice["message"].get("refusal")
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Fault(f"the answer is no chat completion: {said(data)}") from error
    if isinstance(text, str) and finish is not None:
        return Answer(text, finish, *tokens)
    why = refusal or ("the answer is empty" if finish is not None else f"it ended by `{reason}`")
    return Answer("", "error", *tokens, error=f"the server gives no text: {why}", refused=True)


def said(data: bytes) -> str:
    """Return a server's own words: the message of its error, else the beginning of what it sent."""
    try:
        told = orjson.loads(data)
        error = told.get("error", told)
        text = error if isinstance(error, str) else str(error.get("message", error))
    except (ValueError, AttributeError):
        text = data[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
    return " ".join(text.split())[:EXCERPT_CHARS]


def seconds(header: str | None) -> float | None:
    """Return what `Retry-After` says: seconds, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        left: float = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        return max(0.0, left)
    except (ValueError, TypeError):
        return None
