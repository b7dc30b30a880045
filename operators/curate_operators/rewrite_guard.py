"""Drops rewritten documents that are no answer, or say something else than their source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.document import TEXT, TEXT_TYPE, leaf, type_at
from curate.errors import PipelineError
from curate.protocols import Filter
from curate_operators import leaked_text, rewrite_measures
from curate_operators.language import UNDETERMINED, Language
from curate_operators.prompt_sets import Guarded, Style, read, read_file, read_shipped
from curate_operators.rewrite import ORIGINAL, REWRITE, SOURCE_TEXT
from curate_operators.rules import Verdict, ratio

SURE = 0.65  # confidence from which on two languages are held against each other
REPEATED_WORDS = 10
LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
Measure = Callable[[str, str], float]


@dataclass(frozen=True)
class RewriteGuard(Filter):
    """Drops rewritten documents that are no answer, or say something else than their source.

    ## What it does
    Looks at what `rewrite` made, or `instruct_query` and `instruct_answer`, and passes originals by. The first broken rule, in this
    order, is the reason:

    | reason | broken when |
    |---|---|
    | `truncated`, `no_lead_in`, `no_pairs`, `no_list`, `no_tag`, `empty`, `too_few_tokens` | `rewrite` found no text in the answer |
    | `truncated`, `no_query`, `no_answer` | `instruct_query` or `instruct_answer` found none |
    | `refusal` | the text says what models say in place of answering, and the source does not |
    | `preamble` | it begins or ends with talk about itself: *Sure, here is …* |
    | `leaked_instructions` | it has a mark or 6 words of the prompt, 4 words of an instruction in the source, what it wants, or its own |
    | `repetitive` | characters in repeated runs of 10 words ÷ characters > `max_repeated_ratio`, and more than in the source |
    | `copied` | runs of 8 words (letters in scripts without spaces) that stand in the source ÷ all such runs > `max_copy_ratio` |
    | `other_language` | text and source are in different languages, both told with a confidence of 0.65 |
    | `incomplete` | what `rewrite` lost or left out ÷ the document > `max_lost_ratio` (faithful styles only) |
    | `too_short` | bytes of text ÷ bytes of source < `min_length_ratio` (faithful), or < 1 (`no_shorter`, as REWIRE's `improve`) |
    | `too_long` | the same > `max_length_ratio` |
    | `lost_numbers` | numbers of the source that the text has ÷ numbers of the source < `min_number_recall` (faithful) |
    | `lost_names` | the same of words of names < `min_name_recall` (faithful) |
    | `new_numbers` | numbers of the text that the source has not ÷ numbers of the text > `max_new_number_ratio` |
    | `new_names` | the same of words of names > `max_new_name_ratio` |
    | `too_far` | cosine of the two vectors < `min_cosine` |

    A style is faithful when its answer is meant to say all that the document says. Of a text that was put behind its source, only what
    is new is looked at. Names are words with a capital where no sentence begins (in German all nouns: give other limits); with fewer
    than 3 names or numbers, or no run of words, a rule has nothing to say. Refusals and talk are known in English, German, French, Spanish,
    Italian, Portuguese, Russian, Chinese and Japanese.

    ## Why
    Small models refuse, chat, loop, stop in the middle, leave out half of a text and invent the other; and a page may hold
    instructions for whoever reads it. What they write is trained on as if it were true.

    ## Example
        - use: embed
          into: source_vector
          params: {model: models/all-MiniLM-L6-v2}
        - use: rewrite
          params: {llm: {model: smollm2, endpoint: "http://127.0.0.1:8000/v1"}}
        - use: embed
          into: vector
          params: {model: models/all-MiniLM-L6-v2}
        - use: rewrite_guard
          params: {vector: vector, source_vector: source_vector}

    ## Parameters
    Every limit can be null = off.
    - `prompt_set`, `prompt_file`: those of `rewrite`, or `instruct`, whose words are looked for.
    - `vector`, `source_vector`: columns of embeddings, made before and after `rewrite`; null = `min_cosine` has nothing to say.
    - `same_language`: false = the language may change.

    ## Source
    The limits on recall and cosine are common practice for synthetic data; the recognisers are ours. What they catch and what they
    cost: `python -m tests.benchmarks.rewrite_guards`.
    """

    version = 3
    files: ClassVar[tuple[str, ...]] = ("prompt_file",)

    prompt_set: Guarded = "wrap"
    prompt_file: str | None = None
    max_lost_ratio: float | None = 0.1
    min_length_ratio: float | None = 0.4
    max_length_ratio: float | None = 3.0
    min_number_recall: float | None = 0.8
    min_name_recall: float | None = 0.8
    max_new_number_ratio: float | None = 0.5
    max_new_name_ratio: float | None = 0.4
    max_copy_ratio: float | None = 0.9
    max_repeated_ratio: float | None = 0.2
    same_language: bool = True
    min_cosine: float | None = 0.8
    vector: str | None = None
    source_vector: str | None = None

    def __post_init__(self) -> None:
        if (self.vector is None) != (self.source_vector is None):
            raise PipelineError("rewrite_guard: `vector` and `source_vector` go together", "name the column of each, or neither")
        if self.prompt_file is None:
            read_shipped(self.prompt_set)

    def verify_file(self, parameter: str, path: Path) -> None:
        read_file(path)

    def verify(self, schema: pa.Schema) -> None:
        for column in filter(None, (self.vector, self.source_vector)):
            kind = type_at(schema, column)
            if kind is not None and not any(is_kind(kind) for is_kind in LISTS):
                raise PipelineError(f"rewrite_guard: column `{column}` is {kind}", "vectors of one length each, as `embed` makes them")

    def reads(self) -> tuple[str, ...]:
        return (TEXT, SOURCE_TEXT, *(f"{REWRITE}.{name}" for name in ("style", "problem", "faithful", "lost_ratio")), *self._vectors)

    @property
    def _vectors(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.vector, self.source_vector)))

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        verdict = Verdict(docs.num_rows)
        problems = leaf(docs, f"{REWRITE}.problem")
        for problem in sorted(pc.unique(problems).drop_null().to_pylist()):
            verdict.where(problem, _true(pc.equal(problems, problem)), np.ones(docs.num_rows))
        made = pc.and_(pc.not_equal(leaf(docs, f"{REWRITE}.style"), ORIGINAL), pc.is_null(problems))
        rows = np.flatnonzero(_true(made))
        if len(rows):
            self._judge(docs.take(pa.array(rows)), verdict.at(rows))
        return verdict.decisions()

    def _judge(self, docs: pa.RecordBatch, verdict: Verdict) -> None:
        sources = pc.fill_null(docs.column(SOURCE_TEXT), "").to_pylist()
        texts = [_new(text, source) for text, source in zip(pc.fill_null(docs.column(TEXT), "").to_pylist(), sources, strict=True)]
        pairs, one = list(zip(sources, texts, strict=True)), np.ones(len(texts))
        verdict.where("empty", np.array([not text.strip() for text in texts], bool), one)
        styles = leaf(docs, f"{REWRITE}.style").to_pylist()
        self._judge_answers(pairs, styles, verdict)
        self._judge_words(sources, texts, verdict)
        faithful = _true(leaf(docs, f"{REWRITE}.faithful"))
        lost = pc.fill_null(leaf(docs, f"{REWRITE}.lost_ratio"), 0.0).to_numpy(zero_copy_only=False)
        verdict.above("incomplete", self.max_lost_ratio, np.where(faithful, lost, np.nan))
        lengths = np.array([len(text.encode()) / max(len(source.encode()), 1) for source, text in pairs])
        verdict.below("too_short", self.min_length_ratio, np.where(faithful, lengths, np.nan))
        if self.min_length_ratio is not None:
            no_shorter = np.array([name in self._styles and self._styles[name].no_shorter for name in styles], bool)
            verdict.where("too_short", no_shorter & (lengths < 1), lengths)
        verdict.above("too_long", self.max_length_ratio, lengths)
        measures = rewrite_measures
        verdict.below("lost_numbers", self.min_number_recall, np.where(faithful, _each(measures.number_recall, pairs), np.nan))
        verdict.below("lost_names", self.min_name_recall, np.where(faithful, _each(measures.name_recall, pairs), np.nan))
        verdict.above("new_numbers", self.max_new_number_ratio, _each(measures.new_number_ratio, pairs))
        verdict.above("new_names", self.max_new_name_ratio, _each(measures.new_name_ratio, pairs))
        if self._vectors:
            verdict.below("too_far", self.min_cosine, _cosines(*(leaf(docs, column) for column in self._vectors)))

    def _judge_answers(self, pairs: Sequence[tuple[str, str]], styles: Sequence[str], verdict: Verdict) -> None:
        """Drop what is no text but a model's talk, or was never to be told."""
        one = np.ones(len(pairs))
        for reason, file in (("refusal", "refusals.txt"), ("preamble", "preambles.txt")):
            verdict.where(reason, np.array([leaked_text.phrase(text, source, file) is not None for source, text in pairs], bool), one)
        prompts = [leaked_text.prompt_grams(self._styles[style].words if style in self._styles else "") for style in styles]
        leaked = [leaked_text.leaked_words(text, source, prompt) for (source, text), prompt in zip(pairs, prompts, strict=True)]
        verdict.where("leaked_instructions", np.array([found is not None for found in leaked], bool), one)

    def _judge_words(self, sources: Sequence[str], texts: Sequence[str], verdict: Verdict) -> None:
        """Drop what repeats itself, copies its source or changes its language."""
        made, given = pa.array(texts, TEXT_TYPE), pa.array(sources, TEXT_TYPE)
        if self.max_repeated_ratio is not None:
            repeated, before = _repeated(made), _repeated(given)
            verdict.where("repetitive", (repeated > self.max_repeated_ratio) & (repeated > before), repeated)
        verdict.above("copied", self.max_copy_ratio, _each(rewrite_measures.copy_ratio, list(zip(sources, texts, strict=True))))
        if self.same_language:
            (codes, sure), (own, own_sure) = self._told(made), self._told(given)
            known = (sure >= SURE) & (own_sure >= SURE) & (codes != UNDETERMINED) & (own != UNDETERMINED)
            verdict.where("other_language", known & (codes != own), sure)

    def _told(self, texts: pa.Array) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the languages of texts, and how sure that is."""
        told = self._language.score(pa.record_batch({TEXT: texts}))
        codes, sure = told.flatten()
        return np.array(codes.to_pylist(), dtype=object), sure.to_numpy().astype(np.float64)

    @functools.cached_property
    def _language(self) -> Language:
        return Language()

    @functools.cached_property
    def _styles(self) -> Mapping[str, Style]:
        return read(self.prompt_set, self.prompt_file)


def _true(flags: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.fill_null(flags, False).to_numpy(zero_copy_only=False)
    return found


def _new(text: str, source: str) -> str:
    """Return a text without the source that it may stand behind."""
    return text[len(source) :].strip() if source and text.startswith(f"{source}\n\n") else text


def _each(measure: Measure, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    return np.array([measure(source, text) for source, text in pairs], np.float64)


def _repeated(texts: pa.Array) -> NDArray[np.float64]:
    """Return the share of each text's characters that stand in repeated runs of words."""
    view = kernels.Texts.of(texts)
    _, repeated = kernels.repeated_grams(kernels.words(view, "en"), (), (REPEATED_WORDS,))
    return ratio(repeated[:, 0], kernels.lengths(view))


def _cosines(vectors: pa.Array, others: pa.Array) -> NDArray[np.float64]:
    """Return the cosine of each pair of vectors, NaN where one is null or zero."""
    known = _true(pc.and_(pc.is_valid(vectors), pc.is_valid(others)))
    found = np.full(len(vectors), np.nan)
    left, right = (_matrix(each.filter(pa.array(known))) for each in (vectors, others))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[known] = np.einsum("ij,ij->i", left, right) / lengths
    return found


def _matrix(vectors: pa.Array) -> NDArray[np.float64]:
    size = pc.max(pc.list_value_length(vectors)).as_py() or 0
    matrix: NDArray[np.float64] = vectors.cast(pa.list_(pa.float64(), size)).flatten().to_numpy(zero_copy_only=False)
    return matrix.reshape(len(vectors), size)
