"""Checks the columns of a pipeline, and the files that operators need, before anything runs, and warns of what is right but unwise.

Input schemas come from the readers; an input without one is open: its unknown columns are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from curate.document import ID, ID_TYPE
from curate.pipeline import Check, Pipeline, Stage
from curate.pipeline_columns import Columns, Walk
from curate.pipeline_graph import REFERENCE, references
from curate.pipeline_mistakes import InWords, Mistakes, Place, Positions
from curate.pipeline_validate import Built
from curate.protocols import Filter, Operator
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
    walk = Walk(pipeline, built, mistakes)
    walk.results = {name: _of_input(schemas.get(name)) for name in pipeline.inputs}
    for name in built.order:
        walk.results[name] = walk.stage(name)
    _check_report_by(pipeline, walk.results, mistakes)
    _check_files(pipeline, built, mistakes)
    mistakes.raise_any()
    return {name: walk.results[name].schema() for name in built.order}


def warnings(pipeline: Pipeline, built: Built, positions: Positions | None = None) -> list[str]:
    """Return what is allowed but likely not meant, each beginning with its place."""
    locator = positions or InWords(pipeline)
    found = [*_unused(pipeline), *_cheap_behind_costly(pipeline, built)]
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
    for name, stage in pipeline.stages.items():
        steps: list[tuple[Place, Mapping[str, Any]]] = [(("stages", name), stage.params)] if stage.use else []
        steps += [(("stages", name, "operators", index), step.params) for index, step in enumerate(stage.operators)]
        for (place, params), operator in zip(steps, built.operators[name], strict=False):
            for key in operator.files:
                path, spot = params.get(key), (*place, "params", key)
                if isinstance(path, str) and path.startswith(REFERENCE):
                    _check_keeps(path.removeprefix(REFERENCE).partition("/")[0], built, spot, mistakes)
                elif isinstance(path, str) and not is_remote(path) and not (pipeline.folder / path).is_file():
                    mistakes.add(spot, f"`{key}`: there is no file {path}", "paths are relative to the pipeline file")


def _check_keeps(name: str, built: Built, place: Place, mistakes: Mistakes) -> None:
    """Note a parameter that needs a file and names a stage which keeps none."""
    kind = built.kinds.get(name)
    if kind != "artifact":
        mistakes.add(place, f"`{name}` makes {kind}, and `{place[-1]}` needs a file of an artifact", "name a stage that trains a model")


def _unused(pipeline: Pipeline) -> Iterator[tuple[Place, str]]:
    readers: list[Stage | Check] = [*pipeline.stages.values(), *pipeline.checks.values()]
    used = {source for reader in readers for source in (*reader.sources, *references(reader))}
    used |= {output.stage or name for name, output in pipeline.outputs.items()}
    for name in pipeline.inputs:
        if name not in used:
            yield ("inputs", name), f"no stage reads the input `{name}`"
    for name in pipeline.stages if pipeline.outputs else ():
        if name not in used:
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
