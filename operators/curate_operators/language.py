"""Identifies the language of each document with fastText.

Emits a struct: `code` (string, ISO 639-1 where there is one, `und` for text without words), `confidence` (float32, 0–1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.errors import PipelineError
from curate.protocols import Scorer
from curate_operators.fasttext_file import load_model

if TYPE_CHECKING:
    from fasttext.FastText import _FastText

SHIPPED_MODEL = Path(__file__).parent / "data" / "lid.176.ftz"
UNDETERMINED = "und"
LABEL_PREFIX = "__label__"
OUTPUT = pa.struct([pa.field("code", pa.string()), pa.field("confidence", pa.float32())])
# fastText ends a text at its own end-of-sentence word, so a page that contains it would be judged by its beginning.
BREAKS = r"[\n\r\x00]|</s>"
ADDRESSES = r"(?:https?://|www\.)\S+|\S+@\S+\.\S+"
# Letters taken apart into base and mark (Latin, Hangul, kana): the model has only seen them composed.
DECOMPOSED = "[\u0300-\u036f\u1100-\u11ff\u3099\u309a]"

NO_THRESHOLD = -1e-5  # fastText leaves out answers less likely than the threshold and 1e-5


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

    version = 2
    files: ClassVar[tuple[str, ...]] = ("model",)

    model: str | None = None
    prefix_chars: int | None = 2000
    raw: bool = False

    def __post_init__(self) -> None:
        if self.prefix_chars is not None and self.prefix_chars < 1:
            raise PipelineError(f"language: prefix_chars is less than 1: {self.prefix_chars}", "null = the whole text")

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "")
        if self.prefix_chars is not None:
            texts = pc.utf8_slice_codeunits(texts, 0, self.prefix_chars)
        texts = pc.replace_substring_regex(texts if self.raw else _cleaned(texts), BREAKS, " ")
        texts = pc.utf8_trim_whitespace(texts)
        codes, confidences = self._answers(texts)
        if not self.raw:
            self._correct(texts, codes, confidences)
        return pa.StructArray.from_arrays([pa.array(codes, pa.string()), pa.array(confidences, pa.float32())], fields=list(OUTPUT))

    def _answers(self, texts: pa.Array) -> tuple[list[str], list[float]]:
        codes, confidences = [], []
        for line in texts.to_pylist():
            found = self._ask(line, 1) if line else []
            confidence, code = found[0] if found else (0.0, UNDETERMINED)
            codes.append(code)
            confidences.append(confidence)
        return codes, confidences

    def _correct(self, texts: pa.Array, codes: list[str], confidences: list[float]) -> None:
        """Put the likeliest language that its letters allow wherever they contradict the first."""
        from curate_operators.language_scripts import allowed, contradicted

        rows = contradicted(texts, codes)
        doubted = texts.take(pa.array(rows, pa.int64()))
        for row, line, languages in zip(rows, doubted.to_pylist(), allowed(doubted), strict=True):
            fitting = (answer for answer in self._ask(line, -1) if answer[1] in languages) if languages else iter(())
            confidences[row], codes[row] = next(fitting, (0.0, UNDETERMINED))

    def _ask(self, line: str, answers: int) -> list[tuple[float, str]]:
        # The binding's own predict() scans the line again and wraps the answer in numpy: 4 µs for nothing.
        found = self._model.f.predict(line + "\n", answers, NO_THRESHOLD, "strict")
        # fastText adds 1e-5 to every probability.
        return [(min(confidence, 1.0), label.removeprefix(LABEL_PREFIX)) for confidence, label in found]

    @functools.cached_property
    def _model(self) -> _FastText:
        return load_model(Path(self.model) if self.model is not None else SHIPPED_MODEL)


def _cleaned(texts: pa.Array) -> pa.Array:
    """Return texts composed, in lower case, without addresses; nothing where no letter is left."""
    taken_apart = pc.match_substring_regex(texts, DECOMPOSED)
    if taken_apart.true_count:
        texts = pc.replace_with_mask(texts, taken_apart, pc.utf8_normalize(texts.filter(taken_apart), form="NFC"))
    texts = pc.replace_substring_regex(pc.utf8_lower(texts), ADDRESSES, " ")
    return pc.if_else(pc.match_substring_regex(texts, r"\p{L}"), texts, "")
