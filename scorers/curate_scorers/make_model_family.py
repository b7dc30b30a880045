"""Makes a family of small language models whose order on a target is known: `python -m curate_scorers.make_model_family --help`.

`lm_loss` measures documents by each model, and `predictive_strength` whether those losses order the models as the target does. Models
of one size trained on different mixtures of the text differ in what they know; models of several sizes or training lengths mostly in
how much, so that nearly every document has them in order. Minutes on two cores; larger with `--width`, `--layers`, `--tokens` on a GPU.

    python -m curate_scorers.make_model_family --out family --text crawl.jsonl.zst --by domain --target questions.jsonl --models 5

FOLDER gets `1` (the weakest) to `5` (the strongest), Hugging Face folders, and `family.json`: each model's mixture, tokens, bits per
byte of held-out documents, and its score on each target (minus bits per byte). The same seed and machine give the same family.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError, OperatorError
from curate_scorers.lm_loss import LmLoss
from curate_scorers.make_model_family_training import Recipe, make_tokenizer, recipes, streams, train
from curate_scorers.predictive_strength import ordered_pairs, strengths

HELD_OUT = 0.05
MEASURED = 200  # documents of a group or target at most
MEASURED_TOKENS = 512  # of a document

Texts = Mapping[str, Sequence[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the family that the command line describes."""
    options = _options().parse_args(arguments)
    try:
        family = make(Path(options.out), read(options.text, options.by), read(options.target, options.target_by), Recipe.of(options))
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(table(family))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m curate_scorers.make_model_family", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, help="a new folder")
    parser.add_argument("--text", nargs="+", required=True, help="what to train on: .jsonl, .parquet (column `text`) or .txt, .gz or .zst")
    parser.add_argument("--by", help="the column that says which group a document is of; without, each file is a group")
    parser.add_argument("--target", nargs="+", required=True, help="what the models should be good at; never trained on")
    parser.add_argument("--target-by", help="a column of several targets; without, each file is one")
    parser.add_argument("--vary", choices=("mixture", "tokens", "size"), default="mixture", help="in what the models differ")
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="for each model; the largest with `--vary tokens`")
    parser.add_argument("--width", type=int, default=128, help="of the network, a multiple of 32; the largest with `--vary size`")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--window", type=int, default=256, help="tokens that a model sees")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def make(out: Path, text: Texts, target: Texts, recipe: Recipe) -> dict[str, Any]:
    """Train the models, measure them on held-out documents and on the target, and write them in the order of their mean scores."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"{out} cannot be made: {error.strerror}") from error
    if any(out.iterdir()):
        raise OperatorError(f"{out} is not empty", "name a new folder")
    trained, held_out = split(text, recipe.seed)
    tokenizer = make_tokenizer([each for group in trained.values() for each in group], recipe.vocabulary)
    tokens = streams(tokenizer, trained, recipe.window)
    found = []
    for number, member in enumerate(recipes(recipe, list(tokens))):
        folder = out / f"training-{number}"
        about = train(folder, tokenizer, tokens, member)
        losses = {
            name: documents_losses(folder, group) for name, group in {**_marked("held out", held_out), **_marked("target", target)}.items()
        }
        found.append({"folder": folder, "about": about, "losses": losses})
        print(f"{number + 1} of {recipe.models} trained on {about['tokens']:,} tokens", file=sys.stderr)
    return _written(out, found, recipe)


def _written(out: Path, found: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Order the models, name their folders by rank, and write `family.json`."""
    models = [_described(each) for each in found]
    order = sorted(range(len(models)), key=lambda i: (np.mean(list(models[i]["scores"].values())), i))
    for rank, i in enumerate(order, 1):
        shutil.move(found[i]["folder"], out / str(rank))
        models[i] = {"folder": str(rank)} | models[i]
    family: dict[str, Any] = {"vary": recipe.vary, "seed": recipe.seed, "models": [models[i] for i in order]}
    family["strengths"] = _histogram([found[i]["losses"] for i in order])
    (out / "family.json").write_bytes(orjson.dumps(family, option=orjson.OPT_INDENT_2) + b"\n")
    return family


