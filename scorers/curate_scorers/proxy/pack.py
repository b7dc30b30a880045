"""Packs tokens into rows for training, as NumPy files that are mapped and never loaded.

The artifact keeps, besides what `pack.json` says of them and the tokenizer's own files, three files for each part:

    tokens-00000.npy   uint16, or uint32 for a vocabulary above 65,536; rows × length, padding behind what is used
    first-00000.npy    int64, rows + 1: where the pieces of each row begin in `lengths`
    lengths-00000.npy  int32: tokens of each piece in order, so that masks and positions can begin anew

Its rows say which document lies where:

| column | type   | is                                                |
|--------|--------|---------------------------------------------------|
| id     | string | the document                                      |
| part   | int32  | the number in the names of the files              |
| row    | int64  | the row in that part                              |
| offset | int32  | where the piece begins in the row                 |
| start  | int64  | where it begins in the document                   |
| length | int32  | its tokens                                        |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import orjson
import pyarrow as pa

from curate import beside
from curate.beside import Item
from curate.dataset import Dataset
from curate.document import ID
from curate.errors import OperatorError, PipelineError
from curate.manifest import Kind
from curate.protocols import DatasetOperator, Operator
from curate.report.units import plural, share
from curate.work import Place, Verdict, Work
from curate_scorers.proxy import packing, token_order, tokenizer_files
from curate_scorers.proxy.packing import Method, Pieces
from curate_scorers.proxy.token_order import Documents
from curate_scorers.proxy.tokenizer_files import Tokenizer

FORMAT = 1
DESCRIPTION = "pack.json"
LONGEST = 1 << 24  # a row that is longer is a mistake
FIELDS = {"part": pa.int32(), "row": pa.int64(), "offset": pa.int32(), "start": pa.int64(), "length": pa.int32()}
KINDS = ("tokens", "first", "lengths")


@dataclass(frozen=True)
class Pack(DatasetOperator):
    """Packs the tokens of documents into rows of one length, with the boundaries of documents kept.

    ## What it does
    Brings the documents into a random order, that of a seeded hash of their ids, and lays them into rows of `length` tokens.
    `best_fit` puts the longest first into the row with the least space that takes it, so that only documents longer than a row are
    cut; what stays free is padded with the token that ends documents. `concatenate` lays one behind the other and cuts where a row
    ends. Every token is in exactly one place. Files and rows of the artifact: the head of this file. The same documents give the same
    bytes for any number of workers and any layout of shards. Notes and `pack.json` tell how much is padding and how many documents
    are cut. Documents without tokens are left out and counted.

    ## Why
    Cut documents teach a model to invent what it cannot see. Best fit removes nearly all cuts for well under a hundredth of padding,
    and a trainer that knows the pieces lets no document look into another.

    ## Example
        packed:
          from: [clean, tokens]
          use: pack
          params: {tokenizer: "stage:tokenizer", length: 2048}

    ## Parameters
    - `tokenizer`: the tokenizer of the tokens: a folder, or `stage:NAME`; its files are part of the identity and stand beside the rows.
    - `length`: tokens of a row, from 2.
    - `method`: `best_fit` or `concatenate`.
    - `column`: where the tokens are: the stage, the step's `into` and `ids`; or a column of the documents.
    - `eos`: the text of the token that ends documents; null = the `eos_token` of the tokenizer's configuration.
    - `seed`: of the order.

    ## Source
    Ding et al., *Fewer Truncations Improve Language Modeling* (2024).
    """

    files: ClassVar[tuple[str, ...]] = ("tokenizer",)
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    tokenizer: str
    length: int
    method: Method = "best_fit"
    column: str = "tokens.tokens.ids"
    eos: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.length <= LONGEST:
            raise PipelineError(f"pack: length is not from 2 to {LONGEST:,}: {self.length}", "as many tokens as the model sees at a time")
        if not 0 <= self.seed < 1 << 32:
            raise PipelineError(f"pack: seed is not from 0 to below 2³²: {self.seed}")

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        token_order.verify_column("pack", schema, self.column)

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("pack", sources, token_order.SOURCES)

    def verify_stages(self, stages: Mapping[str, Sequence[Operator]]) -> None:
        token_order.verify_tokenizer("pack", self.tokenizer, self.column, stages)

    def verify_file(self, parameter: str, path: Path) -> None:
        self._described(str(path))

    def adds(self) -> Mapping[str, pa.DataType]:
        return FIELDS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        tokenizer = self._described(self.tokenizer)
        items, counts = token_order.partitions("pack", inputs, self.column, tokenizer, self.seed, work)
        shared = {"length": self.length, "method": self.method, "seed": self.seed, "padding": tokenizer.eos_number}
        made = work.map("pack", pack_partition, [item | shared | {"part": part} for part, item in enumerate(items)])
        work.write_shards(index_partition, [one["index"] for one in made])
        for part, one in enumerate(made):
            for kind in KINDS:
                work.write_file(f"{kind}-{part:05d}.npy", one["files"][kind])
        tokenizer_files.keep(tokenizer, work)
        found = self._found(made, counts, tokenizer)
        tokenizer_files.keep_bytes(DESCRIPTION, orjson.dumps(found, option=orjson.OPT_INDENT_2), work)
        work.about = {"operator": "pack"} | found
        work.note("rows", self._verdict(made, found))

    def _described(self, place: str) -> Tokenizer:
        found = tokenizer_files.describe(place, self.eos)
        if found.eos is None:
            raise OperatorError(f"tokenizer {place} names no token that ends documents", "name one with `eos`")
        return found

    def _found(self, made: Sequence[Item], counts: Item, tokenizer: Tokenizer) -> Item:
        """Return what `pack.json` says."""
        rows = sum(one["rows"] for one in made)
        return {
            "format": FORMAT,
            "vocab_size": tokenizer.size,
            "length": self.length,
            "rows": rows,
            "tokens": counts["tokens"],
            "eos": tokenizer.eos_number,
            "method": self.method,
            "dtype": tokenizer.dtype.name,
            "waste_ratio": 1 - counts["tokens"] / (rows * self.length),
            "documents": counts["documents"],
            "empty_documents": counts["empty"],
            "cut_documents": sum(one["cut"] for one in made),
            "truncated_tokens": 0,
            "parts": [{"rows": one["rows"], "tokens": one["tokens"]} for one in made],
            "tokenizer": {"files": sorted(tokenizer.files)},
        }

    def _verdict(self, made: Sequence[Item], found: Item) -> Verdict:
        full = found["documents"] - found["empty_documents"]
        message = f"{plural(found['rows'], 'row')} of {self.length:,} tokens hold {plural(full, 'document')}: "
        message += f"{share(found['waste_ratio'], 1)} is padding, {share(found['cut_documents'], full)} of documents are cut"
        message += f"; {plural(found['empty_documents'], 'document')} without tokens" if found["empty_documents"] else ""
        own = {"rows": found["rows"], "padding": found["waste_ratio"], "cut documents": found["cut_documents"]}
        ways: dict[str, Any] = {self.method: own}
        if self.method == "best_fit":
            plain = {name: sum(one["plain"][name] for one in made) for name in ("rows", "cut")}
            padding = 1 - found["tokens"] / (plain["rows"] * self.length)
            ways["concatenate"] = {"rows": plain["rows"], "padding": padding, "cut documents": plain["cut"]}
        return Verdict(True, message, ways)


def pack_partition(item: Item, place: Place) -> Item:
    """Lay the documents of a partition into rows and write its files; return where they are and what is in them."""
    documents = token_order.receive(item, place)
    pieces = packing.lay(documents.length, item["length"], item["method"], item["seed"])
    arrays = {"tokens": rows_of(documents, pieces, item), "first": pieces.first, "lengths": pieces.length.astype("<i4")}
    written = {kind: _write(place, f"{kind}.npy", array) for kind, array in arrays.items()}
    plain = packing.concatenate(documents.length, item["length"])
    told = {"rows": pieces.rows, "tokens": int(documents.length.sum()), "cut": pieces.cut_documents}
    compared = {"rows": plain.rows, "cut": plain.cut_documents}
    return {"files": written, **told, "plain": compared, "index": place.write_table("index", _index(documents, pieces, item["part"]))}


def rows_of(documents: Documents, pieces: Pieces, item: Mapping[str, Any]) -> Any:
    """Return the tokens of a part, row by row."""
    rows = np.full((pieces.rows, item["length"]), item["padding"], documents.values.dtype)
    flat = rows.reshape(-1)
    begins = (documents.begin[pieces.document] + pieces.start).tolist()
    targets = (pieces.row * item["length"] + pieces.offset).tolist()
    for begin, target, length in zip(begins, targets, pieces.length.tolist(), strict=True):
        flat[target : target + length] = documents.values[begin : begin + length]
    return rows


def index_partition(item: str, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield which documents lie where."""
    yield from place.read_table(item).to_batches(max_chunksize=1 << 16)


def _index(documents: Documents, pieces: Pieces, part: int) -> pa.Table:
    numbers = {"part": np.full(len(pieces.row), part), "row": pieces.row, "offset": pieces.offset}
    numbers |= {"start": pieces.start, "length": pieces.length}
    columns = [pa.array(numbers[name]).cast(kind) for name, kind in FIELDS.items()]
    return pa.table([documents.ids.take(pa.array(pieces.document)), *columns], [ID, *FIELDS])


def _write(place: Place, name: str, array: Any) -> str:
    path = f"{place.prefix}.{name}"
    with place.storage.open_output(path) as out:
        np.lib.format.write_array(out, array, allow_pickle=False)
    return path
