"""Lets a language model decide which documents are worth learning from, as the first half of ProX does."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT
from curate.protocols import Filter, decisions
from curate_operators.prompt_sets import Style
from curate_operators.prompted import Prompted, json_object, named, without_thoughts

SET, DOCUMENT, TRAINED = "prox", "document", "_trained"
DECISION = {
    "type": "object",
    "properties": {"decision": {"type": "string", "enum": ["keep_doc", "drop_doc"]}},
    "required": ["decision"],
    "additionalProperties": False,
}
_DROP = re.compile(r"\bdrop(_doc)?\b", re.IGNORECASE)


@dataclass(frozen=True)
class ProxDocument(Prompted, Filter):
    """Drops documents that a language model says are not worth learning from.

    ## What it does
    Shows the model the beginning of each document, as many tokens as the prompt's `max_input_tokens` (2,000), and drops it for the
    reason `drop_doc` when the answer's `decision`, or else the answer itself, holds the word *drop* or *drop_doc*; whatever else is said
    keeps it. What a model thinks first, up to `</think>`, is not read. Blank documents are not shown, and kept. A prompt without an answer
    is an error of its row, quarantined within the stage's `max_errors`.

    ## Why
    A small model that was trained on the judgements of a large one sees more than rules do, and keeps two to three times as much as a
    classifier of educational text.

    ## Example
        - use: prox_document
          params:
            llm: {model: web-doc-refiner, endpoint: "http://127.0.0.1:8000/v1"}
            trained: true

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`. Temperature 0 is the default, as in ProX.
    - `trained`: true = the model was trained to write programs, and is shown the document alone; false = it is told what to do, and
      the server is given a JSON Schema that leaves it the two decisions.
    - `prompt_file`: prompts of your own, a file like `curate_operators/prompts/prox.yaml` with the same names.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024).
    """

    version = 2
    prompts: ClassVar[str] = SET

    trained: bool = False

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, DOCUMENT + (TRAINED if self.trained else ""), "prox_document")]

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        shown = [row for row, text in enumerate(texts) if text.strip()]
        most = self._style.max_input_tokens
        prompts = [self._style.ask(self._tokens.first(texts[row], most)) for row in shown]
        if not self.trained:
            prompts = [dataclasses.replace(prompt, schema=DECISION) for prompt in prompts]
        answers = self._llm.ask(prompts)
        reasons: list[str | None] = [None] * len(texts)
        for row, answer in zip(shown, answers, strict=True):
            reasons[row] = "drop_doc" if _drops(answer.required()) else None
        return decisions(pa.array(reasons, pa.string()))


def _drops(answer: str) -> bool:
    decision = json_object(answer).get("decision")
    return _DROP.search(decision if isinstance(decision, str) else without_thoughts(answer)) is not None