def _described(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `family.json` says of a model."""
    means = {name: round(float(bits.sum() / size.sum()), 6) for name, (bits, size) in each["losses"].items()}
    held_out = {name.removeprefix("held out: "): mean for name, mean in means.items() if name.startswith("held out: ")}
    scores = {name.removeprefix("target: "): -mean for name, mean in means.items() if name.startswith("target: ")}
    return {**each["about"], "bits_per_byte": held_out, "scores": scores}


def _histogram(losses: list[Mapping[str, tuple[Any, Any]]]) -> dict[str, int]:
    """Return how many held-out documents have each predictive strength for models in this order: one value alone tells nothing apart."""
    names = [name for name in losses[0] if name.startswith("held out: ")]
    per_byte = np.array([np.concatenate([each[name][0] / each[name][1] for name in names]) for each in losses])
    strength, _, _ = strengths(per_byte, ordered_pairs(list(range(len(losses))), len(losses), "ranks"))
    values, counts = np.unique(np.round(strength, 4), return_counts=True)
    return {str(value): int(count) for value, count in zip(values.tolist(), counts, strict=True)}


def documents_losses(folder: Path, texts: Sequence[str]) -> tuple[Any, Any]:
    """Return bits and bytes of each document's beginning, of `MEASURED` documents evenly taken."""
    step = max(1, len(texts) // MEASURED)
    chosen = [text for text in texts[::step] if text.strip()][:MEASURED]
    batch = pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(chosen))], "text": pa.array(chosen, pa.large_string())})
    rows = LmLoss(str(folder), max_tokens=MEASURED_TOKENS).score(batch).to_pylist()
    size = np.array([len(text.encode()) for text in chosen], np.float64)
    return np.array([row["bits_per_byte"] for row in rows]) * size, size


def split(text: Texts, seed: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
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


def read(files: Sequence[str], by: str | None) -> dict[str, list[str]]:
    """Return the texts of files by group."""
    groups: dict[str, list[str]] = {}
    stems = [Path(file).name.partition(".")[0] for file in files]
    for file, stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else f"{Path(file).absolute().parent.name}/{stem}"
        rows = _rows(Path(file))
        if by is not None and rows and not any(by in row for row in rows):
            raise OperatorError(f"{file} has no column `{by}`", f"its columns: {', '.join(sorted(rows[0]))}")
        for row in rows:
            if isinstance(row.get("text"), str) and row["text"].strip():
                groups.setdefault(name if by is None else str(row.get(by)), []).append(row["text"])
    if not groups:
        raise OperatorError(f"no text in {', '.join(files)}", "documents have a column `text`")
    return groups


def _rows(path: Path) -> list[dict[str, Any]]:
    kind = path.with_suffix("").suffix if path.suffix in (".gz", ".zst") else path.suffix
    try:
        if kind == ".parquet":
            return list(pq.read_table(path).to_pylist())
        with pa.input_stream(str(path), compression="detect") as stream:
            data = stream.read()
        return [orjson.loads(line) for line in data.splitlines() if line.strip()] if kind == ".jsonl" else [{"text": data.decode()}]
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{path} cannot be read: {error}", "files are .jsonl, .parquet or .txt, the first and last also .gz or .zst"
        ) from error


def _marked(kind: str, groups: Texts) -> dict[str, Sequence[str]]:
    return {f"{kind}: {name}": group for name, group in sorted(groups.items())}


def table(family: Mapping[str, Any]) -> str:
    """Return what was made, for a person."""
    targets = list(family["models"][0]["scores"])
    lines = ["model  parameters     tokens  " + "  ".join(f"{name:>12}" for name in targets)]
    for model in family["models"]:
        scores = "  ".join(f"{model['scores'][name]:12.4f}" for name in targets)
        lines.append(f"{model['folder']:>5}  {model['parameters']:10,}  {model['tokens']:9,}  {scores}")
    held = ", ".join(f"{value}: {count}" for value, count in family["strengths"].items())
    return "\n".join([*lines, f"predictive strength of held-out documents: {held}"])


if __name__ == "__main__":
    sys.exit(main())
