"""`python -m tests.benchmarks.proxy_speed`: tokens a second of training beside nanoGPT's architecture and transformers' Trainer.

All train a network of the same width and depth on the same rows, packed from documents of `../shared/data/pile_slices`, with one thread,
in turns in one process; CPU time, medians. nanoGPT's is written in plain PyTorch: LayerNorm, GELU, learned positions, causal attention
over whole rows, AdamW. The Trainer has a Qwen3 of our shape and its own defaults; it needs the package accelerate, and is left out
without. Neither keeps documents apart, which would cost them more. Ours and nanoGPT's are timed in parts, a forward and backward pass
and an update, and added up for a step of as many tokens as the size has by default; so is the Trainer's, whose update is nanoGPT's.
The last column is a bound: how much faster than the Trainer a training would be that did nothing but multiply by the linear maps of the
network and by the head, forth and back, on matrices that are there already. Float32 alone (`--precisions float32`) has a table of its own:
not every processor gains by bfloat16.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import tokenizers
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from curate_scorers.proxy import batches, folder, packing
from curate_scorers.proxy.checkpoint import State
from curate_scorers.proxy.model import Proxy
from curate_scorers.proxy.packed import Packed, Part
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.replica import ALONE
from curate_scorers.proxy.replicas import Nowhere
from curate_scorers.proxy.sizes import Shape, batch_tokens, shape
from curate_scorers.proxy.train import Training, optimizer_of
from tests.benchmarks import readme
from tests.llm import environment

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LENGTH, VOCABULARY, DOCUMENTS = 512, 8192, 400
MICRO_ROWS = 4  # of a forward pass
END = "<|end|>"


def corpus() -> Packed:
    """Return documents, tokenised and packed by best fit."""
    with pa.input_stream(str(DATA / "pile_slices" / "docs.jsonl.zst"), compression="zstd") as stream:
        texts = [orjson.loads(line)["text"] for line in stream.read().splitlines()]
    texts = [texts[i] for i in np.random.default_rng(1).permutation(len(texts))[:DOCUMENTS].tolist()]
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    tokens = [np.array([*each.ids, 0], np.uint16) for each in made.encode_batch_fast(texts)]
    laid = packing.lay(np.array([len(each) for each in tokens]), LENGTH, "best_fit", 1)
    rows = np.zeros((laid.rows, LENGTH), np.uint16)
    for document, start, length, row, offset in zip(laid.document, laid.start, laid.length, laid.row, laid.offset, strict=True):
        rows[row, offset : offset + length] = tokens[document][start : start + length]
    return Packed(VOCABULARY, LENGTH, int(laid.length.sum()), 0, [Part(rows, laid.first, laid.length.astype(np.int32))], [])


class Ours:
    """A training of `train_proxy`."""

    def __init__(self, packed: Packed, of: Shape, precision: str) -> None:
        model = Proxy(of, VOCABULARY, LENGTH)
        recipe = Recipe(SIZES[of], tokens=10**9, max_epochs=1e9, precision=precision)
        self._packed, self._rows = packed, itertools.cycle(range(packed.rows))
        state = State(model, optimizer_of(model, recipe))
        self._training = Training(packed, recipe, Nowhere(), print, ALONE, state, recipe.schedule(packed, False))

    def accumulate(self) -> None:
        """Go forth and back over a few rows."""
        [batch] = batches.batches(self._packed, [next(self._rows) for _ in range(MICRO_ROWS)], torch.device("cpu"))
        self._training.accumulate(batch, MICRO_ROWS * LENGTH)

    def update(self) -> None:
        """End a step."""
        self._training.update()


class Products:
    """The products of all linear maps of our network, and nothing else: forth, to the input's gradient, and to the matrix's."""

    def __init__(self, of: Shape, precision: str) -> None:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        layer = [(of.width, of.width)] * 4 + [(of.inner, of.width)] * 2 + [(of.width, of.inner)]
        self._maps = [torch.randn(shape, dtype=kind) for shape in [*layer * of.layers, (VOCABULARY, of.width)]]
        self._sides = {width: torch.randn(MICRO_ROWS * LENGTH, width, dtype=kind) for width in (of.width, of.inner, VOCABULARY)}

    def accumulate(self) -> None:
        """Go forth and back over a few rows."""
        for weight in self._maps:
            gradient, x = (self._sides[size] for size in weight.shape)
            x @ weight.T
            gradient @ weight
            gradient.T @ x


class Block(nn.Module):
    """A layer as GPT-2 has it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mlp_norm = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.attention, self.projection = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stream behind this layer."""
        rows, length, width = x.shape
        q, k, v = (each.view(rows, length, self.heads, -1).transpose(1, 2) for each in self.attention(self.norm(x)).split(width, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + self.projection(mixed)
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class Gpt(nn.Module):
    """nanoGPT's architecture in plain PyTorch."""

    def __init__(self, of: Shape) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, of.width), nn.Embedding(LENGTH, of.width)
        self.blocks, self.norm = nn.Sequential(*(Block(of.width, of.heads) for _ in range(of.layers))), nn.LayerNorm(of.width, bias=False)

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        states = self.norm(self.blocks(self.tokens(inputs) + self.places.weight))
        return F.cross_entropy(F.linear(states, self.tokens.weight).flatten(0, 1), targets.flatten(), ignore_index=-100)


