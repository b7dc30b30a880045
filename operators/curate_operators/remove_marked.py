"""What `remove_lines` and `remove_spans` share: lists that a dataset operator left say what goes from each text."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, drop_columns, leaf, set_column
from curate.errors import PipelineError
from curate.protocols import Mapper


@dataclass(frozen=True)
class RemoveMarked(Mapper):
    """Takes what is marked out of texts, and the column of the marks as well."""

    name: ClassVar[str]
    lists: ClassVar[tuple[str, ...]]  # of whole numbers, in the attributes' column
    made_by: ClassVar[str]

    by: str

    @abstractmethod
    def without(self, texts: pa.Array, *lists: pa.Array) -> pa.Array:
        """Return texts without what the lists say; no text is null, and the first list has an entry for each."""

    def reads(self) -> tuple[str, ...]:
        return (TEXT, *(f"{self.by}.{name}" for name in self.lists))

    def removes(self) -> tuple[str, ...]:
        return (self.by,)

    def verify(self, schema: pa.Schema) -> None:
        if self.by not in schema.names:
            return
        kind = schema.field(self.by).type
        for name in self.lists:
            numbers = kind.field(name).type if pa.types.is_struct(kind) and kind.get_field_index(name) >= 0 else pa.null()
            if not (pa.types.is_list(numbers) and pa.types.is_integer(numbers.value_type)):
                raise PipelineError(f"{self.name}: `{self.by}` has no list of whole numbers `{name}`", self.made_by)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        lists = [leaf(docs, f"{self.by}.{name}") for name in self.lists]
        marked = pc.fill_null(pc.greater(pc.list_value_length(lists[0]), 0), False)
        texts = pc.cast(docs.column(TEXT), TEXT_TYPE)
        if pc.any(marked).as_py():
            chosen = pc.and_(marked, texts.is_valid())
            left = self.without(texts.filter(chosen), *(values.filter(chosen) for values in lists))
            texts = pc.replace_with_mask(texts, chosen, left)
        return drop_columns(set_column(docs, TEXT, texts), [self.by])
