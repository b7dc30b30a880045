"""Has a language model rewrite documents, in styles that are data.

Adds to each document `rewrite`, a struct of `style` (string, `original` = as it was read), `segments`, `lost` and `left_out` (int32:
those that were asked about; of them those whose answer was of no use; lines and segments that were too long or too short for the style),
`lost_ratio` (double, the share of the document that stands in either), `problem` (string, why there is no text) and `faithful` (bool);
and `source_text` (large_string, null for originals): what it was made from.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, ID_TYPE, PARENT_ID, TEXT, TEXT_TYPE, leaf, set_column, type_at
from curate.errors import PipelineError
from curate.hashing import hash64
from curate.llm import Answer, Asked, Llm
from curate.protocols import FlatMapper
from curate_operators.prompt_sets import Rewriting, Style, read, read_file, read_shipped
from curate_operators.prompt_tokens import asked_about, pieces
from curate_operators.rewrite_answers import said
from curate_operators.rewrite_segments import Cut, segments
from curate_operators.rewrite_styles import Choose, Flags, Route, chosen, read_routes
from curate_operators.token_counts import Tokens, read_tokens

REWRITE, SOURCE_TEXT, ORIGINAL = "rewrite", "source_text", "original"
Originals = Literal["keep", "others", "drop"]
ABOUT = pa.struct(
    [
        pa.field("style", pa.string()),
        pa.field("segments", pa.int32()),
        pa.field("lost", pa.int32()),
        pa.field("left_out", pa.int32()),
        pa.field("lost_ratio", pa.float64()),
        pa.field("problem", pa.string()),
        pa.field("faithful", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class _Job:
    """A document to be rewritten in one style."""

    row: int
    route: int
    cut: Cut


@dataclass(frozen=True)
class _Made:
    """A row of the result: the text of a document, its own or made from it."""

    row: int
    text: str | None
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Rewrite(FlatMapper):
    """Has a language model rewrite each document, in one style or several.

    ## What it does
    Cuts a document into segments of whole lines that fit the style's length, asks the model about each, takes the answers out of
    their wrapping (lead-ins, quotation marks, Markdown) and joins them. Each document becomes its original, if that is kept, and one
    document for each style, with the id `<id>/0`, `<id>/1`, … and the columns of its parent. `rewrite.style` says which is which.

    Where no answer is of use, the new document is empty and `rewrite.problem` says why. Put `rewrite_guard` behind it, which drops those
    and the ones that say something else than their source. A document that no style is asked about (it is blank, too short, or beyond
    all bounds) goes with the reason `expanded_to_none` unless its original is kept.

    Which documents go to which style: `styles` names them, each with `ratio` (a share of the documents, drawn by a hash of their id)
    and with `min_score` and `max_score`, inclusive bounds of the column `score`.

    | prompt_set | styles | after |
    |---|---|---|
    | `wrap` | `easy`, `medium`, `hard`, `qa` | WRAP |
    | `nemotron_cc` | `wikipedia`, `diverse_qa`, `distill`, `extract_knowledge`, `knowledge_list` | Nemotron-CC |
    | `rewire` | `improve` | REWIRE |
    | `finephrase` | `math`, `table`, `faq`, `tutorial` | FinePhrase |

    All prompts are ours, in the intent of those methods. `curate_operators/prompts` holds them, to be copied and changed.

    ## Why
    Good text is scarce, and much of what filters drop says something worth knowing badly. Said again in another form, it is new
    training data: a share of it beside the original is worth more than a second reading of the original.

    ## Example
        - use: rewrite
          params:
            llm: {model: smollm2, endpoint: "http://127.0.0.1:8000/v1", temperature: 0.5}
            prompt_set: nemotron_cc
            score: quality
            styles: {wikipedia: {max_score: 11}, diverse_qa: {min_score: 12}, distill: {min_score: 12, ratio: 0.5}}
        - use: rewrite_guard

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `prompt_set`: a set that comes with curate; `prompt_file`: a file of your own in place of it.
    - `styles`: those to use; none = all of the set, for every document.
    - `choose`: `each` style takes its share by itself, or every document goes to `one`, drawn with the ratios as weights.
    - `score`: the column that bounds are about; a document without a score goes where there are no bounds.
    - `originals`: `keep` all of them, `drop` them, or keep only the `others`, which nothing stands in for: those that went to no style, and
      those that a style would have put before its answer (`append`) had this been of use.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.
    - `seed`: of all that is drawn.

    ## Source
    Maini et al., *Rephrasing the Web* (2024); Su et al., *Nemotron-CC* (2024), whose lengths and steps after the answer these are (an
    answer that is cut goes whole); Nguyen et al., *Recycling the Web* (2025).
    """

    version = 3
    cost = "costly"
    reproducible = "cached"
    files: ClassVar[tuple[str, ...]] = ("prompt_file", "tokenizer")
    folders: ClassVar[tuple[str, ...]] = ("tokenizer",)

    llm: Mapping[str, Any] = field(hash=False)
    prompt_set: Rewriting = "wrap"
    prompt_file: str | None = None
    styles: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    choose: Choose = "each"
    score: str | None = None
    originals: Originals = "keep"
    tokenizer: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.models()
        if self.prompt_file is None:
            read_routes(self.styles, read_shipped(self.prompt_set), self.score)
        if self.choose == "one" and self.styles and not any(rules.get("ratio", 1) for rules in self.styles.values()):
            raise PipelineError("rewrite: with `choose: one` some style must have a ratio above 0", "ratios are the weights of the draw")
        if not 0 <= self.seed < 1 << 64:
            raise PipelineError(f"rewrite: seed is not between 0 and 2^64 - 1: {self.seed}")

    def models(self) -> dict[str, Llm]:
        return {"llm": self._llm}

    def asks(self, text_bytes: int, documents: int) -> Mapping[str, Asked]:
        shares = [(route.style, route.share(self._routes, self.choose)) for route in self._routes]  # of scores nothing is known
        return {"llm": sum((pieces(style, int(text_bytes * part), int(documents * part)) for style, part in shares), Asked())}

    def asks_about(self, texts: Sequence[str]) -> Mapping[str, Asked]:
        asked = Asked()
        for route in self._routes:
            found = [segment for cut in segments(texts, route.style, self._tokens) for segment in cut.segments]
            asked += asked_about(route.style, found, self._tokens).times(route.share(self._routes, self.choose))
        return {"llm": asked}

    def verify_file(self, parameter: str, path: Path) -> None:
        if parameter == "tokenizer":
            read_tokens(str(path))
        else:
            read_routes(self.styles, read_file(path), self.score)

    def verify(self, schema: pa.Schema) -> None:
        kind = type_at(schema, self.score) if self.score is not None else None
        if kind is not None and not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise PipelineError(
                f"rewrite: the score `{self.score}` is {kind}", "a column of numbers, or a field of a struct: `quality.score`"
            )

    def reads(self) -> tuple[str, ...]:
        return (TEXT,) if self.score is None else (TEXT, self.score)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {REWRITE: ABOUT, SOURCE_TEXT: TEXT_TYPE}

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        jobs = list(self._jobs(docs, texts))
        asked = [self._routes[job.route].style.ask(segment) for job in jobs for segment in job.cut.segments]
        answers = iter(self._llm.ask(asked))
        ids = docs.column(ID).to_pylist()
        made = [self._made(job, [next(answers) for _ in job.cut.segments], ids[job.row], texts[job.row]) for job in jobs]
        return self._batch(docs, sorted([*self._kept(docs, jobs, made), *made], key=lambda each: each.row))

    def _jobs(self, docs: pa.RecordBatch, texts: Sequence[str]) -> Iterator[_Job]:
        """Yield what is to be asked, style by style; texts that are too short for a style are none of its jobs."""
        for place, flags in enumerate(self._chosen(docs)):
            rows = np.flatnonzero(flags).tolist()
            cuts = segments([texts[row] for row in rows], self._routes[place].style, self._tokens)
            yield from (_Job(row, place, cut) for row, cut in zip(rows, cuts, strict=True) if cut.segments)

    def _chosen(self, docs: pa.RecordBatch) -> list[Flags]:
        scores = np.full(docs.num_rows, np.nan)
        if self.score is not None:
            scores = pc.cast(leaf(docs, self.score), pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        return chosen(self._routes, docs.column(ID), scores, self.choose, self.seed)

    def _kept(self, docs: pa.RecordBatch, jobs: Sequence[_Job], made: Sequence[_Made]) -> list[_Made]:
        """Return the originals that stay, which come before what was made of them."""
        if self.originals == "drop":
            return []
        gone: set[int] = set()
        if self.originals == "others":
            append = [(job.row, each) for job, each in zip(jobs, made, strict=True) if self._routes[job.route].style.append]
            held = {row for row, each in append if each.about["problem"] is None}
            gone = {job.row for job in jobs} - ({row for row, _ in append} - held)
        about = {"style": ORIGINAL, "segments": 0, "lost": 0, "left_out": 0, "lost_ratio": 0.0, "faithful": True}
        texts = docs.column(TEXT).to_pylist()
        return [_Made(row, text, about) for row, text in enumerate(texts) if row not in gone]

    def _made(self, job: _Job, answers: Sequence[Answer], doc_id: str, source: str) -> _Made:
        style = self._routes[job.route].style
        found = [said(answer, style) for answer in answers]
        problems = [each.problem for each in found if each.problem is not None]
        parts = self._drawn([part for each in found for part in each.parts], style, job.cut.tokens, doc_id)
        text = ("\n\n" if style.answer == "pairs" else "\n").join(parts)
        problem = problems[0] if not parts else None
        if parts and self._tokens.count([text])[0] < style.min_output_tokens:
            problem = "too_few_tokens"
        if style.append:
            text = f"{source}\n\n{text}"
        told = sum(_characters(segment) for segment, each in zip(job.cut.segments, found, strict=True) if each.parts)
        about = {
            "style": style.name,
            "segments": len(found),
            "lost": len(problems),
            "left_out": job.cut.left_out,
            "lost_ratio": 1 - told / _characters(source),
            "problem": problem,
            "faithful": style.faithful,
        }
        return _Made(job.row, "" if problem else text, about)

    def _drawn(self, parts: list[str], style: Style, tokens: int, doc_id: str) -> list[str]:
        """Return as many pairs as a document of this length may have, in an order of chance; other parts as they are."""
        if style.pairs_per_150_tokens is None or not parts:
            return parts
        *order, draw = hash64(pa.array([f"{doc_id}\n{style.name}\n{n}" for n in range(len(parts) + 1)]), self.seed).tolist()
        most = max(1, style.pairs_per_150_tokens * tokens // 150)
        return [part for _, part in sorted(zip(order, parts, strict=True))][: 1 + draw % most]

    def _batch(self, docs: pa.RecordBatch, made: Sequence[_Made]) -> pa.RecordBatch:
        rows = pa.array([each.row for each in made], pa.int64())
        whole = docs.take(rows)
        whole = set_column(whole, PARENT_ID, whole.column(ID).cast(ID_TYPE))
        texts = docs.column(TEXT).cast(TEXT_TYPE)
        whole = set_column(whole, TEXT, pa.array([each.text for each in made], TEXT_TYPE).cast(docs.column(TEXT).type))
        whole = set_column(whole, REWRITE, pa.array([dict(each.about) for each in made], ABOUT))
        origin = [None if each.about["style"] == ORIGINAL else each.row for each in made]
        return set_column(whole, SOURCE_TEXT, texts.take(pa.array(origin, pa.int64())))

    @functools.cached_property
    def _llm(self) -> Llm:
        return Llm(self.llm, bounded=True)

    @functools.cached_property
    def _routes(self) -> tuple[Route, ...]:
        return read_routes(self.styles, read(self.prompt_set, self.prompt_file), self.score)

    @functools.cached_property
    def _tokens(self) -> Tokens:
        return read_tokens(self.tokenizer)


def _characters(text: str) -> int:
    """Return how many characters a text has without white space, of which cutting into segments takes some."""
    return sum(map(len, text.split()))
