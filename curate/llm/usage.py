"""What asking will take, and what it took: prompts, tokens, seconds and dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.llm.prompts import Answer
from curate.llm.settings import Settings

BYTES_PER_TOKEN = 4  # of English text under the tokenizers of present models


@dataclass(frozen=True)
class Asked:
    """What a model is to be asked: prompts, their tokens with all that stands round the documents, and the most that answers may have."""

    prompts: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.prompts + other.prompts, self.prompt_tokens + other.prompt_tokens, self.output_tokens + other.output_tokens)

    def times(self, number: int) -> Asked:
        """Return all of it so many times, as for votes."""
        return Asked(self.prompts * number, self.prompt_tokens * number, self.output_tokens * number)


@dataclass
class Usage:
    """Counts of one step: `cached` prompts had an answer before, `failed` ones have none; `seconds` were spent waiting for answers."""

    prompts: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_output_tokens: int = 0
    seconds: float = 0.0

    def add(self, answer: Answer) -> None:
        """Count one prompt."""
        self.prompts += 1
        self.failed += answer.finish == "error"
        if answer.cached:
            self.cached += 1
            self.cached_prompt_tokens += answer.prompt_tokens
            self.cached_output_tokens += answer.output_tokens
        else:
            self.prompt_tokens += answer.prompt_tokens
            self.output_tokens += answer.output_tokens


def dollars(usage: Usage, settings: Settings, stage_seconds: float) -> float | None:
    """Return what the tokens cost, or the hours: those of the worker that runs the model, else those of the stage; None without a price."""
    price = settings.price
    if not price:
        return None
    if "gpu_hour" in price:
        return price["gpu_hour"] * (usage.seconds if settings.engine == "vllm" else stage_seconds) / 3600
    return (usage.prompt_tokens * price.get("prompt", 0.0) + usage.output_tokens * price.get("output", 0.0)) / 1e6


def note(step: str, counted: Mapping[str, Any], settings: Settings, stage_seconds: float) -> dict[str, Any]:
    """Return what a stage's report says of one step that asked a model."""
    usage = Usage(**counted)
    cost = dollars(usage, settings, stage_seconds)
    parts = [f"{usage.prompts:,} prompts" + (f", {usage.cached:,} answered before" if usage.cached else "")]
    parts += [f"{usage.failed:,} without answer"] if usage.failed else []
    parts += [f"{usage.prompt_tokens:,} prompt tokens and {usage.output_tokens:,} output tokens"]
    parts += [f"{usage.output_tokens / usage.seconds:,.0f} output tokens/s in each worker"] if usage.seconds and usage.output_tokens else []
    parts += [f"{cost:,.2f} dollars"] if cost is not None else []
    measures = {**counted, **({} if cost is None else {"dollars": round(cost, 6)})}
    message = f"{step} asked {settings.model}: {'; '.join(parts)}"
    return {"name": step, "passed": True, "message": message, "measures": measures, "curve": None}
