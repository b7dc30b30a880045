"""Trains small fastText models: `python -m tests.scorers.fasttext_models TEXT TARGET OPTIONS`, a process for each.

With one thread fastText fills a tenth of its input matrix with random numbers and takes the rest as the memory happens to be: zeros in a
fresh process, leftovers of earlier models in a used one, often NaN.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from tests.kernels.conftest import sample_texts

LINES, LINE_CHARS = 600, 300


def training_lines() -> list[str]:
    """Return lines of the sample crawl labelled by the file's part that they come from, without a line feed or an end mark."""
    pieces = [" ".join(text.split()) for text in sample_texts()]
    lines = [piece[k : k + LINE_CHARS] for piece in pieces for k in range(0, len(piece), LINE_CHARS)]
    step = max(1, len(lines) // LINES)
    return [f"__label__part{k * 7 // len(lines)} {line}" for k, line in enumerate(lines)][::step]


def train(text: Path, target: Path, **options: Any) -> Path:
    """Train a model in a process of its own; a target `.ftz` is quantised."""
    command = [sys.executable, "-m", "tests.scorers.fasttext_models", str(text), str(target), orjson.dumps(options).decode()]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    return target


def main() -> None:
    import fasttext

    text, target, options = sys.argv[1], sys.argv[2], orjson.loads(sys.argv[3])
    kind, quantise = options.pop("kind", "supervised"), options.pop("quantise", None)
    made = getattr(fasttext, f"train_{kind}")(text, **{"thread": 1, "verbose": 0, "dim": 10, "bucket": 4000, "epoch": 2} | options)
    if quantise is not None:
        made.quantize(text, verbose=0, **quantise)
    made.save_model(target)


if __name__ == "__main__":
    main()
