"""`python -m tests.benchmarks.token_readers [--write]`: the files of `export_tokens` read by those for whom they are made.

megatron-core and datatrove are no dependencies of ours: one that cannot be imported is left out (`pip install --no-deps megatron-core
datatrove`, and what they miss). Documents of `../shared/data/pile_slices`, with tokens of two bytes and of four.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from curate.pipeline import Pipeline, Stage
from tests.benchmarks import readme
from tests.benchmarks.lm_loss_speed import DATA, texts
from tests.engine import small
from tests.scorers.small_tokenizers import made, pipeline, save_tokenizer, tokens_of

DOCS, WINDOW = 300, 128
READERS = {"megatron": "megatron.core", "datatrove": "datatrove"}


def exported(folder: Path, kind: str, size: int) -> Pipeline:
    """Return a pipeline that exports documents with tokens of so many bytes."""
    path = save_tokenizer(folder / "tokenizer", 4096) / "tokenizer.json"
    if size == 4:
        told = orjson.loads(path.read_bytes())
        told["added_tokens"].append(told["added_tokens"][0] | {"id": 70_000, "content": "<|far|>"})
        path.write_bytes(orjson.dumps(told))
    docs = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts(DOCS))]
    return pipeline(
        folder, docs, {"out": Stage(["crawl", "tokens"], use="export_tokens", params={"tokenizer": "tokenizer", "format": kind})}
    )


def by_megatron(url: str, size: int, expected: Sequence[list[int]]) -> bool:
    """Return whether megatron-core finds these documents."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    found = IndexedDataset(f"{url}/tokens-00000")
    bounds = found.document_indices.tolist() == list(range(len(expected) + 1))
    return bounds and [found[number].tolist() for number in range(len(found))] == list(expected)


def by_datatrove(url: str, size: int, expected: Sequence[list[int]]) -> bool:
    """Return whether datatrove finds these tokens in its windows, and where documents begin in the first of them."""
    from datatrove.utils.dataset import DatatroveFileDataset

    found = DatatroveFileDataset(f"{url}/tokens-00000.ds", seq_len=WINDOW - 1, token_size=size, return_positions=True)
    flat = [token for tokens in expected for token in tokens]
    places = [place for tokens in expected for place in range(len(tokens))]
    windows = [found[number] for number in range(len(found))]
    read = [token for window in windows for token in window["input_ids"].tolist()]
    return read == flat[: len(flat) // WINDOW * WINDOW] and windows[0]["positions"].tolist() == places[:WINDOW]


def row(kind: str, size: int) -> str:
    """Export, let the reader read, and return a row of the table."""
    reader: Any = {"megatron": by_megatron, "datatrove": by_datatrove}[kind]
    with tempfile.TemporaryDirectory() as work:
        pipe = exported(Path(work), kind, size)
        dataset = made(pipe, Path(work, "ws"), "out")
        tokens = tokens_of(pipe, Path(work, "ws"))
        expected = [tokens[one["id"]] for one in small.rows(dataset)]
        equal = reader(dataset.url, size, expected)
    return f"| {READERS[kind]} | {size} | {len(expected):,} | {sum(map(len, expected)):,} | {'yes' if equal else 'NO'} |"


def main() -> None:
    """Read and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    args = parser.parse_args()
    there = [kind for kind, name in READERS.items() if importlib.util.find_spec(name.partition(".")[0]) is not None]
    if not there or not (DATA / "pile_slices").is_dir():
        print("token_readers is left out: neither megatron-core nor datatrove is there, or no pile_slices (set CURATE_TEST_DATA)")
        return
    lines = ["| read by | bytes of a token | documents | tokens | as they were written |", "| --- | --- | --- | --- | --- |"]
    text = "\n".join([*lines, *(row(kind, size) for kind in there for size in (2, 4))])
    print(text)
    if args.write:
        readme.write("readers of tokens", text)


if __name__ == "__main__":
    main()
