"""What is asked of a language model, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "error"]


class Unanswered(Exception):
    """A prompt has no answer that can be used: the fault of one row, which the engine quarantines within `max_errors`."""


@dataclass(frozen=True)
class Prompt:
    """A conversation to be continued by one answer.

    `messages` are (role, text) pairs. `max_tokens` bounds the answer (None = the setting of that name), a text of `stop` ends it,
    `schema` is a JSON Schema that it must follow. `sample` tells apart prompts that are equal but want answers of their own, such as
    votes; it is not sent.
    """

    messages: tuple[tuple[Role, str], ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    sample: int = 0

    @classmethod
    def user(cls, text: str, system: str | None = None, max_tokens: int | None = None) -> Prompt:
        """Return the commonest prompt: one message of the user's, after one of the system's if there is any."""
        before: tuple[tuple[Role, str], ...] = () if system is None else (("system", system),)
        return cls((*before, ("user", text)), max_tokens)


@dataclass(frozen=True)
class Answer:
    """What came of a prompt.

    `finish` says why it ends: `stop` = the model was done, `length` = `max_tokens` cut it, `error` = there is none, and `error` says
    why. `cached` = it was taken from the workspace's cache and cost nothing. `refused` = the server is well, and has no answer for what
    this prompt is: too long, or filtered. `late` = how many tries the deadline ended, whose tokens went for nothing. `seconds` = its share
    of the time that the worker waited for all answers that were under way together.
    """

    text: str
    finish: Finish
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False
    error: str | None = None
    refused: bool = False
    late: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)

    def required(self, whole: bool = False) -> str:
        """Return the text; raise `Unanswered` where there is none or, if it must be `whole`, where it was cut."""
        if self.finish == "error":
            raise Unanswered(self.error)
        if whole and self.finish == "length":
            raise Unanswered(f"the answer was cut after {self.output_tokens} tokens")
        return self.text


Heard = Callable[[int, Answer], None]


class Engine(Protocol):
    """What answers prompts: a server, or a model in this process."""

    def answer(self, prompts: Sequence[Prompt], heard: Heard) -> None:
        """Call `heard(number of the prompt, answer)` once for each prompt, as answers come.

        What is the fault of one prompt is an `Answer` with `finish` "error". Raises a `CurateError` where the model itself cannot be
        reached or used: `TransientError` where waiting did not help.
        """
