"""The file formats of other trainers for the tokens of documents, as their readers take them.

`megatron` (Megatron-LM, megatron-core, NeMo): two files with one prefix.

    .bin   the tokens of all documents, one behind the other: uint16, or int32 for a vocabulary above 65,536
    .idx   "MMIDIDX" and two zero bytes, the version 1 (uint64), a code of the type (uint8: 4 = int32, 8 = uint16),
           the number of sequences and of document bounds (uint64), then the length of each sequence (int32), the byte where each
           begins (int64), and the bounds of documents in sequences, the first of them 0 (int64); a document is one sequence here

`datatrove` (datatrove, nanotron): three files with one name.

    .ds            the tokens of all documents, one behind the other: uint16 or uint32
    .ds.index      where each document ends, in tokens (uint64)
    .ds.metadata   lines: the tokenizer and the bytes of a token behind `|`, the number of tokens, and that number for people

All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from curate.errors import OperatorError
from curate.report.units import count
from curate.storage import Storage

Format = Literal["megatron", "datatrove"]
Integers = npt.NDArray[np.int64]
ENDINGS: dict[Format, tuple[str, ...]] = {"megatron": (".bin", ".idx"), "datatrove": (".ds", ".ds.index", ".ds.metadata")}

MAGIC = b"MMIDIDX\x00\x00"
MEGATRON_CODES = {"int32": 4, "uint16": 8}
LONGEST = (1 << 31) - 1  # what the length of a sequence may be


def token_type(kind: Format, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that tokens have in a file; Megatron-LM knows no uint32."""
    return np.dtype("<i4") if kind == "megatron" and dtype.itemsize == 4 else dtype


def index_files(kind: Format, lengths: Integers, dtype: np.dtype[Any]) -> Mapping[str, bytes]:
    """Return what stands beside the tokens of documents with so many each, by ending."""
    return _INDEXES[kind](lengths, dtype)


def write_tokens(storage: Storage, path: str, values: Any, begin: Integers, length: Integers, dtype: np.dtype[Any]) -> None:
    """Write the tokens of documents one behind the other."""
    with storage.open_output(path) as out:
        for start, size in zip(begin.tolist(), length.tolist(), strict=True):
            _write(out, values[start : start + size], dtype)


def _write(out: BinaryIO, tokens: Any, dtype: np.dtype[Any]) -> None:
    out.write(tokens.astype(dtype, copy=False).tobytes())


def _megatron(lengths: Integers, dtype: np.dtype[Any]) -> Mapping[str, bytes]:
    if len(lengths) and int(lengths.max()) > LONGEST:
        raise OperatorError(f"a document has {int(lengths.max()):,} tokens, and Megatron-LM takes {LONGEST:,}", "split it before")
    head = MAGIC + np.array([1], "<u8").tobytes() + np.array([MEGATRON_CODES[dtype.name]], "u1").tobytes()
    counts = np.array([len(lengths), len(lengths) + 1], "<u8")
    pointers = (np.cumsum(lengths) - lengths) * dtype.itemsize
    bounds = np.arange(len(lengths) + 1)
    return {
        ".idx": head
        + counts.tobytes()
        + lengths.astype("<i4").tobytes()
        + pointers.astype("<i8").tobytes()
        + bounds.astype("<i8").tobytes()
    }


def _datatrove(lengths: Integers, dtype: np.dtype[Any]) -> Mapping[str, bytes]:
    tokens = int(lengths.sum())
    told = f"tokenizer.json|{dtype.itemsize}\n{tokens}\n{count(tokens)} tokens"
    return {".ds.index": np.cumsum(lengths).astype("<u8").tobytes(), ".ds.metadata": told.encode()}


_INDEXES: dict[Format, Callable[[Integers, np.dtype[Any]], Mapping[str, bytes]]] = {"megatron": _megatron, "datatrove": _datatrove}
