"""Has a large language model write programs for some documents, from which a small one learns to write them for all.

`prox_annotate` emits `EDITS` (of `prox_edits`), whose `program` is the one that the answers come to; `annotation_guard` drops documents
whose answers are not to be learnt from.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf
from curate.llm import Answer, Asked
from curate.protocols import Filter, Scorer
from curate_operators.prompt_sets import Style
from curate_operators.prompt_tokens import asked_about
from curate_operators.prompted import Prompted, named, without_thoughts
from curate_operators.prox_edits import EDITS, edits_row, merged_programs
from curate_operators.prox_execute import execute
from curate_operators.prox_program import Call, RemoveLines, Replace, write_program
from curate_operators.prox_windows import Window, windows
from curate_operators.rules import Verdict


@dataclass(frozen=True)
class ProxAnnotate(Prompted, Scorer):
    """Has a large language model write a program for each document: the labels that a refiner is trained on.

    ## What it does
    Shows the model each document in windows of numbered lines, as `prox_chunk` does, once for each intent: `navigation`, `links`, `footer`.
    The answers are parsed, bound to the lines that were shown, joined, and carried out on the document to see what they come to; the
    document itself stays. Emits what `prox_chunk` adds: `program` (the calls that had an effect, joined and in order), `outcome`
    (`edited`, `untouched`, `unseen`), `lines`, `replaced`, `errors` and their messages, `words` and `kept_word_ratio`. A blank document
    has none (null). A prompt without an answer is an error of its row.

    ## Why
    ProX's refiners learnt from some thousand documents that a model of 70 billion parameters had labelled. Asked for everything at once,
    large models cut too much; asked for one kind of lines at a time, they find more and cut less.

    ## Example
        labelled:
          from: seeds
          operators:
            - use: prox_annotate
              into: annotation
              params:
                llm: {model: llama-70b, endpoint: "http://127.0.0.1:8000/v1"}
            - use: annotation_guard
            - use: prox_examples
        refiner: {from: labelled, use: train_refiner, params: {base: models/smollm2-360m}}

    ## Parameters
    - `llm`: the model and how it is asked; see `curate.llm.Settings`.
    - `intents`: styles of the prompt file to ask for; none = all of them.
    - `prompt_file`: prompts of your own, a file like `curate_operators/prompts/prox_annotate.yaml`. Windows are those of the intent whose
      `max_input_tokens` leave least room.
    - `tokenizer`: a folder or file of the model's tokenizer, to count tokens with; null = a token for every 4 bytes.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024), whose three intents these are; the prompts are ours.
    """

    version = 3
    prompts: ClassVar[str] = "prox_annotate"
    in_pieces: ClassVar[bool] = True

    intents: Sequence[str] = ()

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, name, "prox_annotate", "intent") for name in (self.intents or styles)]

    def asks_about(self, texts: Sequence[str]) -> Mapping[str, Asked]:
        pieces = [window.text for text in texts if text.strip() for window in self._windows(text)]
        return {"llm": sum((asked_about(style, pieces, self._tokens) for style in self._styles), Asked())}

    def output(self) -> pa.DataType:
        return EDITS

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(docs.column(TEXT), "").to_pylist()
        shown = [self._windows(text) if text.strip() else [] for text in texts]
        asked = [style.ask(window.text) for each in shown for window in each for style in self._styles]
        answers = iter(self._llm.ask(asked))
        rows: list[dict[str, Any] | None] = []
        for text, each in zip(texts, shown, strict=True):
            said = [next(answers) for _ in range(len(each) * len(self._styles))]
            rows.append(self._row(text, each, said) if text.strip() else None)
        return pa.array(rows, EDITS)

    def _windows(self, text: str) -> list[Window]:
        style, room = self._narrowest
        return windows(text, self._tokens.count, room, max_line_chars=style.max_line_chars)

    def _row(self, text: str, shown: Sequence[Window], answers: Sequence[Answer]) -> dict[str, Any]:
        written = [without_thoughts(answer.required()) for answer in answers]
        bound = [window for window in shown for _ in self._styles]
        done = execute(text, merged_programs(written, bound))
        calls: list[Call] = [*(Replace(each.source, each.target) for each in done.replaced), *(RemoveLines(*each) for each in done.removed)]
        outcome = "unseen" if not shown else "edited" if done.text != text else "untouched"
        return edits_row(done, text, write_program(calls), outcome)

    @functools.cached_property
    def _narrowest(self) -> tuple[Style, int]:
        """The intent whose prompt leaves least room for lines, and how many tokens that is."""
        rooms = [style.room(self._tokens) for style in self._styles]
        return self._styles[rooms.index(min(rooms))], min(rooms)


@dataclass(frozen=True)
class AnnotationGuard(Filter):
    """Drops documents whose programs are not to be learnt from.

    ## What it does
    The reason is `unseen` where there is no program, `program_errors` where more than `max_program_errors` lines of the answers were no
    calls that could be carried out, `too_little_kept` where less than `min_kept_word_ratio` of the words would be left.

    ## Why
    A refiner learns the mistakes of its teacher, too: what cannot be parsed, and programs that take nearly everything.

    ## Example
        - use: annotation_guard
          params: {min_kept_word_ratio: 0.2}

    ## Parameters
    Each limit can be null = off.
    - `by`: the column of `prox_annotate`.
    - `max_program_errors`: inclusive.
    - `min_kept_word_ratio`: inclusive; the paper caps what may go without saying where.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024); the limits are ours.
    """

    by: str = "annotation"
    max_program_errors: int | None = 0
    min_kept_word_ratio: float | None = 0.1

    def reads(self) -> tuple[str, ...]:
        return tuple(f"{self.by}.{name}" for name in ("outcome", "errors", "kept_word_ratio"))

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        verdict = Verdict(docs.num_rows)
        outcome = pc.fill_null(leaf(docs, f"{self.by}.outcome"), "unseen")
        errors = _numbers(docs, f"{self.by}.errors")
        verdict.where("unseen", pc.equal(outcome, "unseen").to_numpy(zero_copy_only=False), errors)
        verdict.above("program_errors", self.max_program_errors, errors)
        verdict.below("too_little_kept", self.min_kept_word_ratio, _numbers(docs, f"{self.by}.kept_word_ratio"))
        return verdict.decisions()


def _numbers(docs: pa.RecordBatch, path: str) -> Any:
    return pc.fill_null(pc.cast(leaf(docs, path), pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
