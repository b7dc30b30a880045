"""Has a language model answer questions from the documents that they were made from, and joins questions and answers.

`instruct_answer` puts the answer in place of the question and adds `instruction` (large_string), the question; `rewrite` then says what
became of the answer, with the style `answer`. `instruct_pair` makes one text of both.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.llm import Answer, Asked
from curate.protocols import Mapper
from curate_operators.instruct_query import SET, about
from curate_operators.prompt_sets import QUERY, Style
from curate_operators.prompted import Prompted, json_object, named
from curate_operators.rewrite import ABOUT, REWRITE, SOURCE_TEXT

ANSWER, INSTRUCTION = "answer", "instruction"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {ANSWER: {"type": "string", "minLength": 1}},
    "required": [ANSWER],
    "additionalProperties": False,
}
_SLOT = re.compile(r"\{(instruction|answer)\}")


@dataclass(frozen=True)
class InstructAnswer(Prompted, Mapper):
    """Has a language model answer questions from the documents that they were made from.

    ## What it does
    Shows the model the question and the document, which `instruct_query` left in `source_text`, and asks for JSON with an answer; the
    server is told the schema. `text` becomes the answer, and `instruction` has the question. Nothing is dropped: where there is no answer
    the text is empty, and `rewrite.problem` says why: `truncated`, `no_answer`, or `no_query` where there was nothing to ask. Put
    `rewrite_guard` behind it, which drops those, refusals, copies and leaks, and then `instruct_pair`.

    ## Why
    A model that is shown where the answer stands makes up less of it.

    ## Example
        - use: instruct_answer
          params: {llm: {model: llama-70b, endpoint: "http://127.0.0.1:8000/v1", temperature: 0.7}}
        - use: rewrite_guard
          params: {prompt_set: instruct}
        - use: instruct_pair

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `prompt_file`: prompts of your own, a file like `curate_operators/prompts/instruct.yaml`; the style `answer` holds `{query}` once.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Liang et al., *Aligning Instruction Tuning with Pre-training* (AITP, 2025); the prompt is ours.
    """

    version = 2
    prompts: ClassVar[str] = SET

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        style = named(styles, ANSWER, "instruct_answer", asks_query=True)
        if style.prompt.count(QUERY) != 1:
            raise PipelineError(f"instruct_answer: the prompt `{ANSWER}` has {QUERY} {style.prompt.count(QUERY)} times", "once")
        return [style]

    def asks(self, text_bytes: int, documents: int) -> Mapping[str, Asked]:
        prompts = documents * self._style.max_input_tokens  # the texts are questions: nobody knows how long their sources are
        return {"llm": Asked(documents, prompts, documents * self._style.max_output_tokens)}

    def reads(self) -> tuple[str, ...]:
        return (TEXT, SOURCE_TEXT)

    def adds(self) -> Mapping[str, pa.DataType]:
        return {INSTRUCTION: TEXT_TYPE, REWRITE: ABOUT}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        queries = pc.fill_null(docs.column(TEXT), "").to_pylist()
        sources = pc.fill_null(docs.column(SOURCE_TEXT), "").to_pylist()
        asked = [row for row, query in enumerate(queries) if query.strip()]
        answers = self._llm.ask([self._prompt(queries[row], sources[row]) for row in asked])
        told = {row: _told(answer) for row, answer in zip(asked, answers, strict=True)}
        found = [told.get(row, ("", "no_query")) for row in range(len(queries))]
        docs = set_column(docs, INSTRUCTION, docs.column(TEXT).cast(TEXT_TYPE))
        docs = set_column(docs, TEXT, pa.array([text for text, _ in found], docs.column(TEXT).type))
        return set_column(docs, REWRITE, pa.array([about(ANSWER, problem) for _, problem in found], ABOUT))

    def _prompt(self, query: str, source: str) -> Any:
        room = max(self._style.room(self._tokens) - self._tokens.count([query])[0], 1)
        return dataclasses.replace(self._style.ask(self._tokens.first(source, room), query), schema=SCHEMA)


def _told(answer: Answer) -> tuple[str, str | None]:
    """Return the text of an answer, or an empty one and what is wrong."""
    text = json_object(answer.required()).get(ANSWER)
    if isinstance(text, str) and text.strip():
        return text.strip(), None
    return "", "truncated" if answer.finish == "length" else "no_answer"


@dataclass(frozen=True)
class InstructPair(Mapper):
    """Makes one text of an instruction and its answer.

    ## What it does
    Fills `template` with the column `instruction` and the text, which is the answer; the result is the new text.

    ## Why
    Pretraining reads texts; how a dialogue looks in them is for whoever trains to say.

    ## Example
        - use: instruct_pair
          params: {template: "User: {instruction}\\nAssistant: {answer}"}

    ## Parameters
    - `template`: `{instruction}` and `{answer}`, each once.

    ## Source
    Ours.
    """

    template: str = "{instruction}\n\n{answer}"

    def __post_init__(self) -> None:
        for slot in (INSTRUCTION, ANSWER):
            if (times := self.template.count(f"{{{slot}}}")) != 1:
                raise PipelineError(f"instruct_pair: `template` has {{{slot}}} {times} times", "once")

    def reads(self) -> tuple[str, ...]:
        return (TEXT, INSTRUCTION)

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        columns = [pc.fill_null(docs.column(name), "").to_pylist() for name in (INSTRUCTION, TEXT)]
        whole = [self._filled({INSTRUCTION: query, ANSWER: answer}) for query, answer in zip(*columns, strict=True)]
        return set_column(docs, TEXT, pa.array(whole, docs.column(TEXT).type))

    def _filled(self, values: Mapping[str, str]) -> str:
        return _SLOT.sub(lambda slot: values[slot[1]], self.template)
