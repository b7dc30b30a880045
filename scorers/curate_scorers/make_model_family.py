"""Makes a family of small language models whose order on a target is known: `python -m curate_scorers.make_model_family --help`.

The operator `train_family` makes one in a pipeline; this command is for text that is in none. `lm_loss` measures documents by each model,
and `predictive_strength` whether those losses order the models as the target does. Models of one size trained on different mixtures of the
text differ in what they know; models of several sizes or training lengths mostly in how much, so that nearly every document has them in
order. Minutes on two cores; larger with `--width`, `--layers`, `--tokens` on a GPU.

    python -m curate_scorers.make_model_family --out family --text crawl.jsonl.zst --by domain --target questions.jsonl --models 5

FOLDER gets `1` (the weakest) to `5` (the strongest), Hugging Face folders, and `family.json`: each model's mixture, tokens, bits per
byte of held-out documents, and its score on each target (minus bits per byte). The same seed and machine give the same family.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError, OperatorError
from curate_scorers.make_model_family_ranking import Texts, documents_losses, measured, ranked, table
from curate_scorers.make_model_family_training import Recipe, make_tokenizer, recipes, split, streams, train


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
    folders, abouts, losses = [], [], []
    for number, member in enumerate(recipes(recipe, list(tokens))):
        folders.append(out / f"training-{number}")
        abouts.append(train(folders[-1], tokenizer, tokens, member))
        losses.append({name: documents_losses(folders[-1], group) for name, group in measured(held_out, target).items()})
        print(f"{number + 1} of {recipe.models} trained on {abouts[-1]['tokens']:,} tokens", file=sys.stderr)
    order, family = ranked(abouts, losses, recipe)
    for rank, number in enumerate(order, 1):
        shutil.move(folders[number], out / str(rank))
    (out / "family.json").write_bytes(orjson.dumps(family, option=orjson.OPT_INDENT_2) + b"\n")
    return family


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


if __name__ == "__main__":
    sys.exit(main())
