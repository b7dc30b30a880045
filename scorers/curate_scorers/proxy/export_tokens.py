"""Exports tokens as files that other trainers read.

The artifact keeps the files of each part (`tokens-00000.bin` and `.idx`, or `tokens-00000.ds` and what goes with it) and those of the
tokenizer. Its rows say which document lies where:

| column | type   | is                                         |
|--------|--------|--------------------------------------------|
| id     | string | the document                               |
| part   | int32  | the number in the names of the files       |
| start  | int64  | the token of that part where it begins     |
| length | int64  | its tokens                                 |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate import beside
from curate.beside import Item
from curate.dataset import Dataset
from curate.document import ID
from curate.errors import PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator, Operator
from curate.report.units import plural
from curate.work import Place, Verdict, Work
from curate_scorers.proxy import token_files, token_order, tokenizer_files
from curate_scorers.proxy.token_files import ENDINGS, Format

FIELDS = {"part": pa.int32(), "start": pa.int64(), "length": pa.int64()}


@dataclass(frozen=True)
class ExportTokens(DatasetOperator):
    """Exports the tokens of documents as files for Megatron-LM, nanotron or datatrove.

    ## What it does
    Brings the documents into a random order, that of a seeded hash of their ids, and writes their tokens one behind the other, with an
    index of where each begins: `megatron` is a `.bin` and an `.idx`, `datatrove` (which nanotron reads) a `.ds`, its `.index` and its
    `.metadata`. Tokens have two bytes when the vocabulary fits, else four. There are as many parts as the tokens need. The same
    documents give the same bytes for any number of workers and any layout of shards. Documents without tokens are left out.

    ## Why
    Whoever trains with another framework gets what that framework reads, and still knows which document each token came from.

    ## Example
        megatron:
          from: [clean, tokens]
          use: export_tokens
          params: {tokenizer: "stage:tokenizer", format: megatron}

    ## Parameters
    - `tokenizer`: the tokenizer of the tokens: a folder, or `stage:NAME`; its files are part of the identity and stand beside the parts.
    - `format`: `megatron` or `datatrove`.
    - `column`: where the tokens are: the stage, the step's `into` and `ids`; or a column of the documents.
    - `seed`: of the order.

    ## Source
    The formats: the head of `token_files.py`.
    """

    files: ClassVar[tuple[str, ...]] = ("tokenizer",)
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    tokenizer: str
    format: Format
    column: str = "tokens.tokens.ids"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.format not in ENDINGS:
            raise PipelineError(f"export_tokens: no such format: {self.format}", f"known: {', '.join(ENDINGS)}")
        if self.seed < 0:
            raise PipelineError(f"export_tokens: seed is less than 0: {self.seed}")

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        token_order.verify_column("export_tokens", schema, self.column)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("export_tokens", sources, token_order.SOURCES)

    def verify_stages(self, stages: Mapping[str, Sequence[Operator]]) -> None:
        token_order.verify_tokenizer("export_tokens", self.tokenizer, self.column, stages)

    def verify_file(self, parameter: str, path: Path) -> None:
        tokenizer_files.describe(str(path))

    def adds(self) -> Mapping[str, pa.DataType]:
        return FIELDS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        tokenizer = tokenizer_files.describe(self.tokenizer)
        items, counts = token_order.partitions("export_tokens", inputs, self.column, tokenizer, self.seed, work)
        made = work.map("export", export_partition, [item | {"part": part, "format": self.format} for part, item in enumerate(items)])
        work.write_shards(index_partition, [one["index"] for one in made])
        for part, one in enumerate(made):
            for ending, path in one["files"].items():
                work.write_file(f"tokens-{part:05d}{ending}", path)
        tokenizer_files.keep(tokenizer, work)
        full = counts["documents"] - counts["empty"]
        about = {"format": self.format, "tokens": counts["tokens"], "documents": full, "vocab_size": tokenizer.size, "parts": len(made)}
        work.about = {"operator": "export_tokens"} | about
        message = f"{plural(counts['tokens'], 'token')} of {plural(full, 'document')} in {plural(len(made), 'part')}"
        message += f"; {plural(counts['empty'], 'document')} without tokens" if counts["empty"] else ""
        work.note("tokens", Verdict(True, message, about))


def export_partition(item: Item, place: Place) -> Item:
    """Write the files of a partition; return where they are."""
    documents = token_order.receive(item, place)
    dtype = token_files.token_type(item["format"], documents.values.dtype)
    first, *_ = ENDINGS[item["format"]]
    files = {first: f"{place.prefix}{first}"}
    token_files.write_tokens(place.storage, files[first], documents.values, documents.begin, documents.length, dtype)
    for ending, data in token_files.index_files(item["format"], documents.length, dtype).items():
        files[ending] = f"{place.prefix}{ending}"
        place.storage.write(files[ending], data)
    numbers: dict[str, Any] = {"part": np.full(len(documents.length), item["part"]), "length": documents.length}
    numbers["start"] = np.cumsum(documents.length) - documents.length
    columns = [pa.array(numbers[name]).cast(kind) for name, kind in FIELDS.items()]
    return {"files": files, "index": place.write_table("index", pa.table([documents.ids, *columns], [ID, *FIELDS]))}


def index_partition(item: str, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield which documents lie where."""
    yield from place.read_table(item).to_batches(max_chunksize=1 << 16)
