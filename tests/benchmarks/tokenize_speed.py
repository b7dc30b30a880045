"""`python -m tests.benchmarks.tokenize_speed [--docs N] [--write]`: `tokenize` beside plain loops over the package, and what packing wastes.

Everyone turns the same documents of `../shared/data/pile_slices` into an Arrow column of token numbers, on one thread; CPU time, medians of
rounds in turn, and all tokens are compared. `tokenize` is measured as it begins, knowing the pieces of one document, and as it goes
on, when a worker has tokenised the other documents before; reading the tokenizer is not counted for anybody. Tokenizers have 32,768 tokens and are trained on every fourth document. Then the same tokens are packed in both ways.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
import transformers

from curate_scorers.proxy import packing
from curate_scorers.proxy.packing import Method
from curate_scorers.proxy.tokenize import Tokenize
from curate_scorers.proxy.tokenizer_patterns import PATTERNS, Pattern
from tests.benchmarks import readme
from tests.benchmarks.lm_loss_speed import DATA, batch_of, texts

SIZE = 32_768
LENGTHS = (512, 2048, 8192)
PLAIN = ("`encode_batch_fast`, a list", "`encode_batch_fast`, 1,000 at a time", "transformers, a list")

Contender = Callable[[pa.RecordBatch], pa.Array]


def make_tokenizer(folder: Path, sample: Sequence[str], pattern: Pattern, form: str | None = None) -> str:
    """Write a byte-level BPE tokenizer; `form` is a Unicode normal form, with which texts go through the package alone."""
    pieces = tokenizers.pre_tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = pieces.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")
    made.pre_tokenizer = pieces.Sequence([split, pieces.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.normalizer = getattr(tokenizers.normalizers, form)() if form else None
    alphabet = pieces.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=SIZE, special_tokens=["<e>"], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(sample, trainer)
    folder.mkdir()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<e>").save_pretrained(folder)
    return str(folder)


def plain(folder: str, size: int | None) -> Contender:
    """Return a loop over the package, so many texts at a time."""
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")

    def tokens(docs: pa.RecordBatch) -> pa.Array:
        given = docs.column("text").to_pylist()
        found = []
        for begin in range(0, len(given), size or len(given)):
            encoded = tokenizer.encode_batch_fast(given[begin : begin + (size or len(given))], add_special_tokens=False)
            found += [np.array(each.ids, np.uint32) for each in encoded]
        return pa.array(found, pa.list_(pa.uint32()))

    return tokens


def by_transformers(folder: str) -> Contender:
    """Return what one writes with transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def tokens(docs: pa.RecordBatch) -> pa.Array:
        given = docs.column("text").to_pylist()
        return pa.array(tokenizer(given, add_special_tokens=False, return_attention_mask=False)["input_ids"], pa.list_(pa.uint32()))

    return tokens


def ours(folder: str, before: pa.RecordBatch) -> Contender:
    """Return the operator of a worker that has seen some documents."""

    def tokens(docs: pa.RecordBatch) -> pa.Array:
        operator = Tokenize(folder, add_eos=False)
        operator.score(before)
        return timed(operator, docs)

    def timed(operator: Tokenize, docs: pa.RecordBatch) -> pa.Array:
        begun = time.process_time()
        found = operator.score(docs).field("ids")
        spent.append(time.process_time() - begun)
        return found

    spent: list[float] = []
    tokens.spent = spent  # type: ignore[attr-defined]
    return tokens


def measure(contenders: dict[str, Contender], docs: pa.RecordBatch, rounds: int) -> dict[str, float]:
    """Return the median seconds of each contender, in turn; raise if they do not find the same tokens."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        first: Any = None
        for name, contender in contenders.items():
            begun = time.process_time()
            found = contender(docs)
            own = getattr(contender, "spent", None)
            spent[name].append(own[-1] if own else time.process_time() - begun)
            first = found if first is None else first
            if not found.equals(first):
                raise AssertionError(f"{name} finds other tokens")
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def speeds(title: str, folder: str, docs: pa.RecordBatch, before: pa.RecordBatch, rounds: int) -> list[str]:
    """Return the rows of a tokenizer."""
    one = before.slice(0, 1)
    contenders = {"`tokenize`, as it begins": ours(folder, one), "`tokenize`, as it goes on": ours(folder, before)}
    contenders |= dict(zip(PLAIN, (plain(folder, None), plain(folder, 1000), by_transformers(folder)), strict=True))
    contenders["`tokenize`, as it begins"](one)  # compiles
    found = measure(contenders, docs, rounds)
    size = sum(len(text.encode()) for text in docs.column("text").to_pylist()) / 1e6
    best = min(found[name] for name in PLAIN)
    return [f"| {title} | {name} | {size / seconds:.1f} | {best / seconds:.1f} × |" for name, seconds in found.items()]


def wastes(folder: str, docs: pa.RecordBatch) -> list[str]:
    """Return how much of rows is padding and how many documents are cut, by length and method."""
    counts = Tokenize(folder).score(docs).field("count").to_numpy()
    counts = counts[counts > 0]
    rows = []
    for length in LENGTHS:
        methods: tuple[Method, ...] = ("best_fit", "concatenate")
        for method in methods:
            begun = time.process_time()
            pieces = packing.lay(counts, length, method, 0)
            spent = time.process_time() - begun
            padding = 1 - counts.sum() / (pieces.rows * length)
            longer = np.count_nonzero(counts > length) / len(counts)
            cut = pieces.cut_documents / len(counts)
            rows.append(f"| {length:,} | `{method}` | {padding:.2%} | {cut:.1%} | {longer:.1%} | {len(pieces.row) / spent / 1e6:.2f} M |")
    return rows


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    args = parser.parse_args()
    if not (DATA / "pile_slices").is_dir():
        print(f"tokenize_speed is left out: no pile_slices in {DATA} (set CURATE_TEST_DATA)")
        return
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    given = texts(1 << 30)
    sample, docs, before = given[::4], batch_of(given[: args.docs]), batch_of(given[args.docs :])
    lines = [f"{docs.num_rows:,} documents of `pile_slices`, one thread, medians of {args.rounds} rounds in turn, CPU time.\n"]
    lines += ["| splits as | | MB/s | beside the best loop |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as work:
        folders = {pattern: make_tokenizer(Path(work, pattern), sample, pattern) for pattern in ("gpt4", "gpt2")}
        for pattern, folder in folders.items():
            lines += speeds(f"`{pattern}`", folder, docs, before, args.rounds)
        other = make_tokenizer(Path(work, "other"), sample, "gpt4", form="NFC")
        lines += speeds("`gpt4`, normalises (NFC)", other, docs, before.slice(0, 9), args.rounds)
        lines += [
            f"\n{len(given):,} documents in rows of so many tokens; longer ones must be cut, and one thread lays so many pieces a second.\n"
        ]
        lines += ["| row | method | padding | documents cut | longer than a row | pieces/s |", "| --- | --- | --- | --- | --- | --- |"]
        lines += wastes(folders["gpt4"], batch_of(given))
    text = "\n".join(lines)
    print(text)
    if args.write:
        readme.write("tokens", text)


if __name__ == "__main__":
    main()
