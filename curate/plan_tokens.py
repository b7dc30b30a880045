"""What a plan would ask of language models, before anything runs: an estimate from bytes, which says what it assumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curate.llm.settings import Settings
from curate.llm.usage import BYTES_PER_TOKEN, Usage, dollars
from curate.plan import Plan


@dataclass(frozen=True)
class Estimate:
    """What one step of a stage would ask: tokens of the documents that it reads, as many again of answers, and dollars if there is a price.

    `exact` = the bytes are those of text that is there already, not those of files that hold it.
    """

    stage: str
    step: str
    model: str
    text_bytes: int
    exact: bool
    prompt_tokens: int
    output_tokens: int
    dollars: float | None


def estimates(plan: Plan) -> Iterator[Estimate]:
    """Yield an estimate for each step of a stage that is not done and asks a model."""
    for name, planned in plan.stages.items():
        if planned.stage.use is not None or plan.status(name) == "done":
            continue
        size, rows = _text(plan, name)
        for step, operator in zip(planned.stage.operators, plan.built.operators.get(name, []), strict=False):
            for model in operator.models().values():
                yield _estimate(name, step.label, model.settings, size, rows)


def _estimate(stage: str, step: str, settings: Settings, size: int, rows: int | None) -> Estimate:
    tokens = size // BYTES_PER_TOKEN
    output = tokens if rows is None else min(tokens, rows * settings.max_tokens)
    hourly = "gpu_hour" in settings.price  # nobody knows how long it takes
    cost = None if hourly else dollars(Usage(prompt_tokens=tokens, output_tokens=output), settings, 0.0)
    return Estimate(stage, step, settings.model, size, rows is not None, tokens, output, cost)


def _text(plan: Plan, name: str) -> tuple[int, int | None]:
    """Return bytes and documents that a stage reads; where they are not made yet, the bytes of the files that they come from, and None."""
    size, rows = 0, 0
    known = True
    for source in plan.stages[name].documents:
        if plan.reads_files(name, source):
            size += sum(file.size for file in plan.inputs[source].listing.files)
            known = False
        elif plan.status(source) == "done":
            counts = plan.dataset(source).manifest.counts
            size, rows = size + counts.text_bytes_out, rows + counts.rows_out
        else:
            size += _text(plan, source)[0]
            known = False
    return size, rows if known else None
