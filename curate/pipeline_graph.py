"""The graph of a pipeline: who reads whom, in what order, what kind of dataset comes out, and what fits what.

A stage depends on the names in its `from` and on every `stage:NAME` in its parameters. `stage:NAME/FILE` is one file of an artifact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from curate.errors import PipelineError
from curate.manifest import Kind
from curate.pipeline import Check, Pipeline, Stage
from curate.pipeline_mistakes import Mistakes, Place
from curate.protocols import DatasetOperator, Operator, Scorer
from curate.registry import suggest

REFERENCE = "stage:"


def references(stage: Stage | Check) -> set[str]:
    """Return the stages that parameters name as `stage:NAME`."""
    return {name for _, name in located_references(stage)}


def imported(pipeline: Pipeline, kinds: Mapping[str, Kind]) -> list[str]:
    """Return the inputs that are read into a dataset of their own name first.

    Dataset operators and attributes need shards to work on; chains of documents read an input's files as they are, and artifacts
    have shards.
    """
    needed = {
        source
        for name, stage in pipeline.stages.items()
        for source in stage.sources
        if source in pipeline.inputs and (stage.use is not None or len(stage.sources) > 1 or kinds[name] == "attributes")
    }
    return [name for name in pipeline.inputs if name in needed and kinds.get(name) != "artifact"]


def check_references(names: Mapping[Place, str], pipeline: Pipeline, mistakes: Mistakes) -> None:
    """Note names in parameters that stand for no stage; an input may be named when it is an artifact."""
    there = {name for name, spec in pipeline.inputs.items() if spec.artifact}
    check_names_exist({place: name for place, name in names.items() if name not in there}, pipeline, mistakes)


def located_references(stage: Stage | Check) -> Iterator[tuple[Place, str]]:
    """Yield each reference of a stage with its place inside the stage."""
    yield from _in_value(stage.params, ("params",))
    if isinstance(stage, Stage):
        for index, step in enumerate(stage.operators):
            yield from _in_value(step.params, ("operators", index, "params"))


def ordered(pipeline: Pipeline) -> list[str]:
    """Return the stages, each after those that it depends on; equal pipelines give equal orders.

    Raises `PipelineError` that prints the cycle when there is one.
    """
    cycle = find_cycle(pipeline)
    if cycle:
        raise PipelineError(f"pipeline {pipeline.name}: {cycle_text(cycle)}")
    return list(_sorter(pipeline).static_order())


def find_cycle(pipeline: Pipeline) -> list[str] | None:
    """Return stages that each read the next one, the first one repeated at the end, or None."""
    try:
        _sorter(pipeline).prepare()
    except CycleError as error:
        found: list[str] = error.args[1][::-1][:-1]
        first = min(range(len(found)), key=lambda i: list(pipeline.stages).index(found[i]))
        return [*found[first:], *found[:first], found[first]]
    return None


def cycle_text(cycle: Sequence[str]) -> str:
    """Say that stages depend on each other."""
    return f"stage `{cycle[0]}` reads itself" if len(cycle) == 2 else f"stages read each other in a circle: {' → '.join(cycle)}"


def emits(stage: Stage, operators: Sequence[Operator]) -> Kind:
    """Return what kind of dataset a stage makes: what it says, else what its operators say.

    A chain of Scorers only emits attributes; `emits: documents` makes its scores columns of the documents instead.
    """
    if stage.emits is not None:
        return stage.emits
    if stage.use is not None:
        return operators[0].emits if isinstance(operators[0], DatasetOperator) else "documents"
    measures = bool(operators) and not stage.apply and all(isinstance(operator, Scorer) for operator in operators)
    return "attributes" if measures else "documents"


def check_emits(stage: Stage, operators: Sequence[Operator], place: Place, mistakes: Mistakes) -> None:
    """Note an `emits` that the stage's operators cannot keep."""
    if stage.emits is None:
        return
    spot = (*place, "emits")
    if stage.use is not None:
        own = emits(Stage(stage.from_, use=stage.use), operators)
        if stage.emits != own:
            mistakes.add(spot, f"`{stage.use}` emits {own}, not {stage.emits}", "leave `emits` out")
    elif stage.emits == "artifact":
        mistakes.add(spot, "a chain emits documents or attributes, not artifacts")
    elif stage.emits == "attributes":
        _check_measures(stage, operators, spot, mistakes)


