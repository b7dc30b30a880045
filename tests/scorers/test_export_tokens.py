"""`export_tokens`: files that readers written from the formats' descriptions read back, document by document."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from curate.dataset import Dataset
from curate.errors import CurateError, PipelineError
from curate.pipeline import Pipeline, Stage
from curate_scorers.proxy import token_files, token_order
from curate_scorers.proxy.export_tokens import ExportTokens
from tests.engine import small
from tests.scorers.small_tokenizers import documents, made, pipeline, save_tokenizer, tokens_of


def exported(folder: Path, format: str, shards: int = 3, far: bool = False, **params: Any) -> Pipeline:
    """Return a pipeline that exports documents; `far` gives the tokenizer a token that needs four bytes."""
    path = save_tokenizer(folder / "tokenizer") / "tokenizer.json"
    if far:
        told = orjson.loads(path.read_bytes())
        told["added_tokens"].append(told["added_tokens"][0] | {"id": 70_000, "content": "<|far|>"})
        path.write_bytes(orjson.dumps(told))
    stage = Stage(["crawl", "tokens"], use="export_tokens", params={"tokenizer": "tokenizer", "format": format, **params})
    return pipeline(folder, documents(60), {"exported": stage}, shards)


def read_megatron(prefix: Path) -> list[list[int]]:
    """Return the tokens of each document: a reader written from the format's description."""
    with open(f"{prefix}.idx", "rb") as file:
        assert file.read(9) == b"MMIDIDX\x00\x00"
        version, code, sequences, bounds = struct.unpack("<QBQQ", file.read(25))
        lengths, pointers = np.fromfile(file, "<i4", sequences), np.fromfile(file, "<i8", sequences)
        edges = np.fromfile(file, "<i8", bounds)
        assert version == 1 and file.read() == b""
    kind = {4: np.dtype("<i4"), 8: np.dtype("<u2")}[code]
    data = np.memmap(f"{prefix}.bin", kind, "r")
    assert len(data) == lengths.sum()
    found = [data[pointer // kind.itemsize :][:length].tolist() for pointer, length in zip(pointers, lengths, strict=True)]
    return [[token for sequence in found[one:other] for token in sequence] for one, other in zip(edges, edges[1:], strict=False)]


def read_datatrove(path: Path) -> list[list[int]]:
    """Return the tokens of each document: a reader written from the format's description."""
    name, number, _ = Path(f"{path}.metadata").read_text().split("\n")
    data = np.memmap(path, {"2": "<u2", "4": "<u4"}[name.rpartition("|")[2]], "r")
    ends = np.fromfile(f"{path}.index", "<u8").astype(int)
    assert len(data) == int(number) == ends[-1]
    return [data[start:stop].tolist() for start, stop in zip([0, *ends], ends, strict=False)]


def read(dataset: Dataset, format: str) -> list[list[list[int]]]:
    """Return the documents of each part."""
    ending, reader = (".bin", read_megatron) if format == "megatron" else (".ds", read_datatrove)
    files = sorted(Path(dataset.url).glob(f"tokens-*{ending}"))
    return [reader(file.with_suffix("") if format == "megatron" else file) for file in files]


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("format", ["megatron", "datatrove"])
def test_every_document_is_read_back(tmp_path: Path, format: str, far: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_order, "PART_BYTES", 1000)
    pipe = exported(tmp_path, format, far=far)
    found = made(pipe, tmp_path / "ws", "exported")
    parts, rows = read(found, format), small.rows(found)
    assert len(parts) > 2 and sum(map(len, parts)) == found.rows
    places = [(row["part"], row["start"]) for row in rows]
    assert places == sorted(places)
    documents = [tokens for part in parts for tokens in part]
    assert [row["length"] for row in rows] == [len(tokens) for tokens in documents]
    assert dict(zip((row["id"] for row in rows), documents, strict=True)) == tokens_of(pipe, tmp_path / "ws")
    starts = [sum(map(len, part[:number])) for part in parts for number in range(len(part))]
    assert [row["start"] for row in rows] == starts
    assert found.manifest.about["tokens"] == sum(map(len, documents))
    assert "1 document without tokens" in found.manifest.notes[0]["message"]


@pytest.mark.parametrize("format", ["megatron", "datatrove"])
def test_nothing_depends_on_how_the_work_is_cut(tmp_path: Path, format: str) -> None:
    one = made(exported(tmp_path / "one", format), tmp_path / "one" / "ws", "exported")
    other = made(exported(tmp_path / "other", format, shards=7), tmp_path / "other" / "ws", "exported", workers=2)
    assert [file.sha256 for file in one.manifest.files] == [file.sha256 for file in other.manifest.files]
    assert small.rows(one) == small.rows(other)


def test_mistakes_are_told_with_a_remedy() -> None:
    with pytest.raises(PipelineError, match="no such format"):
        ExportTokens("tokenizer", "parquet")  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="seed"):
        ExportTokens("tokenizer", "megatron", seed=-1)
    with pytest.raises(CurateError, match="Megatron-LM takes") as caught:
        token_files.index_files("megatron", np.array([1 << 31]), np.dtype("<u2"))
    assert caught.value.hint
