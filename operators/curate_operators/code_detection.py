"""Detects the programming language of source files.

Emits a struct: `language` (string, Linguist's name in lower case; null where it is no text or nothing is known of it) and
`confidence` (float32, 0–1).
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf
from curate.errors import OperatorError
from curate.protocols import Scorer
from curate_operators.code_languages import languages_by_name

OUTPUT = pa.struct([pa.field("language", pa.string()), pa.field("confidence", pa.float32())])
# Magika's labels that are not Linguist's names in lower case.
LINGUIST = {
    "asm": "assembly",
    "batch": "batchfile",
    "bazel": "starlark",
    "bib": "bibtex",
    "cpp": "c++",
    "cs": "c#",
    "csproj": "xml",
    "erb": "html+erb",
    "gemfile": "ruby",
    "gemspec": "ruby",
    "gitattributes": "git attributes",
    "gitmodules": "git config",
    "htaccess": "apacheconf",
    "ignorefile": "ignore list",
    "ipynb": "jupyter notebook",
    "jsonl": "json",
    "latex": "tex",
    "lisp": "common lisp",
    "objectivec": "objective-c",
    "po": "gettext catalog",
    "proto": "protocol buffer",
    "rdf": "xml",
    "rst": "restructuredtext",
    "srt": "subrip text",
    "textproto": "protocol buffer text format",
    "txt": "text",
    "vcxproj": "xml",
    "vtt": "webvtt",
}
NO_LANGUAGE = {"empty", "unknown", "undefined"}


@dataclass(frozen=True)
class DetectCodeLanguage(Scorer):
    """Detects the programming language of source files.

    ## What it does
    Takes the language from the ending of a file's name where `by` gives one that it knows (confidence 1), and asks Magika, a
    small neural network that looks at the first and the last kilobyte, about all others. Emits `language`, named as GitHub does
    but in lower case (`python`, `c++`, `text`), and `confidence`; null and 0 for empty text and for what is no text.

    ## Why
    Code found in web pages, archives and chats has no file name, and rules for code differ by language (`code_quality`).
    Of the packages that guess languages only Magika does it well (`tests/operators/test_code_detection.py`); the others guess
    most files wrong, or need a TensorFlow of years ago. It knows some 90 textual formats and always names one, so ask for a
    confidence. It is slow: some 150 files a second and core.

    ## Example
        - use: detect_code_language
          into: code
          params: {by: path}
        - use: where
          params: {keep: "code.language = 'python' and code.confidence >= 0.8"}

    ## Parameters
    - `by`: a column with a file's name, path or URL; null = the text alone decides.

    ## Source
    Fratantonio et al., *Magika: AI-Powered Content-Type Detection* (2024); the package `magika`, which brings its model
    (Apache-2.0), is the extra `code`.
    """

    cost = "costly"
    reproducible = "tolerance"

    by: str | None = None

    def reads(self) -> tuple[str, ...]:
        return (TEXT,) if self.by is None else (TEXT, self.by)

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        named = pa.nulls(len(docs), pa.string()) if self.by is None else pc.cast(languages_by_name(leaf(docs, self.by)), pa.string())
        contents = pc.cast(pc.fill_null(docs.column(TEXT), ""), pa.large_string()).cast(pa.large_binary())
        asked = contents.filter(pc.is_null(named)).to_pylist()
        answers = [self._ask(content) for content in asked]
        guessed = pa.array([language for language, _ in answers], pa.string())
        scores = pa.array([score for _, score in answers], pa.float32())
        languages = pc.replace_with_mask(named, pc.is_null(named), guessed)
        confidences = pc.replace_with_mask(pa.array([1.0] * len(docs), pa.float32()), pc.is_null(named), scores)
        return pa.StructArray.from_arrays([languages, confidences], fields=list(OUTPUT))

    def _ask(self, content: bytes) -> tuple[str | None, float]:
        if not content:
            return None, 0.0
        found = self._detector.identify_bytes(content)
        label = str(found.output.label)
        if label in NO_LANGUAGE or not found.output.is_text:
            return None, 0.0
        return LINGUIST.get(label, label), found.score

    @functools.cached_property
    def _detector(self) -> Any:
        try:
            magika: Any = importlib.import_module("magika")
        except ImportError as error:
            raise OperatorError(
                "detect_code_language: magika is not installed",
                "install curate with its extra `code`: `pip install '.[code]'` in a checkout",
            ) from error
        return _on_one_thread(magika.Magika(prediction_mode=magika.PredictionMode.BEST_GUESS))


def _on_one_thread(detector: Any) -> Any:
    """Return the detector with a session of one thread: its own takes every core of the machine, and is slower for it."""
    if hasattr(detector, "_onnx_session") and hasattr(detector, "_model_path"):
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        detector._onnx_session = runtime.InferenceSession(str(detector._model_path), options, providers=["CPUExecutionProvider"])
    return detector
