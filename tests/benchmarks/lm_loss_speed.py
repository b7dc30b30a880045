"""`python -m tests.benchmarks.lm_loss_speed`: tokens a second of `lm_loss` beside plain loops with the same model and documents.

The loops are what one writes with transformers: tokenise a batch with padding, one forward pass with its attention mask, cross
entropy of all logits, masked; in the corpus's order and sorted by length, at several batch sizes. Documents are those of
`../shared/data/pile_slices`, cut at the model's 1,024 tokens for everyone, so that windows play no part. Models are random, which
costs what trained ones cost. One thread; CPU time; medians of rounds in turn. All losses are compared.
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
import orjson
import pyarrow as pa
import tokenizers
import torch
import transformers

from curate_scorers.lm_loss import LmLoss
from tests.benchmarks import readme

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WINDOW = 1024
LONGEST = WINDOW - 8  # a text that is cut may have another token or two at its end
SIZES = {"2 M": (128, 4, 4096), "12 M": (256, 6, 16384)}  # width, layers, vocabulary
BATCHES = (1, 4, 8, 16)
END = "<|end|>"


def texts(count: int) -> list[str]:
    """Return documents in an order without meaning."""
    with pa.input_stream(str(DATA / "pile_slices" / "docs.jsonl.zst"), compression="zstd") as stream:
        found = [orjson.loads(line)["text"] for line in stream.read().splitlines()]
    return [found[i] for i in np.random.default_rng(1).permutation(len(found))[:count].tolist()]


def make_model(folder: Path, sample: Sequence[str], width: int, layers: int, vocabulary: int) -> Path:
    """Write a random model with a tokenizer of the documents."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(sample, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token=END).save_pretrained(folder)
    torch.manual_seed(1)
    heads = {"num_attention_heads": width // 32, "num_key_value_heads": width // 32}
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        max_position_embeddings=WINDOW,
        **heads,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class Loop:
    """A plain loop with padding."""

    def __init__(self, folder: Path, batch: int, ordered: bool) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.batch, self.ordered = batch, ordered

    def __call__(self, documents: Sequence[str]) -> tuple[Any, int]:
        """Return each document's loss in bits, and the number of tokens."""
        order = np.argsort([-len(text) for text in documents]) if self.ordered else np.arange(len(documents))
        bits, tokens = np.zeros(len(documents)), 0
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            found, count = self._batch([END + documents[i] for i in rows])
            bits[rows], tokens = found, tokens + count
        return bits / np.log(2), tokens

    def _batch(self, documents: list[str]) -> tuple[Any, int]:
        encoded = self.tokenizer(documents, return_tensors="pt", padding=True, truncation=True, max_length=WINDOW + 1)
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        with torch.inference_mode():
            logits = self.model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=False).logits
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        return (losses * mask[:, 1:]).sum(1).double().numpy(), int(mask[:, 1:].sum())


class Ours:
    """`lm_loss` on one batch of documents."""

    def __init__(self, folder: Path) -> None:
        self.operator = LmLoss(str(folder), window=WINDOW, stride=WINDOW)
        self.operator.score(batch_of(["warm"]))

    def __call__(self, documents: Sequence[str]) -> tuple[Any, int]:
        found = self.operator.score(batch_of(documents)).to_pylist()
        bits = [row["bits_per_byte"] * len(text.encode()) for row, text in zip(found, documents, strict=True)]
        return np.array(bits), sum(row["tokens"] for row in found)


def batch_of(documents: Sequence[str]) -> pa.RecordBatch:
    """Return texts as documents."""
    return pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(documents))], "text": pa.array(documents, pa.large_string())})


def cut(folder: Path, documents: Sequence[str]) -> list[str]:
    """Return texts, those with more tokens than the model takes cut short of that."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer
    found = tokenizer.encode_batch(list(documents), add_special_tokens=False)
    ends = [each.offsets[:LONGEST][-1][1] if len(each.ids) > LONGEST else None for each in found]
    return [text[:end] for text, end in zip(documents, ends, strict=True)]


def measure(contenders: dict[str, Callable[[Sequence[str]], tuple[Any, int]]], documents: list[str], rounds: int) -> dict[str, list[float]]:
    """Return tokens a second of each contender in each round, in turn; raise if they do not find the same losses."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        first: Any = None
        for name, contender in contenders.items():
            begun = time.process_time()
            bits, tokens = contender(documents)
            speeds[name].append(tokens / (time.process_time() - begun))
            first = bits if first is None else first
            np.testing.assert_allclose(bits, first, rtol=1e-4, err_msg=name)
    return speeds


def table(size: str, documents: list[str], rounds: int, folder: Path) -> str:
    """Measure one model and return its rows."""
    make_model(folder, documents, *SIZES[size])
    short = cut(folder, documents)
    contenders: dict[str, Callable[[Sequence[str]], tuple[Any, int]]] = {"`lm_loss`": Ours(folder)}
    for ordered in (False, True):
        how = ", sorted by length" if ordered else ""
        contenders |= {f"loop, {batch} at a time{how}": Loop(folder, batch, ordered) for batch in BATCHES}
    speeds = {name: statistics.median(found) for name, found in measure(contenders, short, rounds).items()}
    ours = speeds["`lm_loss`"]
    rows = [f"| {size} | {name} | {speed:,.0f} | {f'{ours / speed:.2f} ×' if speed != ours else ''} |" for name, speed in speeds.items()]
    return "\n".join(rows)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    args = parser.parse_args()
    if not (DATA / "pile_slices").is_dir():
        print(f"lm_loss_speed is left out: no pile_slices in {DATA} (set CURATE_TEST_DATA)")
        return
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    documents = texts(args.docs)
    lines = [f"{args.docs} documents of `pile_slices`, one thread, median of {args.rounds} rounds in turn, CPU time.\n"]
    lines += ["| parameters |  | tokens/s | we are faster |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        lines += [table(size, documents, args.rounds, Path(folder, size)) for size in args.sizes]
    text = "\n".join(lines)
    print(text)
    if args.write:
        readme.write("language-model losses", text)


if __name__ == "__main__":
    main()
