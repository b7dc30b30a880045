"""Lets a language model clean documents by programs, as the second half of ProX does.

`prox_chunk` changes `text` and adds a struct with the program and all that came of it (`EDITS`, of `prox_edits`); `prox_page` reads two
numbers of it and drops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf, set_column
from curate.errors import PipelineError
from curate.llm import Answer, Asked
from curate.protocols import Filter, Mapper
from curate_operators.prompt_sets import Style
from curate_operators.prompt_tokens import asked_about
from curate_operators.prompted import Prompted, named, without_thoughts
from curate_operators.prox_document import SET, TRAINED
from curate_operators.prox_edits import EDITS, edits_row, merged_programs
from curate_operators.prox_execute import Edited, execute
from curate_operators.prox_release import execute_as_released
from curate_operators.prox_windows import Window, windows
from curate_operators.rules import Verdict

CHUNK = "chunk"


@dataclass(frozen=True)
class ProxChunk(Prompted, Mapper):
    """Cleans documents by programs that a language model writes for them.

    ## What it does
    Shows the model each document in windows of whole lines, each line behind its number in the document (`[000]`), and carries out what
    it answers, one call a line:

        remove_lines(line_start=0, line_end=4)
        normalize(source_str="| Share this", target_str="")
        keep_chunk()

    Strings are replaced first, all over the document, in lines that another window shows or none does, too; then lines go. A program is
    read, never run: only these calls with literal arguments have an effect. Everything else is an error: another function, a line that
    the window did not show, a blank string or one with a line feed, one of plain letters that begins or ends inside a word of the
    document (`e`, or `Share` where it says *Shared*; broken characters inside words may go), one that parts a letter from its marks or
    brings in control characters, a replacement that would make the text more than twice as long, the 501st of a document. A range that
    ends behind the window is cut there, and an error too. With more than
    `max_program_errors` the document stays as it was. A line that is longer than a window is not shown, and is not taken out. What a model
    thinks first, up to `</think>`, is no part of its program.

    The column `into` has the `program`, its `outcome` (`edited`, `untouched`, `refused` for too many errors, `unseen` where no line
    fits a window), the numbers of `lines` that went, what was `replaced` how often, `errors` and the first of their messages, and
    `words` and `kept_word_ratio`, for `prox_page` or `where` to judge.

    ## Why
    A page that is worth reading still has its menus and footers. To say which lines these are takes a few tokens; to write the page anew
    takes thousands, and may change it.

    ## Example
        - use: prox_chunk
          params:
            llm: {model: web-chunk-refiner, endpoint: "http://127.0.0.1:8000/v1"}
            trained: true
        - use: prox_page

    ## Parameters
    - `llm`, `trained`, `prompt_file`, `tokenizer`: as those of `prox_document`. Windows have the prompt's `max_input_tokens` (1,500), the
      model's own words included where it is told what to do.
    - `max_program_errors`: with more, a program is refused; the release refuses from 2.
    - `release`: true = programs are read as the published code reads them, so that a corpus made with it can be made again: unknown
      calls are passed over, a comma or an equals sign in a string spoils the call, all lines may go wherever they were shown, and a line
      longer than a window is shown in one of its own. Its `prox_page` also drops at exactly 5 %.
    - `into`: the column of what was done.

    ## Source
    Zhou et al., *Programming Every Example* (ProX, 2024), and its published code.
    """

    version = 4
    prompts: ClassVar[str] = SET
    in_pieces: ClassVar[bool] = True

    trained: bool = False
    max_program_errors: int = 1
    release: bool = False
    into: str = "prox"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_program_errors < 0:
            raise PipelineError(f"prox_chunk: max_program_errors is less than 0: {self.max_program_errors}")
        if not self.into or "." in self.into or self.into in (TEXT, "id"):
            raise PipelineError(f"prox_chunk: `into` is no name for a new column: `{self.into}`")

    def chosen(self, styles: Mapping[str, Style]) -> Sequence[Style]:
        return [named(styles, CHUNK + (TRAINED if self.trained else ""), "prox_chunk")]

    def asks_about(self, texts: Sequence[str]) -> Mapping[str, Asked]:
        return {"llm": asked_about(self._style, [window.text for text in texts for window in self._windows(text)], self._tokens)}

    def adds(self) -> Mapping[str, pa.DataType]:
        return {self.into: EDITS}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        column = docs.column(TEXT)
        texts = pc.fill_null(column, "").to_pylist()
        shown = [self._windows(text) for text in texts]
        answers = iter(self._llm.ask([self._style.ask(window.text) for each in shown for window in each]))
        done = [self._done(text, each, [next(answers) for _ in each]) for text, each in zip(texts, shown, strict=True)]
        edited = [None if text is None else new for text, (new, _) in zip(column.to_pylist(), done, strict=True)]
        docs = set_column(docs, TEXT, pa.array(edited, column.type))
        return set_column(docs, self.into, pa.array([row for _, row in done], EDITS))

    def _windows(self, text: str) -> list[Window]:
        room = self._style.max_input_tokens if self.trained else self._style.room(self._tokens)
        return windows(text, self._tokens.count, room, self.release, self._style.max_line_chars) if text.strip() else []

    def _done(self, text: str, shown: Sequence[Window], answers: Sequence[Answer]) -> tuple[str, dict[str, Any]]:
        """Return the text after its programs, and what the column says of it."""
        written = [without_thoughts(answer.required()) for answer in answers]
        program = "\n".join(written)
        done = execute_as_released(text, program) if self.release else execute(text, merged_programs(written, shown))
        words = len(done.text.split())
        refused = len(done.errors) > self.max_program_errors
        if refused:
            done = Edited(text, errors=done.errors)
            words = words if self.release else len(text.split())
        outcome = "unseen" if not shown else "refused" if refused else "edited" if done.text != text else "untouched"
        return done.text, edits_row(done, text, program, outcome) | {"words": words}


@dataclass(frozen=True)
class ProxPage(Filter):
    """Drops documents of which `prox_chunk` left too little.

    ## What it does
    The reason is `too_little_kept` when less than `min_kept_word_ratio` of the words is left, else `too_few_words` when it is fewer than
    `min_words`. A refused program took nothing, so such a document is judged by its own words.

    ## Why
    A page that is all menu has a program that removes all of it.

    ## Example
        - use: prox_page

    ## Parameters
    The defaults are ProX's, which are not stated in its paper; each can be null = off.
    - `by`: the column of `prox_chunk`.

    ## Source
    The published code of ProX (Zhou et al., 2024).
    """

    by: str = "prox"
    min_kept_word_ratio: float | None = 0.05
    min_words: int | None = 11

    def reads(self) -> tuple[str, ...]:
        return (f"{self.by}.words", f"{self.by}.kept_word_ratio")

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        verdict = Verdict(docs.num_rows)
        for reason, limit, name in (
            ("too_little_kept", self.min_kept_word_ratio, "kept_word_ratio"),
            ("too_few_words", self.min_words, "words"),
        ):
            values = pc.cast(leaf(docs, f"{self.by}.{name}"), pa.float64())
            verdict.below(reason, limit, pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False))
        return verdict.decisions()
