"""Has a language model write questions and tasks that documents hold the answers to: the first step to instruction pairs.

Each becomes a document of its own: `text` is the question, `source_text` (large_string) what the model was shown of the document, and
`rewrite` is that of `rewrite`, with the style `query`, so that `rewrite_guard` knows how to judge it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, ID_TYPE, PARENT_ID, TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.llm import Answer
from curate.protocols import FlatMapper
from curate_operators.prompt_sets import Style
from curate_operators.prompted import Prompted, json_object, named
from curate_operators.rewrite import ABOUT, REWRITE, SOURCE_TEXT

SET, QUERY = "instruct", "query"
MAX_CHARS = 600  # of a question
Made = tuple[int, str, str | None]  # the row of its document, a question, and what is wrong where there is none


@dataclass(frozen=True)
class InstructQuery(Prompted, FlatMapper):
    """Has a language model write questions and tasks that documents hold the answers to.

    ## What it does
    Shows the model the beginning of each document, as many tokens as the prompt's `max_input_tokens` leave, and asks for JSON with a list
    of questions; the server is told the schema. Each that differs from the others becomes a document with the columns of its parent:
    `text` is the question, `source_text` what was shown. A blank document has none, and goes with the reason `expanded_to_none`.

    Where an answer holds no question, there is one document with an empty text, and `rewrite.problem` says why: `truncated` or
    `no_query`. Put `rewrite_guard` behind it, then `instruct_score` and `instruct_guard`, which see to it that a question is worth an
    answer, then `instruct_answer` and `rewrite_guard` again.

    ## Why
    Instruction data knows few subjects, and pretraining data all of them. Where `coverage` says that instructions are rare, questions are
    made from documents: with some 5 to 10 percent of such pairs among them, models learn more from instructions.

    ## Example
        - use: instruct_query
          params: {llm: {model: llama-70b, endpoint: "http://127.0.0.1:8000/v1", temperature: 0.7}}
        - use: rewrite_guard
          params: {prompt_set: instruct}

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `max_queries`: of a longer list the first so many; the prompt says how many to write.
    - `prompt_file`: prompts of your own, a file like `curate_operators/prompts/instruct.yaml`.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Liang et al., *Aligning Instruction Tuning with Pre-training* (AITP, 2025), whose three steps these are; the prompts are ours.
    """

    version = 2
    prompts: ClassVar[str] = SET

    max_queries: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_queries < 1:
            raise PipelineError(f"instruct_query: max_queries is less than 1: {self.max_queries}")

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, QUERY, "instruct_query")]

    def adds(self) -> Mapping[str, pa.DataType]:
        return {REWRITE: ABOUT, SOURCE_TEXT: TEXT_TYPE}

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        room = self._style.room(self._tokens)
        shown = {row: self._tokens.first(text, room) for row, text in enumerate(texts) if text.strip()}
        prompts = [dataclasses.replace(self._style.ask(text), schema=self._schema) for text in shown.values()]
        answers = self._llm.ask(prompts)
        made = [each for row, answer in zip(shown, answers, strict=True) for each in self._made(row, answer)]
        return self._batch(docs, made, shown)

    def _made(self, row: int, answer: Answer) -> Iterator[Made]:
        """Yield the questions in an answer, or one that is empty and what is wrong."""
        told = json_object(answer.required()).get("queries")
        found = [each.strip() for each in told if isinstance(each, str)] if isinstance(told, list) else []
        queries = [each for each in dict.fromkeys(found) if each and len(each) <= MAX_CHARS][: self.max_queries]
        if not queries:
            yield row, "", "truncated" if answer.finish == "length" else "no_query"
        for query in queries:
            yield row, query, None

    def _batch(self, docs: pa.RecordBatch, made: Sequence[Made], shown: Mapping[int, str]) -> pa.RecordBatch:
        whole = docs.take(pa.array([row for row, *_ in made], pa.int64()))
        whole = set_column(whole, PARENT_ID, whole.column(ID).cast(ID_TYPE))
        whole = set_column(whole, TEXT, pa.array([query for _, query, _ in made], docs.column(TEXT).type))
        whole = set_column(whole, REWRITE, pa.array([about(QUERY, problem) for *_, problem in made], ABOUT))
        return set_column(whole, SOURCE_TEXT, pa.array([shown[row] for row, *_ in made], TEXT_TYPE))

    @property
    def _schema(self) -> Mapping[str, Any]:
        query = {"type": "string", "minLength": 1, "maxLength": MAX_CHARS}
        return {
            "type": "object",
            "properties": {"queries": {"type": "array", "items": query, "minItems": 1, "maxItems": self.max_queries}},
            "required": ["queries"],
            "additionalProperties": False,
        }


def about(style: str, problem: str | None) -> dict[str, Any]:
    """Return what the column `rewrite` says of a text that was asked for in one prompt, and need not say all that its source says."""
    lost = int(problem is not None)
    return {"style": style, "segments": 1, "lost": lost, "left_out": 0, "lost_ratio": float(lost), "problem": problem, "faithful": False}
