"""What asking will take, and what it took: prompts, tokens, seconds and dollars."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from curate.llm.prompts import Answer
from curate.llm.settings import Settings
from curate.report.units import plural

BYTES_PER_TOKEN = 4  # of English text under the tokenizers of present models


@dataclass(frozen=True)
class Asked:
    """What a model is to be asked: prompts, their tokens with all that stands round the documents, and the most that answers may have."""

    prompts: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.prompts + other.prompts, self.prompt_tokens + other.prompt_tokens, self.output_tokens + other.output_tokens)

    def times(self, number: float) -> Asked:
        """Return all of it so many times, as for votes."""
        return Asked(*(round(each * number) for each in dataclasses.astuple(self)))

    def corrected(self, found: Asked, reckoned: Asked) -> Asked:
        """Return it as it would be if it were off by as much as `reckoned` was, of what was `found` to be true."""
        numbers = zip(*map(dataclasses.astuple, (self, found, reckoned)), strict=True)
        return Asked(*(round(each * true / told) if told else each for each, true, told in numbers))


@dataclass
class Usage:
    """Counts of one step: `cached` prompts had an answer before, `failed` ones have none; `seconds` were spent waiting for answers.

    `late` is how many requests the deadline ended.

    The other `cached_` counts are what the answers of `cached` prompts took when they were asked, by whatever run that was; an answer that
    is used several times counts as often.
    """

    prompts: int = 0
    cached: int = 0
    failed: int = 0
    late: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_output_tokens: int = 0
    seconds: float = 0.0
    cached_seconds: float = 0.0

    def add(self, answer: Answer) -> None:
        """Count one prompt."""
        self.prompts += 1
        self.failed += answer.finish == "error"
        self.late += answer.late
        if answer.cached:
            self.cached += 1
            self.cached_prompt_tokens += answer.prompt_tokens
            self.cached_output_tokens += answer.output_tokens
            self.cached_seconds += answer.seconds
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


def note(step: str, run: Usage, dataset: Usage | None, settings: Settings, stage_seconds: float) -> dict[str, Any]:
    """Return what a stage's report says of one step that asked a model.

    `run` counts the shards that this run made in `stage_seconds`, `dataset` those of all runs that made it; None = it is not finished. Its
    measures are those of `run`, and with the prefix `dataset_` what all of it took since the first answer was asked for, at most.
    """
    cost = dollars(run, settings, stage_seconds)
    parts = [f"{run.prompts:,} prompts" + (f", {run.cached:,} answered before" if run.cached else "")]
    parts += [f"{run.failed:,} without answer"] if run.failed else []
    parts += [f"{plural(run.late, 'request')} ended by `deadline_s` ({settings.deadline_s:g} s), for nothing"] if run.late else []
    parts += [_tokens(run)]
    parts += [f"{run.output_tokens / run.seconds:,.0f} output tokens/s in each worker"] if run.seconds and run.output_tokens else []
    parts += [f"{cost:,.2f} dollars"] if cost is not None else []
    measures = dataclasses.asdict(run) | ({} if cost is None else {"dollars": round(cost, 6)})
    if dataset is None:
        parts += ["shards that did not end are not counted"]
    else:
        whole = _whole(dataset)
        earlier_seconds = whole.seconds - run.seconds  # of workers, which may have waited side by side
        whole_cost = dollars(whole, settings, stage_seconds + earlier_seconds)
        if whole.prompts > run.prompts or run.cached:
            told = _tokens(whole) + (f", {whole_cost:,.2f} dollars" if whole_cost is not None else "")
            parts += [f"with what was asked before, at most {told}"]
        measures |= {f"dataset_{name}": getattr(whole, name) for name in ("prompts", "prompt_tokens", "output_tokens", "seconds")}
        measures |= {} if whole_cost is None else {"dataset_dollars": round(whole_cost, 6)}
    message = f"{step} asked {settings.model}: {'; '.join(parts)}"
    return {"name": step, "passed": True, "message": message, "measures": measures, "curve": None}


def _whole(usage: Usage) -> Usage:
    """Return counts as if answers from before had been paid now."""
    return Usage(
        usage.prompts,
        prompt_tokens=usage.prompt_tokens + usage.cached_prompt_tokens,
        output_tokens=usage.output_tokens + usage.cached_output_tokens,
        seconds=usage.seconds + usage.cached_seconds,
    )


def _tokens(usage: Usage) -> str:
    return f"{usage.prompt_tokens:,} prompt tokens and {usage.output_tokens:,} output tokens"
