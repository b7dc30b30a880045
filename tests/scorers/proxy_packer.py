"""An operator that stands in a pipeline where `pack` would, and writes a made-up corpus with its tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curate.dataset import Dataset
from curate.protocols import DatasetOperator
from curate.work import Place, Work


def plant(item: Mapping[str, Any], place: Place) -> dict[str, str]:
    """Write the files of the corpus and of a tokenizer."""
    from tests.scorers import proxy_corpora
    from tests.scorers.test_lm_loss import save_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(Path(folder))
        proxy_corpora.write(Path(folder), proxy_corpora.corpus(item["documents"]), vocab_size=300)
        found = {path.name: f"{place.prefix}.{path.name}" for path in sorted(Path(folder).iterdir())}
        for name, path in found.items():
            place.storage.write(path, Path(folder, name).read_bytes())
    return found


def no_rows(item: None, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield nothing."""
    yield pa.RecordBatch.from_pylist([], pa.schema({"id": pa.string(), "rows": pa.int64()}))


@dataclass(frozen=True)
class Plant(DatasetOperator):
    """Writes a packed corpus."""

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"
    documents: int = 300
    as_pack: bool = True

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"rows": pa.int64()}

    def run(self, inputs: list[Dataset], work: Work) -> None:
        [files] = work.map("plant", plant, [{"documents": self.documents}])
        work.write_shards(no_rows, [None])
        for name, path in files.items():
            if self.as_pack or name != "pack.json":
                work.write_file(name, path)
