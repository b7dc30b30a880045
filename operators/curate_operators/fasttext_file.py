"""Loads a fastText model after a check that the file is whole.

The C++ library trusts the sizes written in a model file and crashes the process on one that was cut off in a download, so
the file's length is compared with what its own headers say before it is loaded.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from curate.errors import OperatorError

if TYPE_CHECKING:
    from fasttext.FastText import _FastText

MAGIC = 793_712_314
ARGUMENTS_BYTES = 12 * 4 + 8
ENTRY_TAIL_BYTES = 8 + 1
CENTROIDS = 256
FLOAT_BYTES = 4
HINT = "`model` is the path of a fastText .ftz or .bin file"


def load_model(path: Path) -> _FastText:
    """Load a model file, or raise `OperatorError` when it is missing, not fastText's, or cut off."""
    from fasttext.FastText import _FastText  # not fasttext.load_model, which some builds let print to stderr

    if not path.is_file():
        raise OperatorError(f"fastText model not found: {path}", HINT)
    verify_whole(path)
    try:
        return _FastText(model_path=str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise OperatorError(f"cannot load fastText model {path}: {error}", HINT) from error


def verify_whole(path: Path) -> None:
    """Raise `OperatorError` unless the file is as long as its headers say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            expected = _length(file)
        except struct.error:
            expected = size + 1
    if expected is None:
        raise OperatorError(f"not a fastText model: {path}", HINT)
    if expected != size:
        raise OperatorError(f"fastText model {path} is damaged: {size:,} bytes are not what its headers say", "download it again")


def _length(file: BinaryIO) -> int | None:
    magic, _version = _read(file, "ii")
    if magic != MAGIC:
        return None
    file.seek(ARGUMENTS_BYTES, 1)
    _skip_dictionary(file)
    (quantised,) = _read(file, "?")
    _skip_matrix(file, bool(quantised))
    (quantised_output,) = _read(file, "?")
    _skip_matrix(file, bool(quantised and quantised_output))
    return file.tell()


def _skip_dictionary(file: BinaryIO) -> None:
    entries, _words, _labels, _tokens, pruned = _read(file, "iiiqq")
    for _ in range(entries):
        _skip_string(file)
        file.seek(ENTRY_TAIL_BYTES, 1)
    file.seek(max(pruned, 0) * 8, 1)


def _skip_string(file: BinaryIO) -> None:
    """Words end with a zero byte; one longer than 4 kB is no word."""
    for _ in range(4096):
        byte = file.read(1)
        if byte == b"\0":
            return
        if not byte:
            break
    raise struct.error("no end of word")


def _skip_matrix(file: BinaryIO, quantised: bool) -> None:
    if not quantised:
        rows, columns = _read(file, "qq")
        file.seek(rows * columns * FLOAT_BYTES, 1)
        return
    with_norms, rows, _columns, code_bytes = _read(file, "?qqi")
    file.seek(code_bytes, 1)
    _skip_quantiser(file)
    if with_norms:
        file.seek(rows, 1)
        _skip_quantiser(file)


def _skip_quantiser(file: BinaryIO) -> None:
    dimensions, _parts, _part_size, _last_part_size = _read(file, "iiii")
    file.seek(dimensions * CENTROIDS * FLOAT_BYTES, 1)


def _read(file: BinaryIO, fields: str) -> tuple[int, ...]:
    """Read little-endian numbers without padding."""
    form = f"<{fields}"
    return struct.unpack(form, file.read(struct.calcsize(form)))
