"""Validates a pipeline, from YAML or from Python, and makes its operators; nothing is read and nothing runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from curate.document import ID, PARENT_ID, SOURCE, TEXT
from curate.errors import PipelineError
from curate.manifest import Kind
from curate.pipeline import Pipeline, Stage, Step
from curate.pipeline_data import check_structure, to_data
from curate.pipeline_graph import (
    aligned_to,
    check_alignment,
    check_emits,
    check_names_exist,
    check_references,
    cycle_text,
    emits,
    find_cycle,
    located_references,
    ordered,
)
from curate.pipeline_mistakes import InWords, Mistakes, Place, Positions
from curate.pipeline_params import find_class, make, verb_of
from curate.pipeline_sets import RESERVED
from curate.protocols import Judge, Operator, Scorer

READ_STEP = "read"  # the ledger's name for what readers drop
MAX_NAME = 100  # folders are called by it
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BATCH = ("Filter", "Mapper", "FlatMapper", "Scorer")


@dataclass(frozen=True)
class Built:
    """A valid pipeline made concrete.

    `operators` holds the steps of each stage (one for a dataset operator); `codes` the source of operators from the
    user's files by (stage, step), checks standing as `checks.NAME`; `kinds` what stages make, and the inputs that are artifacts;
    `aligned` the documents that attributes describe.
    """

    order: list[str]
    operators: dict[str, list[Operator]]
    kinds: dict[str, Kind]
    codes: dict[tuple[str, int], str | None]
    checks: dict[str, Judge]
    aligned: dict[str, str]


def validate(pipeline: Pipeline, positions: Positions | None = None) -> Built:
    """Check names, graph, operators and parameters.

    Raises one `PipelineError` with all mistakes; each begins with `file:line` when there are positions, else with words.
    """
    mistakes = Mistakes(positions or InWords(pipeline))
    if positions is None:
        check_structure(to_data(pipeline), mistakes)
        mistakes.raise_any()
    _check_names(pipeline, mistakes)
    _check_links(pipeline, mistakes)
    made = _Maker(pipeline, mistakes).make_all()
    cycle = find_cycle(pipeline)
    if cycle:
        mistakes.add(("stages", cycle[0]), cycle_text(cycle), "one of them must read something else" if len(cycle) > 2 else None)
        mistakes.raise_any()
    kinds = _kinds(pipeline, made.operators, mistakes)
    check_alignment(pipeline, kinds, mistakes)
    mistakes.raise_any()
    return _finish(pipeline, made, {name: kind for name, kind in kinds.items() if kind})


def named_steps(pipeline: Pipeline, built: Built) -> Iterator[tuple[Place, Step, Operator]]:
    """Yield the operator of each step and of each `use`, with its place."""
    for name, stage in pipeline.stages.items():
        steps: list[tuple[Place, Step]] = [(("stages", name), Step(stage.use, stage.params))] if stage.use is not None else []
        steps += [(("stages", name, "operators", index), step) for index, step in enumerate(stage.operators)]
        for (place, step), operator in zip(steps, built.operators[name], strict=False):
            yield place, step, operator


class _Maker:
    """Finds and makes the operators of all stages and checks."""

    def __init__(self, pipeline: Pipeline, mistakes: Mistakes) -> None:
        self.pipeline = pipeline
        self.mistakes = mistakes
        self.operators: dict[str, list[Operator]] = {}
        self.checks: dict[str, Judge] = {}
        self.codes: dict[tuple[str, int], str | None] = {}

    def make_all(self) -> _Maker:
        """Make what can be made; stages with a mistake are left out of `operators`."""
        for name, stage in self.pipeline.stages.items():
            place: Place = ("stages", name)
            if _check_shape(stage, place, self.pipeline, self.mistakes):
                made = list(self._stage(name, stage, place))
                if all(made):
                    self.operators[name] = [operator for operator in made if operator]
        for name, check in self.pipeline.checks.items():
            step = Step(check.use, check.params)
            operator = self._make((f"checks.{name}", 0), step, ("Judge",), ("checks", name))
            if isinstance(operator, Judge):
                self.checks[name] = operator
        return self

    def _stage(self, name: str, stage: Stage, place: Place) -> Iterator[Operator | None]:
        if stage.use is not None:
            yield self._make((name, 0), Step(stage.use, stage.params), ("DatasetOperator",), place)
        for index, step in enumerate(stage.operators):
            spot: Place = (*place, "operators", index)
            operator = self._make((name, index), step, _BATCH, spot)
            if operator is not None and step.into is not None and not isinstance(operator, Scorer):
                hint = "`into` names the column of a Scorer"
                self.mistakes.add((*spot, "into"), f"`{step.use}` is a {verb_of(type(operator))} and has no `into`", hint)
            yield operator

    def _make(self, key: tuple[str, int], step: Step, verbs: tuple[str, ...], place: Place) -> Operator | None:
        try:
            cls, self.codes[key] = find_class(step.use, self.pipeline.folder)
        except PipelineError as error:
            self.mistakes.add_error((*place, "use"), error)
            return None
        verb = verb_of(cls)
        if verb not in verbs:
            self.mistakes.add((*place, "use"), *_misplaced(step.use, verb, verbs))
            return None
        return make(cls, step.use, step.params, place, self.mistakes)


def _misplaced(use: str, verb: str, wanted: tuple[str, ...]) -> tuple[str, str]:
    article = "an" if verb == "Operator" else "a"
    what = f"`{use}` is {article} {verb}"
    if verb == "Operator":
        return f"{what} without a verb", "derive it from Filter, Mapper, FlatMapper, Scorer, DatasetOperator or Judge"
    if verb == "Judge":
        return f"{what}, which judges finished datasets", f"put it under `checks:`: `NAME: {{use: {use}, from: [...]}}`"
    if wanted == ("Judge",):
        return f"{what}, not a Judge", "a check is an operator that judges finished datasets"
    if verb == "DatasetOperator":
        return f"{what} and cannot be a step of a chain", f"give it a stage of its own with `use: {use}` beside `from:`"
    return f"{what}, which works on batches, not on whole datasets", f"write `operators: [{{use: {use}}}]`"


def _check_names(pipeline: Pipeline, mistakes: Mistakes) -> None:
    _check_name(pipeline.name, "pipeline", ("name",), mistakes)
    for section in ("inputs", "stages", "outputs", "checks"):
        for name in getattr(pipeline, section):
            _check_name(name, section.rstrip("s"), (section, name), mistakes)
    for name in pipeline.stages:
        if name in pipeline.inputs:
            mistakes.add(("stages", name), f"`{name}` is the name of an input and of a stage", "give one of them another name")
        if name in RESERVED:
            mistakes.add(("stages", name), f"a stage cannot be called `{name}`", "`--set` uses that word")


def _check_name(name: str, kind: str, place: Place, mistakes: Mistakes) -> None:
    if len(name) > MAX_NAME:
        mistakes.add(place, f"the name of this {kind} has more than {MAX_NAME} characters: `{name[:20]}…`")
    elif not _NAME.fullmatch(name):
        fixed = re.sub(r"[^A-Za-z0-9_]+", "_", name).lstrip("_0123456789")
        rule = "names are letters, digits and `_`, and begin with a letter"
        article = "an" if kind[0] in "aeiou" else "a"
        mistakes.add(place, f"not a name for {article} {kind}: `{name}`", f"{rule}: `{fixed}`" if fixed else rule)


def _check_links(pipeline: Pipeline, mistakes: Mistakes) -> None:
    for name, stage in pipeline.stages.items():
        place: Place = ("stages", name)
        sources: dict[Place, str] = {(*place, "from", i): s for i, s in enumerate(stage.sources)}
        check_names_exist(sources, pipeline, mistakes, inputs_too=True)
        check_references({(*place, *p): n for p, n in located_references(stage)}, pipeline, mistakes)
        _check_apply(stage, place, mistakes)
        for source, times in Counter(stage.sources).items():
            if times > 1:
                mistakes.add((*place, "from"), f"`{source}` stands in `from` {times} times")
    outputs: dict[Place, str] = {("outputs", n, "stage") if o.stage else ("outputs", n): o.stage or n for n, o in pipeline.outputs.items()}
    check_names_exist(outputs, pipeline, mistakes)
    for name, check in pipeline.checks.items():
        check_names_exist({("checks", name, "from", i): s for i, s in enumerate(check.sources)}, pipeline, mistakes)
        check_references({("checks", name, *p): n for p, n in located_references(check)}, pipeline, mistakes)


def _check_apply(stage: Stage, place: Place, mistakes: Mistakes) -> None:
    for index, name in enumerate(stage.apply):
        if name not in stage.sources[1:]:
            hint = f"write `from: [{', '.join([*stage.sources, name])}]`" if name not in stage.sources else "documents come first in `from`"
            mistakes.add((*place, "apply", index), f"`apply` names `{name}`, which is not among the attributes in `from`", hint)


def _check_shape(stage: Stage, place: Place, pipeline: Pipeline, mistakes: Mistakes) -> bool:
    """Note what cannot stand together in a stage, and tell whether its operators can be made."""
    if stage.use is not None and (stage.operators or stage.apply):
        second = "operators" if stage.operators else "apply"
        mistakes.add((*place, "use"), f"a stage has `use` or `{second}`, not both", "`use` is for one dataset operator; make two stages")
        return False
    imports = all(source in pipeline.inputs for source in stage.sources)
    if stage.use is None and not stage.operators and not stage.apply and not imports:
        mistakes.add(place, "the stage does nothing", "give it `operators:` (a chain), `use:` (a dataset operator) or `apply:`")
    if stage.use is None and stage.params:
        mistakes.add((*place, "params"), "`params` of a stage belong to its `use`, and it has none", "a step has its own `params:`")
    if stage.use is not None and stage.trace is not None:
        mistakes.add((*place, "trace"), "`trace` follows the edits of a chain, and a dataset operator makes none")
    _check_steps(stage, place, mistakes)
    return True


def _check_steps(stage: Stage, place: Place, mistakes: Mistakes) -> None:
    seen = {READ_STEP: "the reader"} | dict.fromkeys(stage.apply, "`apply`")
    for index, step in enumerate(stage.operators):
        spot: Place = (*place, "operators", index)
        for key in ("name", "into"):
            value = getattr(step, key)
            if value is not None:
                _check_name(value, "step" if key == "name" else "column", (*spot, key), mistakes)
        if step.label in seen:
            mistakes.add(spot, f"the step's name `{step.label}` is taken by {seen[step.label]}", "give it another `name:`")
        if step.into in (ID, TEXT, SOURCE, PARENT_ID):
            mistakes.add((*spot, "into"), f"`into: {step.into}` would replace a column that documents have", "choose another name")
        seen.setdefault(step.label, f"step {index + 1}")


def _kinds(pipeline: Pipeline, operators: dict[str, list[Operator]], mistakes: Mistakes) -> dict[str, Kind | None]:
    kinds: dict[str, Kind | None] = {name: "artifact" for name, spec in pipeline.inputs.items() if spec.artifact is not None}
    for name, stage in pipeline.stages.items():
        made = operators.get(name)
        kinds[name] = emits(stage, made) if made is not None else None
        if made is not None:
            check_emits(stage, made, ("stages", name), mistakes)
    return kinds


def _finish(pipeline: Pipeline, made: _Maker, kinds: dict[str, Kind]) -> Built:
    aligned = {name: aligned_to(name, pipeline, kinds) for name, kind in kinds.items() if kind == "attributes"}
    return Built(ordered(pipeline), made.operators, kinds, made.codes, made.checks, aligned)
