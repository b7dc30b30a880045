"""Checks the columns of a pipeline, and the files that operators need, before anything runs, and warns of what is right but unwise.

Input schemas come from the readers; an input without one is open: its unknown columns are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from curate.document import ID, ID_TYPE
from curate.errors import CurateError
from curate.pipeline import Check, Pipeline, Stage
from curate.pipeline_columns import Columns, Walk
from curate.pipeline_graph import REFERENCE, references
from curate.pipeline_mistakes import InWords, Mistakes, Place, Positions
from curate.pipeline_validate import Built, named_steps
from curate.protocols import DatasetOperator, Filter, Operator
from curate.registry import suggest
from curate.storage import is_remote


def check_columns(
    pipeline: Pipeline, built: Built, schemas: Mapping[str, pa.Schema], positions: Positions | None = None
) -> dict[str, pa.Schema]:
    """Return the columns of every stage's dataset, as far as they are known.

    Raises one `PipelineError` for all columns that are missing, clash, or have types that an operator refuses, and for files that
    an operator's parameters name and that are not there.
    """
    mistakes = Mistakes(positions or InWords(pipeline))
    _check_files(pipeline, built, mistakes)  # first: what an operator finds in its file may say what it puts out
    walk = Walk(pipeline, built, mistakes)
    walk.results = {name: _of_input(schemas.get(name)) for name in pipeline.inputs}
    for name in built.order:
        walk.results[name] = walk.stage(name)
    for name in pipeline.checks:
        walk.check(name)
    _check_report_by(pipeline, walk.results, mistakes)
    mistakes.raise_any()
    return {name: walk.results[name].schema() for name in built.order}


def warnings(pipeline: Pipeline, built: Built, positions: Positions | None = None) -> list[str]:
    """Return what is allowed but likely not meant, each beginning with its place."""
    locator = positions or InWords(pipeline)
    found = [*_unused(pipeline, built), *_cheap_behind_costly(pipeline, built)]
    return [f"{locator.where(place)}: {text}" for place, text in sorted(found, key=lambda f: locator.order(f[0]))]


def _of_input(schema: pa.Schema | None) -> Columns:
    if schema is None:
        return Columns({ID: ID_TYPE}, open=True)
    return Columns(dict(zip(schema.names, schema.types, strict=True)))


def _check_report_by(pipeline: Pipeline, results: Mapping[str, Columns], mistakes: Mistakes) -> None:
    if pipeline.report_by == Pipeline("", {}, {}).report_by or any(columns.open for columns in results.values()):
        return
    paths = list(dict.fromkeys(path for columns in results.values() for path in columns.paths()))
    for index, column in enumerate(pipeline.report_by):
        if column not in paths:
            hint = suggest(column, paths) or f"columns are: {', '.join(paths[:20])}"
            mistakes.add(("report_by", index), f"no stage has the column `{column}`", hint)


def _check_files(pipeline: Pipeline, built: Built, mistakes: Mistakes) -> None:
    for place, step, operator in named_steps(pipeline, built):
        for key in operator.files:
            value, spot = step.params.get(key), (*place, "params", key)
            if isinstance(value, str) and value.startswith(REFERENCE):
                _check_keeps(value.removeprefix(REFERENCE), pipeline, built, (spot, mistakes))
            elif isinstance(value, str) and not is_remote(value):
                path = pipeline.folder / value
                if path.is_file() or key in operator.folders:
                    _verify_file(step.use, operator, path, (spot, mistakes))
                else:
                    what = f"{value} is a folder, not a file" if path.is_dir() else f"there is no file {value}"
                    mistakes.add(spot, f"`{key}`: {what}", "paths are relative to the pipeline file")


def _verify_file(use: str, operator: Operator, path: Path, noted: tuple[Place, Mistakes]) -> None:
    spot, mistakes = noted
    try:
        operator.verify_file(str(spot[-1]), path)
    except CurateError as error:
        mistakes.add_said(spot, use, error)


def _check_keeps(reference: str, pipeline: Pipeline, built: Built, noted: tuple[Place, Mistakes]) -> None:
    """Note a parameter that needs a file and names a stage which keeps none, or not this one: dataset operators keep files beside rows."""
    spot, mistakes = noted
    name, _, file = reference.partition("/")
    if name not in pipeline.stages:
        return
    if pipeline.stages[name].use is None:
        text = f"`{name}` makes {built.kinds[name]} and keeps no file, but `{spot[-1]}` needs one"
        mistakes.add(spot, text, "name a stage that trains a model, or another dataset operator that keeps a file")
        return
    [operator] = built.operators[name]
    kept = operator.keeps() if isinstance(operator, DatasetOperator) else None
    if file and kept is not None and file not in kept and file.partition("/")[0] not in kept:
        mistakes.add(spot, f"`{name}` keeps no `{file}`", f"it keeps: {', '.join(kept)}")


def _unused(pipeline: Pipeline, built: Built) -> Iterator[tuple[Place, str]]:
    readers: list[Stage | Check] = [*pipeline.stages.values(), *pipeline.checks.values()]
    used = {source for reader in readers for source in (*reader.sources, *references(reader))}
    used |= {output.stage or name for name, output in pipeline.outputs.items()}
    for name in pipeline.inputs:
        if name not in used:
            yield ("inputs", name), f"no stage reads the input `{name}`"
    for name in pipeline.stages if pipeline.outputs else ():
        if name not in used and built.kinds[name] != "artifact":  # a trained model or an index is what somebody wanted
            yield ("stages", name), f"nothing reads the stage `{name}`, and it is no output"


def _cheap_behind_costly(pipeline: Pipeline, built: Built) -> Iterator[tuple[Place, str]]:
    for name, stage in pipeline.stages.items():
        yield from _in_stage(name, stage, built.operators[name])


def _in_stage(name: str, stage: Stage, operators: list[Operator]) -> Iterator[tuple[Place, str]]:
    """Yield the first cheap filter behind a costly step: a new threshold there would repeat the costly work."""
    costly: str | None = None
    for index, (step, operator) in enumerate(zip(stage.operators, operators, strict=False)):
        if costly and isinstance(operator, Filter) and operator.cost == "cheap":
            text = f"a change to the cheap `{step.label}` repeats the costly `{costly}` in stage `{name}`; put it into a stage of its own"
            yield ("stages", name, "operators", index), text
            return
        costly = costly or (step.label if operator.cost == "costly" else None)
