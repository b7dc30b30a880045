"""Says beforehand what trials will take: tokens, operations, and hours of a GPU or a CPU core."""

from __future__ import annotations

from curate_scorers.proxy.recipe import Recipe

VOCABULARY = 32_768  # not known before the tokenizer is; small ones cost less
GPU_FLOPS = 0.4 * 989e12  # of an H100 or H200 in bfloat16: two fifths of the peak, an assumption
CORE_FLOPS = 30e9  # of a CPU core in float32, an assumption: `tests.benchmarks.proxy_speed` measures
UNITS = ((1e18, "exaFLOP"), (1e15, "petaFLOP"), (1e12, "teraFLOP"))


def told_cost(recipe: Recipe, trials: int) -> str:
    """Return the cost of so many trainings in one sentence."""
    tokens = trials * recipe.budget
    flops = recipe.shape.flops(tokens, VOCABULARY, 0)
    unit, name = next((entry for entry in UNITS if flops >= entry[0]), UNITS[-1])
    cost = f"{trials} trainings of {recipe.size} on {_short(recipe.budget)} tokens each, {_short(tokens)} in all"
    return f"{cost}: about {flops / unit:.2g} {name}, {_hours(flops / GPU_FLOPS)} of an H100 or {_hours(flops / CORE_FLOPS)} of a CPU core"


def _short(tokens: int) -> str:
    for unit, name in ((1_000_000_000, "billion"), (1_000_000, "million")):
        if tokens >= unit:
            return f"{tokens / unit:.3g} {name}"
    return f"{tokens:,}"


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.2g} hours" if seconds >= 3600 else f"{seconds / 60:.2g} minutes" if seconds >= 60 else f"{seconds:.2g} seconds"
    )