def check_alignment(pipeline: Pipeline, kinds: Mapping[str, Kind | None], mistakes: Mistakes) -> None:
    """Note sources that do not fit the documents that they are read with ."""
    for name, stage in pipeline.stages.items():
        if all(_kind(source, pipeline, kinds) for source in stage.sources):
            _align(name, pipeline, kinds, mistakes)


def aligned_to(name: str, pipeline: Pipeline, kinds: Mapping[str, Kind | None]) -> str:
    """Return the documents whose rows a dataset describes; documents describe themselves."""
    while name in pipeline.stages and kinds.get(name) == "attributes":
        name = pipeline.stages[name].sources[0]
    return name


def _align(name: str, pipeline: Pipeline, kinds: Mapping[str, Kind | None], mistakes: Mistakes) -> None:
    stage = pipeline.stages[name]
    place: Place = ("stages", name, "from")
    base: str | None = None
    for index, source in enumerate(stage.sources):
        kind = _kind(source, pipeline, kinds)
        spot = (*place, index)
        if kind == "documents":
            if source in stage.sources[:index]:
                continue
            if index and stage.use is None:
                _note_second(source, stage, spot, mistakes)
                continue
            base = source
        elif kind == "artifact" and stage.use is None:
            hint = "dataset operators read it" if source in pipeline.inputs else f"write `{REFERENCE}{source}` in a parameter"
            mistakes.add(spot, f"`{source}` is an artifact, not documents", hint)
        elif kind == "attributes":
            _check_fit(source, base, stage, (spot, aligned_to(source, pipeline, kinds)), mistakes)


def _note_second(source: str, stage: Stage, spot: Place, mistakes: Mistakes) -> None:
    hint = "an input may have several paths, `path: [a/*.parquet, b/*.parquet]`; datasets become one in a dataset operator"
    mistakes.add(spot, f"a chain reads one documents dataset, and `{source}` is a second one after `{stage.sources[0]}`", hint)


def _check_fit(source: str, base: str | None, stage: Stage, found: tuple[Place, str], mistakes: Mistakes) -> None:
    spot, described = found
    if base is None and stage.use is None:
        mistakes.add(spot, f"`{source}` holds attributes; a chain reads documents first", f"write `from: [{described}, {source}]`")
    elif base is not None and described != base:
        hint = f"attributes fit only the documents that they were made from: make `{source}` from `{base}`, or read `{described}` here"
        mistakes.add(spot, f"`{source}` describes the documents of `{described}`, not those of `{base}`", hint)


def _check_measures(stage: Stage, operators: Sequence[Operator], spot: Place, mistakes: Mistakes) -> None:
    if stage.apply:
        mistakes.add(spot, "a stage with `apply` drops documents and cannot emit attributes", "leave `emits` out")
    for step, operator in zip(stage.operators, operators, strict=True):
        if not isinstance(operator, Scorer):
            mistakes.add(spot, f"a stage that emits attributes only measures, and `{step.use}` is no Scorer", "leave `emits` out")


def _kind(name: str, pipeline: Pipeline, kinds: Mapping[str, Kind | None]) -> Kind | None:
    return kinds.get(name) or ("documents" if name in pipeline.inputs else None)


def dependencies(stage: Stage, pipeline: Pipeline) -> list[str]:
    """Return the stages that a stage needs, in the order in which it names them."""
    named = [*stage.sources, *(name for _, name in located_references(stage))]
    return [name for name in dict.fromkeys(named) if name in pipeline.stages and name not in pipeline.inputs]


def check_names_exist(names: Mapping[Place, str], pipeline: Pipeline, mistakes: Mistakes, inputs_too: bool = False) -> None:
    """Note names that stand for no stage (or input), with the nearest that does."""
    known = [*(pipeline.inputs if inputs_too else ()), *pipeline.stages]
    for place, name in names.items():
        if name in pipeline.inputs and not inputs_too:
            mistakes.add(place, f"`{name}` is an input, and a stage must stand here", "make a stage that reads it")
        elif name not in known:
            kind = "input or stage" if inputs_too else "stage"
            mistakes.add(place, f"unknown {kind} `{name}`", suggest(name, known) or f"there are: {', '.join(known)}")


def _in_value(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str) and value.startswith(REFERENCE):
        yield place, value.removeprefix(REFERENCE).partition("/")[0]
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _in_value(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _in_value(inner, (*place, index))


def _sorter(pipeline: Pipeline) -> TopologicalSorter[str]:
    return TopologicalSorter({name: dependencies(stage, pipeline) for name, stage in pipeline.stages.items()})
