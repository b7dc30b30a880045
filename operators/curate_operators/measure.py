"""Measures documents, so that any rule can be written as a condition."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels
from curate.document import TEXT, leaf
from curate.errors import PipelineError
from curate.protocols import Scorer
from curate_operators import languages, measure_groups
from curate_operators.measure_groups import FIELDS, GROUPS, Settings

CHEAP = tuple(group for group in GROUPS if group != "compression")


@dataclass(frozen=True)
class Measure(Scorer):
    """Measures characters, words, lines and repetition of each document.

    ## What it does
    Emits a struct of the chosen measures. Counts are whole numbers; a ratio of nothing (no words, no
    lines) is null, as is everything about stop words in a language without a list. Null text counts as "".

    - `characters`: `chars`, `bytes`; ÷ characters: `letter_ratio`, `digit_ratio`, `upper_ratio`, `space_ratio`, `punctuation_ratio`,
      `symbol_ratio`.
    - `words`: `words`, `plain_words` (with a letter, mark or digit), `mean_word_chars` (of plain words); ÷ words:
      `words_with_letter_ratio`, `hash_ratio`, `ellipsis_ratio`.
    - `lines`: `lines`, `mean_line_chars`, `max_line_chars`, `bullet_line_ratio`, `ellipsis_line_ratio`.
    - `full_lines`, those that are not blank: `full_lines`, `punctuated_line_ratio`, `short_line_ratio`,
      `repeated_full_line_char_ratio`, `line_feed_ratio` (÷ words).
    - `sentences`: `sentences`.
    - `stop_words`: `stop_words` (different ones), `stop_word_occurrences`, `stop_word_ratio` (occurrences ÷ words).
    - `repeats`: `repeated_line_ratio`, `repeated_line_char_ratio`, `repeated_paragraph_ratio`, `repeated_paragraph_char_ratio`.
    - `grams`, ÷ characters: `top_2_gram_ratio` … `top_4_gram_ratio`, `repeated_5_gram_ratio` … `repeated_10_gram_ratio`.
    - `entropy`: bits per character, of the text's own distribution of code points.
    - `compression`: `compression_ratio`, bytes after LZ4 ÷ bytes before; small = repetitive, above 1 for texts of a few words.

    They are what `gopher_quality`, `gopher_repetition`, `c4_page` and `fineweb_quality` compare with their limits, to the last bit.

    ## Why
    Measured once, a rule can change without measuring again, the report shows where a limit cuts, and `where` can combine what no
    filter combines. A filter is faster and names its reasons shorter.

    ## Example
        - use: measure
        - use: where
          params: {keep: "measure.mean_word_chars between 3 and 10 and measure.digit_ratio < 0.2"}

    ## Parameters
    - `measures`: groups, or single measures; the default is every group but `compression`, which goes document by document.
    - `counting`: whether a repeat counts from its second copy on (`later`) or with the first (`all`), as in `gopher_repetition`;
      `repeated_full_line_char_ratio` is always `later`, as in `fineweb_quality`.
    - `short_line_chars`: what counts as a short line.
    - `stop_words`: your own list, in the case in which they must stand.
    - `language`: of words and stop words; `language_column`: the column that says so document by document.

    ## Source
    Rae et al. (2021), Raffel et al. (2020), Penedo et al. (2024), Li et al. (2024), as in the filters; Shannon (1948).
    """

    measures: tuple[str, ...] = CHEAP
    counting: Literal["later", "all"] = "later"
    short_line_chars: int = 30
    stop_words: tuple[str, ...] | None = None
    language: str = "en"
    language_column: str | None = None

    def __post_init__(self) -> None:
        odd = [name for name in self.measures if name not in GROUPS and name not in FIELDS]
        if odd or not self.measures:
            raise PipelineError(
                f"measure: there is no measure {', '.join(odd)}", f"groups: {', '.join(GROUPS)}; or single measures of theirs"
            )

    def reads(self) -> tuple[str, ...]:
        return (TEXT,) if self.language_column is None else (TEXT, self.language_column)

    def verify(self, schema: pa.Schema) -> None:
        languages.verify_language(schema, self.language_column)
        needs_list = self.stop_words is None and any(FIELDS[name].group == "stop_words" for name in self._fields)
        if needs_list and self.language_column is None:
            languages.stop_words(self.language)

    def output(self) -> pa.DataType:
        return pa.struct([pa.field(name, FIELDS[name].kind) for name in self._fields])

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        column = docs.column(TEXT)
        if self.language_column is None:
            return self._struct(self._measured(kernels.texts(column), self.language), len(column))
        codes = pc.fill_null(pc.cast(leaf(docs, self.language_column), pa.large_string()), self.language)
        whole: dict[str, NDArray[np.float64]] = {name: np.full(len(column), np.nan) for name in self._fields}
        for language in sorted(pc.unique(codes).to_pylist()):
            rows = np.flatnonzero(pc.equal(codes, language).to_numpy(zero_copy_only=False))
            for name, values in self._measured(kernels.Texts.of(column.take(pa.array(rows))), language).items():
                whole[name][rows] = values
        return self._struct(whole, len(column))

    @functools.cached_property
    def _fields(self) -> list[str]:
        return [name for name, field in FIELDS.items() if name in self.measures or field.group in self.measures]

    def _measured(self, texts: kernels.Texts, language: str) -> dict[str, NDArray[Any]]:
        settings = Settings(language, self.counting, self.short_line_chars, self.stop_words, self.language_column is None)
        found: dict[str, NDArray[Any]] = {}
        for group in dict.fromkeys(FIELDS[name].group for name in self._fields):
            found |= getattr(measure_groups, group)(texts, settings)
        return {name: found[name] for name in self._fields}

    def _struct(self, found: dict[str, NDArray[Any]], rows: int) -> pa.Array:
        arrays = [pa.array(found[name], mask=np.isnan(found[name])).cast(FIELDS[name].kind) for name in self._fields]
        return pa.StructArray.from_arrays(arrays, fields=list(self.output()))
