"""Trains: writes the text in its order to this machine's disk, runs the official library in a fresh process, and keeps the model.

With one thread the library fills the first tenth of its input matrix with random numbers and takes the rest as the memory is. In a used
process that is leftovers, and often NaN; a fresh one has zeros only where the allocator asks the system, and small models are trained in
memory that reading the text has used before (measured: 2 of 6 runs differed, 1 ended in NaN). So the C library is told to hand out zeros.
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.errors import OperatorError
from curate.shuffle import Range
from curate.storage import Storage
from curate.work import Place
from curate_scorers.fasttext_training_text import PREFIX, ROWS, Item, in_order, partition_of

ZEROED_MEMORY = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"  # memory is filled with the complement of 255
SETTINGS = struct.Struct("<12i d 3i 2q")  # behind magic and version: arguments, rate, then sizes of the vocabulary
SETTINGS_AT = 8
END = b"</s>\0"


def require_fasttext() -> None:
    """Raise `OperatorError` when the library is not there."""
    if importlib.util.find_spec("fasttext") is None:
        raise OperatorError("train_fasttext: the package `fasttext` is not installed", "pip install '.[fasttext]'")


def train_model(item: Item, place: Place) -> Item:
    """Train on the chosen documents; return where the model is, those held out, and what was trained on."""
    require_fasttext()
    with tempfile.TemporaryDirectory(prefix="curate-fasttext-") as folder:
        text, model = Path(folder, "text"), Path(folder, "model.bin")
        with open(text, "wb") as out:
            written = _Text(out)
            held = place.write_shuffle(item["held_partitions"], ROWS, _divided(item, place, written))
        missing = sorted(set(item["used"]) - set(written.documents))
        if item["positive"] in missing or len(written.documents) < 2:
            hint = "give more documents, or lower `held_out`"
            raise OperatorError(f"train_fasttext: no document of label `{missing[0]}` is left to train on", hint)
        _run({"train": item["options"], "text": str(text), "model": str(model)})
        if item["zero_eos"]:
            zero_end(model)
        if item["quantise"] is not None:
            smaller = model.with_suffix(".ftz")
            _run({"quantise": item["quantise"], "model": str(model), "smaller": str(smaller)})
            model = smaller
        path = f"{place.prefix}{model.suffix}"
        digest = _kept(model, place.storage, path)
    told = {"sha256": written.hash.hexdigest(), "bytes": written.bytes, "documents": dict(sorted(written.documents.items()))}
    return {"path": path, "held": asdict(held), "held_documents": written.held, "training_set": told, "model": digest}


class _Text:
    """The file of training text, and what is in it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.hash = hashlib.sha256()
        self.bytes = 0
        self.documents: dict[str, int] = {}
        self.held: dict[str, int] = {}

    def write(self, rows: pa.Table) -> None:
        """Write a line for each document."""
        for batch in rows.to_batches():
            columns = [PREFIX, batch.column("label").cast(pa.large_string()), " ", batch.column("text"), "\n", ""]
            lines = pc.binary_join_element_wise(*(pa.scalar(c, pa.large_string()) if isinstance(c, str) else c for c in columns))
            data = pc.binary_join(pa.LargeListArray.from_arrays([0, len(lines)], lines), pa.scalar("", pa.large_string()))[0].as_buffer()
            self._out.write(data)
            self.hash.update(data)
            self.bytes += data.size
        _count(rows, self.documents)


def _count(rows: pa.Table, counts: dict[str, int]) -> None:
    for entry in pc.value_counts(rows.column("label")).to_pylist():
        counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]


def _divided(item: Item, place: Place, written: _Text) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Write the text to train on, in order, and yield what is held out."""
    for parts in item["parts"]:
        rows = in_order(list(shuffle.read(place.storage, [Range(**part) for part in parts], ROWS)))
        held = rows.filter(rows.column("held"))
        written.write(rows.filter(pc.invert(rows.column("held"))))
        _count(held, written.held)
        for batch in held.to_batches():
            yield partition_of(batch.column("order").to_numpy(), item["held_partitions"]), batch


def _run(task: Item) -> None:
    """Run the library in a fresh process."""
    script = Path(__file__).with_name("fasttext_training_process.py")
    command = [sys.executable, "-P", str(script), orjson.dumps(task).decode()]
    environment = os.environ | {"GLIBC_TUNABLES": ZEROED_MEMORY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    said = done.stderr.strip().splitlines()
    cause = said[-1] if said else f"the process ended with {done.returncode}"
    hints = {"NaN": "lower `lr`", "bad_alloc": "lower `bucket` or `dim`", "too small": "leave out `quantise`: the model has too few rows"}
    raise OperatorError(f"train_fasttext: fastText failed: {cause}", next((hint for word, hint in hints.items() if word in cause), None))


def zero_end(path: Path) -> None:
    """Set the row of `</s>`, which every text has once whatever its length, to zeros in a dense model."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        settings = SETTINGS.unpack_from(data, SETTINGS_AT)
        place, row = SETTINGS_AT + SETTINGS.size, -1
        for number in range(settings[13]):
            stop = data.find(b"\0", place) + 1
            if data[place:stop] == END:
                row = number
            place = stop + 9
        place += 1  # whether the matrix is quantised
        rows, columns = struct.unpack_from("<2q", data, place)
        if 0 <= row < rows:
            begun = place + 16 + row * columns * 4
            data[begun : begun + columns * 4] = bytes(columns * 4)


def _kept(model: Path, storage: Storage, path: str) -> Item:
    """Copy the model into the workspace; return its hash and size."""
    with open(model, "rb") as file, storage.open_output(path) as out:
        shutil.copyfileobj(file, out, 1 << 20)
    with open(model, "rb") as file:
        return {"file": f"model{model.suffix}", "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": model.stat().st_size}
