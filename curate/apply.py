"""Drops the documents that a dataset operator marked, with the evidence for each; the stage key `apply:` is sugar for it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import OperatorError, PipelineError
from curate.protocols import Filter

KEEP = "keep"
EVIDENCE = {"reason": pa.string(), "value": pa.float64(), "kept_id": pa.string(), "similarity": pa.float64()}
UNKNOWN = "unknown"
NOT_KEPT = "not_kept"


@dataclass(frozen=True)
class Apply(Filter):
    """Drops the documents that an attributes dataset marks with `keep` = false.

    ## What it does
    Reads the struct column of the attributes and drops each document whose `keep` is false. The ledger gets what the attributes
    say beside it: `reason` (else `not_kept`), `value`, `kept_id` (the document that stays instead) and `similarity`. A
    `keep` without answer drops with the reason `unknown`.

    ## Why
    `where` could drop the same documents, but would lose why: which document each one repeats, and how closely.

    ## Example
        corpus:
          from: [clean, dedup]
          apply: [dedup]

    ## Parameters
    - `by`: the column of the attributes, which has the name of the stage that made them.
    """

    by: str

    def reads(self) -> tuple[str, ...]:
        return (f"{self.by}.{KEEP}",)

    def verify(self, schema: pa.Schema) -> None:
        if self.by not in schema.names:
            return
        found = schema.field(self.by).type
        if not pa.types.is_struct(found) or found.get_field_index(KEEP) < 0 or not pa.types.is_boolean(found.field(KEEP).type):
            raise PipelineError(
                f"apply: column `{self.by}` is {found}, without a true-or-false `{KEEP}`",
                "`apply` takes the attributes of a deduplication or a selection; thresholds on scores go into `where`",
            )

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        marks = _fields(docs.column(self.by), self.by)
        keep = marks[KEEP]
        kept = pc.fill_null(keep, False)
        default = pc.if_else(pc.is_null(keep), UNKNOWN, NOT_KEPT)
        columns = {name: pc.cast(marks[name], kind) for name, kind in EVIDENCE.items() if name in marks}
        columns["reason"] = pc.coalesce(columns["reason"], default) if "reason" in columns else default
        fields = [pa.field(name, EVIDENCE[name]) for name in EVIDENCE if name in columns]
        arrays = [pc.if_else(kept, pa.scalar(None, field.type), columns[field.name]) for field in fields]
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=kept)


def _fields(marks: pa.Array, name: str) -> dict[str, pa.Array]:
    """Return the struct's fields by name; a null struct has null fields."""
    if not pa.types.is_struct(marks.type):
        raise OperatorError(f"apply: column `{name}` is {marks.type}, not a struct with `{KEEP}`")
    return {field.name: values for field, values in zip(marks.type, marks.flatten(), strict=True)}
