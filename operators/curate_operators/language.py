"""Identifies the language of each document with fastText.

Emits a struct: `code` (string, ISO 639-1 where there is one, `und` for text without words), `confidence` (float32, 0–1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import TEXT
from curate.errors import PipelineError
from curate.files import local_file
from curate.protocols import Scorer

SHIPPED_MODEL = Path(__file__).parent / "data" / "lid.176.ftz"
UNDETERMINED = "und"
OUTPUT = pa.struct([pa.field("code", pa.string()), pa.field("confidence", pa.float32())])
# fastText ends a text at its own end-of-sentence word, so a page that contains it would be judged by its beginning.
BREAKS = r"[\n\r\x00]|</s>"
ADDRESSES = r"(?:https?://|www\.)\S+|\S+@\S+\.\S+"
# Letters taken apart into base and mark (Latin, Hangul, kana): the model has only seen them composed.
DECOMPOSED = "[\u0300-\u036f\u1100-\u11ff\u3099\u309a]"


@dataclass(frozen=True)
class Language(Scorer):
    """Identifies the language of each document.

    ## What it does
    Asks a fastText model about the first `prefix_chars` characters, with line breaks read as spaces. Unless `raw`, the model
    sees them composed (NFC), in lower case and without web and e-mail addresses; and where neither a fifth of the first 100
    characters nor a tenth of all letters is of a script of that language, the likeliest language that fits takes its place. Emits
    `code` and `confidence` (the model's probability); text without a letter, or in a script of no known language, is `und`
    with confidence 0.

    ## Why
    Languages are curated apart, with rules and classifiers of their own. The share of wrong labels falls with length: ask
    for a confidence (FineWeb and DCLM take 0.65) in a `where` step, where it can change without scoring again.
    lid.176 was made of ordinary composed, mixed-case prose: addresses, capitals or letters taken apart lead it astray, and it
    may call a short Chinese text English. What the cleaning is worth: `python -m tests.benchmarks.language_id`.

    ## Example
        - use: language
          into: lang
        - use: where
          params: {keep: "lang.code = 'en' and lang.confidence >= 0.65"}

    ## Parameters
    - `model`: path of a fastText model with labels `__label__<code>`; null = the shipped lid.176.ftz (176 languages).
    - `prefix_chars`: how much of the text is looked at; null = all of it. fastText reads about 10 MB/s.
    - `raw`: true = the model sees the text as it stands and its answer is never doubted, as in datatrove's and DCLM's pipelines,
      and for models trained on text with capitals and addresses.

    ## Source
    Joulin et al., *Bag of Tricks for Efficient Text Classification* (2016); model lid.176.ftz, CC BY-SA 3.0. The cleaning is ours.
    """

    version = 3
    files: ClassVar[tuple[str, ...]] = ("model",)

    model: str | None = None
    prefix_chars: int | None = 2000
    raw: bool = False

    def __post_init__(self) -> None:
        if self.prefix_chars is not None and self.prefix_chars < 1:
            raise PipelineError(f"language: prefix_chars is less than 1: {self.prefix_chars}", "null = the whole text")

    def verify_file(self, parameter: str, path: Path) -> None:
        kernels.read_model(path)

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "")
        if self.prefix_chars is not None:
            texts = pc.utf8_slice_codeunits(texts, 0, self.prefix_chars)
        texts = pc.replace_substring_regex(texts if self.raw else _cleaned(texts), BREAKS, " ")
        texts = pc.utf8_trim_whitespace(texts)
        probabilities, words = self._model.probabilities(texts)
        labels, best = np.array(self._model.labels, dtype=object), probabilities.argmax(axis=1)
        codes = np.where(words > 0, labels[best], UNDETERMINED)
        confidences = np.where(words > 0, probabilities[np.arange(len(best)), best], 0)
        if not self.raw:
            self._correct(texts, probabilities, codes, confidences)
        return pa.StructArray.from_arrays([pa.array(codes, pa.string()), pa.array(confidences, pa.float32())], fields=list(OUTPUT))

    def _correct(self, texts: pa.Array, probabilities: Any, codes: Any, confidences: Any) -> None:
        """Put the likeliest language that its letters allow wherever they contradict the first."""
        from curate_operators.language_scripts import allowed, contradicted

        rows = contradicted(texts, codes)
        for row, languages in zip(rows, allowed(texts.take(pa.array(rows, pa.int64()))), strict=True):
            fitting = [place for place, label in enumerate(self._model.labels) if label in languages]
            best = max(fitting, key=probabilities[row].__getitem__, default=None)
            codes[row] = UNDETERMINED if best is None else self._model.labels[best]
            confidences[row] = 0 if best is None else probabilities[row, best]

    @functools.cached_property
    def _model(self) -> kernels.FastTextModel:
        return kernels.read_model(local_file(self.model) if self.model is not None else SHIPPED_MODEL)


def _cleaned(texts: pa.Array) -> pa.Array:
    """Return texts composed, in lower case, without addresses; nothing where no letter is left."""
    taken_apart = pc.match_substring_regex(texts, DECOMPOSED)
    if taken_apart.true_count:
        texts = pc.replace_with_mask(texts, taken_apart, pc.utf8_normalize(texts.filter(taken_apart), form="NFC"))
    texts = pc.replace_substring_regex(pc.utf8_lower(texts), ADDRESSES, " ")
    return pc.if_else(pc.match_substring_regex(texts, r"\p{L}"), texts, "")
