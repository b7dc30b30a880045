"""Rules for mathematical text."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from curate.document import TEXT
from curate.protocols import Filter
from curate_operators.maths_measures import balance, maths
from curate_operators.rules import Verdict, ratio


@dataclass(frozen=True)
class MathsQuality(Filter):
    r"""Drops mathematical text that explains nothing, without taking its symbols for noise.

    ## What it does
    Reads LaTeX as formulas (`$…$`, `$$…$$`, `\(…\)`, `\[…\]`, environments such as `align`), commands (`\emph`, `\cite{…}`), and
    the words between them; a word has a letter. Text without LaTeX is all words. The first broken rule, in this order, is the
    reason; its value is what was measured:

    | reason | broken when |
    |---|---|
    | `too_few_words` | words + formulas < `min_words` |
    | `words_too_short`, `words_too_long` | characters of words ÷ words < `min_mean_word_chars`, > `max_mean_word_chars` |
    | `too_little_prose` | words ÷ (words + formulas + commands) < `min_prose_ratio` |
    | `too_little_maths`, `too_much_maths` | characters of formulas ÷ characters < `min_maths_ratio`, > `max_maths_ratio` |
    | `unbalanced` | delimiters with a partner ÷ delimiters < `min_balanced_ratio`, among `min_delimiters` or more |

    Delimiters are braces, `\begin` and `\end`, `\left` and `\right`, `\(` and `\)`, `\[` and `\]`; escaped ones are not counted.

    ## Why
    Gopher's and C4's rules (symbols per word, words with letters, braces, lines that end in punctuation) throw mathematics out
    with the noise. What harms here is another thing: formulas torn apart by an extractor, tables of formulas, pages cut in half.

    ## Example
        - use: maths_quality
          params: {min_maths_ratio: 0.01}

    ## Parameters
    The limits of the table; null = off. `min_maths_ratio` is off by default, as much mathematics is written in Unicode. No paper
    states such limits: ours lie outside what the Stacks project and abstracts of arXiv show (`tests/operators/test_maths.py`).

    ## Source
    Ours, in the spirit of OpenWebMath (Paster et al., 2023) and DeepSeekMath (Shao et al., 2024), which kept LaTeX whole.
    """

    min_words: int | None = 50
    min_mean_word_chars: float | None = 2
    max_mean_word_chars: float | None = 10
    min_prose_ratio: float | None = 0.3
    min_maths_ratio: float | None = None
    max_maths_ratio: float | None = 0.9
    min_balanced_ratio: float | None = 0.9
    min_delimiters: int = 20

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        texts = docs.column(TEXT)
        verdict = Verdict(len(texts))
        counts = maths(texts)
        verdict.below("too_few_words", self.min_words, counts.words + counts.formulas)
        mean_chars = ratio(counts.word_chars, counts.words)
        verdict.below("words_too_short", self.min_mean_word_chars, mean_chars)
        verdict.above("words_too_long", self.max_mean_word_chars, mean_chars)
        prose = ratio(counts.words, counts.words + counts.formulas + counts.commands)
        verdict.below("too_little_prose", self.min_prose_ratio, prose)
        share = ratio(counts.formula_chars, counts.chars)
        verdict.below("too_little_maths", self.min_maths_ratio, share)
        verdict.above("too_much_maths", self.max_maths_ratio, share)
        if self.min_balanced_ratio is not None:
            verdict.below("unbalanced", self.min_balanced_ratio, balance(texts, self.min_delimiters))
        return verdict.decisions()
