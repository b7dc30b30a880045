"""Trains the models of a family: a byte-level BPE tokenizer, and small Llamas that differ in mixture, training length or size."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from curate.errors import OperatorError
from curate_scorers.lm_loss_model import MODELS, package
from curate_scorers.proxy.sizes import Shape

END = "<|end|>"
BATCH = 16  # windows of a step
LEARNING_RATE, WARM_UP, DECAY = 3e-3, 0.05, 0.1  # of a network some 100 wide; as 1 / width beyond
CONCENTRATION = 0.5  # of the Dirichlet distribution of mixtures: most weight on a few groups
HEAD = 32
HELD_OUT = 0.05  # of a group's documents


@dataclass(frozen=True)
class Recipe:
    """What a family is made of, or one model of it: `mixture` is then the share of each group."""

    vary: Literal["mixture", "tokens", "size"] = "mixture"
    models: int = 5
    tokens: int = 1_000_000
    width: int = 128
    layers: int = 4
    vocabulary: int = 2048
    window: int = 256
    seed: int = 1
    mixture: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.models < 2:
            raise OperatorError(f"no family: two models at least, not {self.models}")
        if self.width < HEAD or self.width % HEAD:
            raise OperatorError(f"no family: it needs a width that is a multiple of {HEAD}, not {self.width}")
        if min(self.tokens, self.layers, self.window) < 1:
            raise OperatorError("no family: tokens, layers and window are 1 at least")
        if self.vocabulary < 257:
            raise OperatorError(f"a vocabulary of {self.vocabulary} has no room for 256 bytes and the end of a text")

    @property
    def flops(self) -> float:
        """The operations of training all its models."""
        members = recipes(self, ["one", "other"])
        shapes = ((Shape(each.width, each.layers, each.width * 8 // 3, each.width // HEAD), each.tokens) for each in members)
        return sum(shape.flops(tokens, self.vocabulary, 0) for shape, tokens in shapes)

    @staticmethod
    def of(options: argparse.Namespace) -> Recipe:
        """Return what the command line asks for."""
        names = ("vary", "models", "tokens", "width", "layers", "vocabulary", "window", "seed")
        return Recipe(**{name: getattr(options, name) for name in names})


def recipes(family: Recipe, groups: Sequence[str]) -> Iterator[Recipe]:
    """Yield each model's recipe."""
    draw = np.random.default_rng(family.seed)
    if family.vary == "mixture" and len(groups) < 2:
        raise OperatorError("one group of text makes no mixtures", "name the column of groups with `by`, or vary tokens or size")
    for number in range(family.models):
        shares = np.full(len(groups), 1 / len(groups))
        made = family
        if family.vary == "mixture":
            shares = draw.dirichlet(np.full(len(groups), CONCENTRATION))
        elif family.vary == "tokens":
            made = replace(family, tokens=max(1, family.tokens >> (family.models - 1 - number)))
        else:
            made = replace(family, width=max(1, round(family.width / HEAD * (number + 1) / family.models)) * HEAD)
        yield replace(made, mixture=tuple(zip(groups, np.round(shares, 6).tolist(), strict=True)))


def split(text: Mapping[str, Sequence[str]], seed: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the documents to train on and those held out, by group."""
    draw = np.random.default_rng(seed)
    trained: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    for name, group in sorted(text.items()):
        order = draw.permutation(len(group)).tolist()
        count = max(1, round(len(group) * HELD_OUT))
        if len(group) <= count:
            raise OperatorError(f"group `{name}` has {len(group)} documents", "two at least: some are held out")
        held_out[name], trained[name] = [group[i] for i in order[:count]], [group[i] for i in order[count:]]
    return trained, held_out


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Return a byte-level BPE tokenizer trained on texts."""
    tokenizers, transformers = package("tokenizers"), package("transformers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END)


def streams(tokenizer: Any, groups: Mapping[str, Sequence[str]], window: int) -> dict[str, Any]:
    """Return each group's tokens, one document after another, the end token before each."""
    end, found = tokenizer.eos_token_id, {}
    for name, texts in groups.items():
        encoded = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        found[name] = np.concatenate([np.array([end, *each.ids], np.int32) for each in encoded])
        if len(found[name]) <= window:
            raise OperatorError(f"group `{name}` has {len(found[name])} tokens, less than a window of {window}", "give it more text")
    return found


def train(
    folder: Path, tokenizer: Any, tokens: Mapping[str, Any], recipe: Recipe, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Train one model, write its folder, and return what it was made of; `tell` hears how it goes."""
    torch = package("torch")
    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _network(len(tokenizer), recipe).to(device)
    rate = LEARNING_RATE * min(1.0, 128 / recipe.width)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=DECAY)
    steps = max(1, recipe.tokens // (BATCH * recipe.window))
    draw = np.random.default_rng(recipe.seed)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * _schedule(step, steps)
        ids = torch.from_numpy(_batch(tokens, recipe, draw)).to(device)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if tell is not None:
            tell(f"step {step + 1:,} of {steps:,}")
    with MODELS.quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    parameters = sum(each.numel() for each in model.parameters())
    return {"parameters": parameters, "tokens": steps * BATCH * recipe.window, "mixture": dict(recipe.mixture)}


def _network(vocabulary: int, recipe: Recipe) -> Any:
    transformers = package("transformers")
    heads = recipe.width // HEAD
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=recipe.window,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def _batch(tokens: Mapping[str, Any], recipe: Recipe, draw: np.random.Generator) -> Any:
    """Return windows of groups drawn by their shares."""
    names, shares = zip(*recipe.mixture, strict=True)
    chosen = draw.choice(len(names), BATCH, p=np.array(shares) / sum(shares))
    chosen_streams = [tokens[names[i]] for i in chosen]
    starts = [int(draw.integers(len(stream) - recipe.window)) for stream in chosen_streams]
    rows = [stream[start : start + recipe.window + 1] for stream, start in zip(chosen_streams, starts, strict=True)]
    return np.stack(rows).astype(np.int64)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: a warm-up, then a cosine down to a tenth."""
    warm = max(1, int(steps * WARM_UP))
    if step < warm:
        return (step + 1) / warm
    return float(0.1 + 0.45 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))))