class Plain:
    """nanoGPT's loop."""

    def __init__(self, packed: Packed, of: Shape, precision: str) -> None:
        self._model, self._rows = Gpt(of), shifted(packed)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), 1e-3, fused=True)
        self._half = precision == "bfloat16"

    def accumulate(self) -> None:
        """Go forth and back over a few rows."""
        inputs, targets = (torch.stack(each) for each in zip(*(next(self._rows) for _ in range(MICRO_ROWS)), strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            loss = self._model(inputs, targets)
        loss.backward()

    def update(self) -> None:
        """End a step."""
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def shifted(packed: Packed) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield rows and what follows each of their tokens, padding and the last token left out, without an end."""
    [part] = packed.parts
    while True:
        for row in range(len(part.tokens)):
            used = len(part.row(row)[0])
            inputs = torch.from_numpy(part.tokens[row].astype(np.int64))
            targets = torch.full_like(inputs, -100)
            targets[: used - 1] = inputs[1:used]
            yield inputs, targets


class Theirs:
    """transformers' Trainer, stopped after each step of a run as long as the measurement."""

    def __init__(self, packed: Packed, of: Shape, precision: str, steps: int) -> None:
        with tempfile.TemporaryDirectory() as place:
            Path(place, "config.json").write_bytes(folder.config_of(Proxy(of, VOCABULARY, LENGTH), 0))
            self._model = transformers.Qwen3ForCausalLM(transformers.AutoConfig.from_pretrained(place))
        rows = shifted(packed)
        unshifted = [(inputs, F.pad(targets[:-1], (1, 0), value=-100)) for inputs, targets in (next(rows) for _ in range(packed.rows))]
        self._data = [{"input_ids": inputs, "labels": labels} for inputs, labels in unshifted]
        self._half, self._steps = precision == "bfloat16", steps

    def seconds(self) -> list[float]:
        """Train and return the CPU time of each step but the first."""
        watch = Watch()
        with tempfile.TemporaryDirectory() as place:
            arguments = transformers.TrainingArguments(
                place,
                max_steps=self._steps + 1,
                per_device_train_batch_size=MICRO_ROWS,
                use_cpu=True,
                bf16=self._half,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            )
            transformers.Trainer(self._model, arguments, train_dataset=self._data, callbacks=[watch]).train()
        return watch.seconds[1:]


class Watch(transformers.TrainerCallback):
    """Notes the CPU time of steps."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Begin."""
        self._last = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note a step."""
        now = time.process_time()
        self.seconds.append(now - self._last)
        self._last = now


SIZES = {shape(name): name for name in ("5M", "20M")}


@dataclass(frozen=True)
class Measured:
    """Tokens a second: ours, nanoGPT's, those of products alone, the Trainer's (None where it is not there)."""

    ours: float
    plain: float
    products: float
    theirs: float | None


def measure(packed: Packed, of: Shape, precision: str, rounds: int) -> Measured:
    """Return tokens a second of each in a step of the size's own number of tokens, from its parts, which are measured in turn."""
    ours, plain, products = Ours(packed, of, precision), Plain(packed, of, precision), Products(of, precision)
    parts = [ours.accumulate, ours.update, plain.accumulate, plain.update, products.accumulate]
    seconds: list[list[float]] = []
    theirs: list[float] = []
    for turn in range(rounds + 1):
        seconds.append([timed(part) for part in parts])
        if turn == rounds // 2 and find_spec("accelerate"):
            theirs = Theirs(packed, of, precision, rounds).seconds()
    forth, update, plain_forth, adamw, multiplied = (statistics.median(times) for times in zip(*seconds[1:], strict=True))
    tokens, count = packed.tokens / packed.rows * MICRO_ROWS, batch_tokens(SIZES[of]) / (MICRO_ROWS * LENGTH)
    trainer = tokens * count / (count * (statistics.median(theirs) - adamw) + adamw) if theirs else None
    return Measured(tokens * count / (count * forth + update), tokens * count / (count * plain_forth + adamw), tokens / multiplied, trainer)


def timed(part: Callable[[], None]) -> float:
    """Return the CPU time of a part."""
    begun = time.process_time()
    part()
    return time.process_time() - begun


def table(packed: Packed, rounds: int, sizes: list[str], precisions: list[str]) -> list[str]:
    """Return a row for each size and precision."""
    head = ["size", "products in", "`train_proxy`, tokens/s", "nanoGPT's architecture", "we are faster", "Trainer", "we are faster"]
    head += ["products alone would be"]
    rows = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name in sizes:
        for precision in precisions:
            found = measure(packed, shape(name), precision, rounds)
            theirs = ["not there", "", ""]
            if found.theirs:
                theirs = [f"{found.theirs:,.0f}", f"{found.ours / found.theirs:.2f} ×", f"{found.products / found.theirs:.2f} ×"]
            cells = [name, precision, f"{found.ours:,.0f}", f"{found.plain:,.0f}", f"{found.ours / found.plain:.2f} ×", *theirs]
            rows.append(f"| {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and print a table."""
    fast = ["float32", "bfloat16"] if environment.dtype() == "bfloat16" else ["float32"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES.values()), default=list(SIZES.values()))
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"), default=fast)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    args = parser.parse_args()
    if not (DATA / "pile_slices").is_dir():
        print(f"proxy_speed is left out: no pile_slices in {DATA} (set CURATE_TEST_DATA)")
        return
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    packed = corpus()
    pieces = sum(len(part.lengths) for part in packed.parts)
    lines = [f"{packed.rows} rows of {LENGTH} tokens with {pieces / packed.rows:.1f} pieces each, {MICRO_ROWS} at a time, and a vocabulary"]
    lines += [f"of {VOCABULARY:,}. One thread ({readme.processor()}), medians of {args.rounds} rounds in turn, CPU time.\n"]
    lines += table(packed, args.rounds, args.sizes, args.precisions)
    if args.write:
        readme.write("proxy speed" if "bfloat16" in args.precisions else "proxy speed in float32", "\n".join(lines))


if __name__ == "__main__":
    main()
