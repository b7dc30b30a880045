"""Scores documents with fastText classifiers."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.document import TEXT
from curate.errors import OperatorError, PipelineError
from curate.files import check_sha256, local_file, verify_sha256
from curate.protocols import Scorer

TOP = pa.struct([pa.field("label", pa.string()), pa.field("probability", pa.float32())])

LANGUAGE = re.compile(r"[a-z]{2,3}([_-].+)?")
SHOWN = 8  # labels in a hint


@dataclass(frozen=True)
class FastText(Scorer):
    """Scores documents with a fastText classifier: the probability of a label, or the likeliest label.

    ## What it does
    With `label`, emits its probability (float32, 0 to 1). Without, emits `label` and `probability` of the likeliest. A text
    without words has no score (null). Line feeds count as white space, and `</s>` in a text is skipped, where fastText itself
    would end the text. Models are read as they are, dense (`.bin`) and quantised (`.ftz`), of every loss; the
    probabilities are those of the official library without the 1e-5 that it adds.

    ## Why
    A linear classifier over words and word pairs, trained on pages that one wants and on a crawl, is the cheapest filter that
    makes better corpora (DCLM, PreSelect). The score is a measure: cut by its quantiles, never by somebody else's constant.

    ## Example
        - use: fasttext
          into: quality
          params: {model: quality.bin, label: good}

    ## Parameters
    - `model`: a fastText classifier: a path relative to the pipeline file, a URL, or `stage:NAME` for that which a stage trained;
      its content is part of the identity.
    - `label`: whose probability, without the prefix; null = the likeliest label.
    - `label_prefix`: what labels begin with in the model's file.
    - `sha256`: what the file's hash must be; null = any. Files of artifacts are held to that of their manifest anyway.

    ## Source
    Joulin et al., *Bag of Tricks for Efficient Text Classification* (2016). A kernel of ours reads the official format.
    """

    files: ClassVar[tuple[str, ...]] = ("model",)

    model: str
    label: str | None = None
    label_prefix: str = "__label__"
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.label is not None and not self.label.removeprefix(self.label_prefix):
            raise PipelineError("fasttext: label is empty", "null = the likeliest label")
        if self.sha256 is not None:
            check_sha256(self.sha256)

    def output(self) -> pa.DataType:
        return TOP if self.label is None else pa.float32()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        probabilities, words = self._model.probabilities(docs.column(TEXT))
        none = words == 0
        if self.label is not None:
            return pa.array(probabilities[:, self._place], mask=none)
        best = probabilities.argmax(axis=1)
        labels = pa.array(self._model.labels, pa.string()).take(pa.array(best))
        chosen = pa.array(probabilities[np.arange(len(best)), best])
        return pa.StructArray.from_arrays([labels, chosen], fields=list(TOP), mask=pa.array(none))

    def verify_file(self, parameter: str, path: Path) -> None:
        self._read(path)

    @functools.cached_property
    def _model(self) -> kernels.FastTextModel:
        return self._read(local_file(self.model))

    @functools.cached_property
    def _place(self) -> int:
        """The number of the label."""
        return self._model.labels.index(self._wanted)

    @property
    def _wanted(self) -> str:
        """The label's name, which may be given with its prefix."""
        return (self.label or "").removeprefix(self.label_prefix)

    def _read(self, path: Path) -> kernels.FastTextModel:
        """Return the model; raise `OperatorError` when it is none, another one, or lacks the label."""
        if self.sha256 is not None:
            verify_sha256(path, self.sha256)
        model = kernels.read_model(path, self.label_prefix)
        if self.label is not None and self._wanted not in model.labels:
            raise OperatorError(f"fastText model {path} has no label `{self._wanted}`", _hint(model.labels))
        return model


def _hint(labels: Sequence[str]) -> str:
    """Return which labels a model has; those of models for languages are many codes of two or three letters."""
    shown = ", ".join(labels[:SHOWN]) + (f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else "")
    codes = sum(LANGUAGE.fullmatch(label) is not None for label in labels)
    languages = len(labels) > SHOWN and codes >= 0.9 * len(labels)
    return f"its labels: {shown}" + ("; it tells languages, and is a model for `language`" if languages else "")
