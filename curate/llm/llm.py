"""The language model that an operator holds: its settings, the engine behind it, what it has answered, and what that took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.llm.prompts import Answer, Engine, Prompt
from curate.llm.settings import Settings


class Llm:
    """Asks the model that the settings describe; equal prompts are asked once."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.settings = Settings.of(given)
        self._engine: Engine | None = None

    def __reduce__(self) -> tuple[type[Llm], tuple[Mapping[str, Any]]]:
        return Llm, (self.given,)

    def ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return one answer for each prompt, in order.

        What is the fault of one prompt is an `Answer` with `finish` "error". Raises a `CurateError` where the model itself cannot be
        reached or used: `TransientError` where waiting did not help.
        """
        distinct = list(dict.fromkeys(prompts))
        answers: dict[Prompt, Answer] = {}
        self._open().answer(distinct, lambda number, answer: answers.__setitem__(distinct[number], answer))
        return [answers[prompt] for prompt in prompts]

    def _open(self) -> Engine:
        if self._engine is None:
            from curate.llm.endpoint import Endpoint

            self._engine = Endpoint(self.settings)
        return self._engine
