"""Says beforehand what trainings will take: tokens, operations, and hours of a GPU or a CPU core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curate.manifest import Kind
from curate.pipeline_graph import REFERENCE
from curate.protocols import Operator
from curate.report.units import plural
from curate_scorers.proxy import annealing
from curate_scorers.proxy.pack import Pack
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.train_tokenizer import TrainTokenizer

VOCABULARY = 32_768  # where the pipeline does not name it
GPU_FLOPS = 0.4 * 989e12  # of an H100 or H200 in bfloat16: two fifths of the peak, an assumption
CORE_FLOPS = 30e9  # of a CPU core in float32, an assumption: `tests.benchmarks.proxy_speed` measures
UNITS = ((1e18, "exaFLOP"), (1e15, "petaFLOP"), (1e12, "teraFLOP"), (1e9, "gigaFLOP"))


def announced(
    recipe: Recipe, anneal: str | None, trainings: int, sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]
) -> str:
    """Return what so many trainings of a stage will take, in one sentence; `stages` are the operators of the pipeline's stages."""
    known = annealing.planned(recipe, anneal, stages)
    if known is None:
        return f"{plural(trainings, 'training')} of {recipe.size}, each on {recipe.decay_ratio:.0%} of the tokens that the base read"
    return told_cost(known, trainings, vocabulary_of(sources, stages))


def told_cost(recipe: Recipe, trainings: int, vocabulary: int | None = None) -> str:
    """Return the cost of so many trainings in one sentence; a vocabulary that is not known is taken for one of 32,768."""
    tokens = trainings * recipe.budget
    each = f" each, {_short(tokens)} in all" if trainings > 1 else ""
    what = f"{plural(trainings, 'training')} of {recipe.size} on {_short(recipe.budget)} tokens{each}"
    return f"{what}: {told_operations(recipe.shape.flops(tokens, vocabulary or VOCABULARY, 0))}"


def told_operations(flops: float) -> str:
    """Return operations, and the time that they take, to two digits."""
    unit, name = next((entry for entry in UNITS if flops >= entry[0]), UNITS[-1])
    gpu, core = _time(flops / GPU_FLOPS), _time(flops / CORE_FLOPS)
    times = f"{gpu} of an H100 or a CPU core" if gpu == core else f"{gpu} of an H100 or {core} of a CPU core"
    return f"about {_two_digits(flops / unit)} {name}, {times}"


def vocabulary_of(sources: Mapping[str, Kind], stages: Mapping[str, Sequence[Operator]]) -> int | None:
    """Return the vocabulary that packed corpora among the sources are to have, where a stage of the pipeline trains their tokenizer."""
    packers = [operator for name in sources for operator in stages.get(name, ()) if isinstance(operator, Pack)]
    names = [each.tokenizer.removeprefix(REFERENCE) for each in packers if each.tokenizer.startswith(REFERENCE)]
    makers = [operator for name in names for operator in stages.get(name, ()) if isinstance(operator, TrainTokenizer)]
    return max((maker.size for maker in makers), default=None)


def _short(tokens: int) -> str:
    for unit, name in ((1_000_000_000, "billion"), (1_000_000, "million")):
        if tokens >= unit:
            return f"{tokens / unit:.3g} {name}"
    return f"{tokens:,}"


def _time(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    size, unit = next(entry for entry in ((3600, "hour"), (60, "minute"), (1, "second")) if seconds >= entry[0])
    number = _two_digits(seconds / size)
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def _two_digits(number: float) -> str:
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
