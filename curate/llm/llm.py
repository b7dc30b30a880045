"""The language model that an operator holds: its settings, the engine behind it, what it has answered, and what that took."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.errors import CurateError, OperatorError, TransientError
from curate.llm.answers import Answers, digest, key_of
from curate.llm.prompts import Answer, Engine, Prompt
from curate.llm.settings import Settings
from curate.llm.usage import Usage
from curate.storage import Storage

HOPELESS = 20  # prompts without an answer before there is a first one: then the fault is not theirs


class Llm:
    """Asks the model that the settings describe; what it has answered in the engine's workspace is never asked again.

    `bounded` = every prompt has a `max_tokens` of its own, so that the setting of that name is no part of a dataset's identity.
    """

    def __init__(self, given: Mapping[str, Any], bounded: bool = False) -> None:
        self.given = given
        self.bounded = bounded
        self.settings = Settings.of(given)
        self._engine: Engine | None = None
        self._answers: Answers | None = None
        self._recent: dict[str, Answer] = {}
        self._usage = Usage()
        self._answers_at_all = False
        self._unanswered = 0

    def __reduce__(self) -> tuple[type[Llm], tuple[Mapping[str, Any], bool]]:
        return Llm, (self.given, self.bounded)

    def placed(self, located: Callable[[str], tuple[str, str]]) -> tuple[dict[str, Any], str]:
        """Return the settings as workers need them, and what of them is part of a dataset's identity.

        `located` tells where a model lies that is read by the worker, and what it is: that is then part of the identity.
        """
        given = dict(self.given)
        if self.settings.engine == "vllm":
            place, identity = located(self.settings.model)
            given |= {"model": place, "revision": self.settings.revision or identity}
        settings = Settings.of(given)
        return given, digest(settings.identity | ({} if self.bounded else {"max_tokens": settings.max_tokens}))

    def ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return one answer for each prompt, in order; equal prompts are asked once.

        What is the fault of one prompt is an `Answer` with `finish` "error". Raises a `CurateError` where the model itself cannot be
        reached or used, or answers none of the first prompts: `TransientError` where waiting did not help.
        """
        if self.bounded and any(not prompt.max_tokens for prompt in prompts):
            raise OperatorError("a prompt has no `max_tokens`, though all are said to have one", "leave out `bounded`")
        keys = [key_of(prompt, self.settings.max_tokens) for prompt in prompts]
        known = dict(self._recent)
        waiting = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        if self._answers is not None and waiting:
            known |= {key: self._count(answer) for key, answer in self._answers.find(waiting).items()}
            waiting = {key: prompt for key, prompt in waiting.items() if key not in known}
        known |= self._asked(waiting)
        if self._answers is not None:
            self._recent |= {key: known[key] for key in keys}
        return [known[key] for key in keys]

    def remember(self, storage: Storage) -> None:
        """Use the answers of a workspace, and add to them, until `forget`: the engine calls both, around each shard."""
        self.forget()
        if self._answers is None or self._answers.url != storage.url:
            self._answers = Answers(storage, self.settings.identity)

    def forget(self) -> None:
        """End the part of this shard."""
        self._recent.clear()
        if self._answers is not None:
            self._answers.close()

    def spent(self) -> dict[str, Any] | None:
        """Return what was asked since the last call, None for nothing."""
        usage, self._usage = self._usage, Usage()
        return dataclasses.asdict(usage) if usage.prompts else None

    def _asked(self, waiting: Mapping[str, Prompt]) -> dict[str, Answer]:
        """Ask the engine; an answer is written down before the next thing is done with it."""
        keys, answers = list(waiting), dict[str, Answer]()
        if not keys:
            return answers

        begun = since = time.monotonic()

        def heard(number: int, answer: Answer) -> None:
            nonlocal since
            before, since = since, time.monotonic()
            answer = dataclasses.replace(answer, seconds=since - before)
            answers[keys[number]] = self._count(answer)
            if self._answers is not None and answer.finish != "error":
                self._answers.keep(keys[number], answer)
            self._unanswered += answer.finish == "error"
            if not answer.refused:  # refusals come at once, before the first answer can
                self._doubt(answer)

        try:
            self._open().answer(list(waiting.values()), heard)
            self._doubt(answers[keys[-1]])
        except TransientError:
            self._engine = None  # a model that died in this process is loaded anew
            raise
        finally:
            self._usage.seconds += time.monotonic() - begun
            if self._answers is not None:
                self._answers.flush()
        return answers

    def _count(self, answer: Answer) -> Answer:
        self._usage.add(answer)
        self._answers_at_all |= answer.finish != "error"
        return answer

    def _doubt(self, answer: Answer) -> None:
        """Raise `CurateError` where the model has answered nothing yet, here or before, and enough was asked of it."""
        if not self._answers_at_all and self._unanswered >= HOPELESS:
            self._unanswered = 0
            raise CurateError(
                f"{self.settings.model} answers none of the first {HOPELESS} prompts: {answer.error}",
                "the server is there, but cannot do what is asked: see its log, `body`, `max_tokens` and `deadline_s`",
            )

    def _open(self) -> Engine:
        if self._engine is None and self.settings.engine == "vllm":
            from curate.llm.vllm_engine import VllmEngine

            self._engine = VllmEngine(self.settings)
        elif self._engine is None:
            from curate.llm.endpoint import Endpoint

            self._engine = Endpoint(self.settings)
        return self._engine
