"""Runs the official fastText library once, in a process of its own: a script that knows nothing but that library.

`{"train": …, "text": …, "model": …}` trains and saves a dense model, `{"quantise": …, "model": …, "smaller": …}` reads one and saves a
quantised one. Errors go to standard error, the last line says what is wrong.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(task: dict[str, Any]) -> None:
    """Do what the task says."""
    import fasttext
    from fasttext.FastText import _FastText

    if "train" in task:
        fasttext.train_supervised(task["text"], verbose=0, **task["train"]).save_model(task["model"])
        return
    model = _FastText(model_path=task["model"])
    model.quantize(verbose=0, **task["quantise"])
    model.save_model(task["smaller"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
