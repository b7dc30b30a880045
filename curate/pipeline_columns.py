"""The columns that flow through the stages of a pipeline, followed from the operators' declarations alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from curate.document import ID, ID_TYPE, PARENT_ID, TEXT, type_at
from curate.errors import CurateError
from curate.manifest import Kind
from curate.pipeline import Check, Pipeline, Stage, Step
from curate.pipeline_mistakes import Mistakes, Place
from curate.pipeline_validate import Built
from curate.protocols import DatasetOperator, FlatMapper, Mapper, Operator, Scorer
from curate.registry import suggest

KEEP = "keep"
MAX_LISTED = 20


@dataclass
class Columns:
    """The columns at one point of a pipeline; `open` = there may be more. `gone` says what removed a column."""

    types: dict[str, pa.DataType]
    open: bool = False
    gone: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Columns:
        """Return columns that can be changed without changing these."""
        return Columns(dict(self.types), self.open, dict(self.gone))

    def has(self, path: str) -> bool:
        """Tell whether a dotted path is there, or may be."""
        head = path.split(".")[0]
        return type_at(self.types, path) is not None or (self.open and head not in self.types and head not in self.gone)

    def remove(self, name: str, by: str) -> None:
        """Take a column out and remember who did."""
        self.types.pop(name, None)
        self.gone[name] = by

    def paths(self) -> list[str]:
        """Return all columns and the fields of structs as dotted paths."""
        return [path for name, kind in self.types.items() for path in _paths(name, kind)]

    def schema(self) -> pa.Schema:
        """Return the known columns."""
        return pa.schema(list(self.types.items()))


class Walk:
    """Follows the columns stage by stage; `results` holds those of every input and of every stage already seen."""

    def __init__(self, pipeline: Pipeline, built: Built, mistakes: Mistakes) -> None:
        self.pipeline = pipeline
        self.built = built
        self.mistakes = mistakes
        self.results: dict[str, Columns] = {}

    def stage(self, name: str) -> Columns:
        """Return the columns of a stage's dataset and note what is wrong on the way there."""
        stage, operators = self.pipeline.stages[name], self.built.operators[name]
        place: Place = ("stages", name)
        if stage.use is not None:
            return self._dataset_operator(stage, operators[0], place)
        columns = self._read(stage, stage.sources[0], place)
        for index, applied in enumerate(stage.apply):
            self._apply(applied, columns, (*place, "apply", index))
        measured: dict[str, pa.DataType] = {ID: ID_TYPE}
        for index, (step, operator) in enumerate(zip(stage.operators, operators, strict=True)):
            spot: Place = (*place, "operators", index)
            try:
                self._step(step, operator, columns, spot)
            except CurateError as error:
                self.mistakes.add_said(spot, step.use, error)
            measured |= {c: columns.types[c] for c in _made(step, operator) if c in columns.types}
        return Columns(measured) if self.built.kinds[name] == "attributes" else columns

    def _read(self, stage: Stage, first: str, place: Place) -> Columns:
        """Return the columns of documents with the stage's attributes beside them, as structs named by their stage."""
        columns = self.results[first].copy()
        for index, source in enumerate(stage.sources):
            if source == first or self.built.kinds.get(source) != "attributes":
                continue
            if source in columns.types:
                hint = "give the stage another name"
                self.mistakes.add((*place, "from", index), f"the attributes `{source}` clash with a column of `{first}`", hint)
            fields = [(n, t) for n, t in self.results[source].types.items() if n != ID]
            columns.types[source] = pa.struct(fields)
        return columns

    def _apply(self, name: str, columns: Columns, place: Place) -> None:
        keep = type_at(columns.types, f"{name}.{KEEP}")
        if keep is None or not pa.types.is_boolean(keep):
            there = ", ".join(path.partition(".")[2] for path in columns.paths() if path.startswith(f"{name}.")) or "nothing"
            hint = f"decide with `use: where` and a condition on `{name}.…` instead"
            self.mistakes.add(place, f"`apply` needs a true-or-false column `{name}.{KEEP}`; `{name}` has {there}", hint)
        columns.remove(name, f"`apply` has used it up; to read it afterwards, write `{{use: apply, params: {{by: {name}}}}}` as a step")

    def _step(self, step: Step, operator: Operator, columns: Columns, place: Place) -> None:
        complete = self._check_reads(step.use, operator, operator.reads(), columns, place)
        if complete and not columns.open:
            operator.verify(columns.schema())
        if isinstance(operator, Scorer):
            self._score(step, operator, columns, place)
        if isinstance(operator, Mapper):
            for removed in operator.removes():
                columns.remove(removed, f"`{step.label}` has removed it")
        if isinstance(operator, Mapper | FlatMapper):
            columns.types |= operator.adds()
        if isinstance(operator, FlatMapper):
            columns.types[PARENT_ID] = ID_TYPE

    def _score(self, step: Step, operator: Scorer, columns: Columns, place: Place) -> None:
        name = step.into or step.label
        if name in columns.types:
            self.mistakes.add(place, f"`{step.use}` makes the column `{name}`, which is there already", "choose another one with `into:`")
        columns.types[name] = operator.output()

    def _dataset_operator(self, stage: Stage, operator: Operator, place: Place) -> Columns:
        assert isinstance(operator, DatasetOperator)
        kinds = self.built.kinds
        documents = [s for s in stage.sources if kinds.get(s, "documents") == "documents"] or [stage.sources[0]]
        read = [self._read(stage, source, place) for source in documents]
        for number, (source, columns) in enumerate(zip(documents, read, strict=True)):
            try:
                reads = operator.reads_of(number, source)
                if self._check_reads(str(stage.use), operator, reads, columns, place) and not columns.open:
                    operator.verify(columns.schema())
            except CurateError as error:
                self.mistakes.add_said(place, str(stage.use), error)
        self._verify_sources(stage, operator, place)
        kind = kinds[str(place[1])]
        if kind == "artifact":
            return Columns({ID: ID_TYPE, **operator.adds()} if operator.adds() else {})
        if kind == "attributes":
            return Columns({ID: ID_TYPE, **operator.adds()})
        first = self.results[documents[0]].copy()
        first.types |= operator.adds()
        return first

    def _verify_sources(self, stage: Stage, operator: DatasetOperator, place: Place) -> None:
        try:
            sources = self._kinds(stage)
            operator.verify_sources(sources)
            stages = self.pipeline.stages
            operator.verify_lineage(sources, {name: self._kinds(stages[name]) for name in sources if name in stages})
            made = [name for name, kind in sources.items() if kind == "artifact" and name in stages]
            operator.verify_tables({name: self.results[name].schema() for name in made})
            operator.verify_stages(self.built.operators)
        except CurateError as error:
            self.mistakes.add_said(place, str(stage.use), error)

    def check(self, name: str) -> None:
        """Note what a check cannot judge."""
        check, stages = self.pipeline.checks[name], self.pipeline.stages
        try:
            sources = self._kinds(check)
            self.built.checks[name].verify_lineage(sources, {name: self._kinds(stages[name]) for name in sources if name in stages})
        except CurateError as error:
            self.mistakes.add_said(("checks", name), check.use, error)

    def _kinds(self, stage: Stage | Check) -> dict[str, Kind]:
        """Return what each source of a stage or a check holds, in order."""
        return {source: self.built.kinds.get(source, "documents") for source in stage.sources}

    def _check_reads(self, use: str, operator: Operator, reads: Sequence[str], columns: Columns, place: Place) -> bool:
        missing = [path for path in reads if not columns.has(path)]
        for path in missing:
            there = list(columns.types)
            more = ", …" if len(there) > MAX_LISTED else ""
            text = f"`{use}` reads the column `{path}`, which is not there; columns: {', '.join(there[:MAX_LISTED])}{more}"
            self.mistakes.add(place, text, self._hint(path, columns, place) or _may_be_null(operator, path))
        return not missing

    def _hint(self, path: str, columns: Columns, place: Place) -> str | None:
        head = path.split(".")[0]
        if head in columns.gone:
            return columns.gone[head]
        if path == TEXT and "html" in columns.types:
            return "use `extract_html` first: it makes `text` from `html`"
        name = str(place[1])
        if self.built.kinds.get(head) == "attributes" and head != name:
            sources = [source for source in self.pipeline.stages[name].sources if source != head] or [self.built.aligned[head]]
            return f"add it to the stage's sources: `from: [{', '.join([*sources, head])}]`"
        paths = columns.paths()
        nested = [p for p in paths if p.endswith(f".{path}") or p.startswith(path)]
        if nested:
            return f"did you mean `{nested[0]}`?"
        return self._made_later(head, name, place) or suggest(path, paths)

    def _made_later(self, column: str, name: str, place: Place) -> str | None:
        stage = self.pipeline.stages[name]
        after = int(place[3]) if len(place) > 3 else len(stage.operators)
        pairs: Sequence[tuple[Step, Operator]] = list(zip(stage.operators, self.built.operators[name], strict=False))
        for index, (step, operator) in enumerate(pairs[after + 1 :], after + 2):
            if column in _made(step, operator):
                return f"`{step.label}` (step {index}) makes it: put that step first"
        return None


def _may_be_null(operator: Operator, path: str) -> str | None:
    """Return a hint when a column was asked for by a parameter that may be null."""
    names = [f.name for f in dataclasses.fields(cast(Any, operator)) if "None" in str(f.type) and getattr(operator, f.name) == path]
    return f"name another column in `{names[0]}`, or write `{names[0]}: null` to do without" if names else None


def _made(step: Step, operator: Operator) -> list[str]:
    if isinstance(operator, Scorer):
        return [step.into or step.label]
    return list(operator.adds()) if isinstance(operator, Mapper | FlatMapper) else []


def _paths(name: str, kind: pa.DataType) -> list[str]:
    fields = kind.fields if isinstance(kind, pa.StructType) else []
    return [name, *(path for f in fields for path in _paths(f"{name}.{f.name}", f.type))]
