"""The rules that we and datatrove share: what each calls them, what they measure, and the limit."""

from __future__ import annotations

from dataclasses import dataclass

MEASURED_BY_WORDS = ("top_", "duplicated_")


@dataclass(frozen=True)
class Rule:
    """One rule; `measure` is a column of `datatrove_stats.parquet`, "" for rules about a phrase or a count of sentences."""

    filter: str
    ours: str
    theirs: str
    measure: str
    limit: float = 0
    is_minimum: bool = False

    def broken(self, value: float) -> bool:
        """Whether a value breaks the rule."""
        return value < self.limit if self.is_minimum else value > self.limit


def _repetition() -> list[Rule]:
    lines = [
        ("repeated_paragraphs", "dup_para_frac", 0.3),
        ("repeated_paragraph_chars", "dup_para_char_frac", 0.2),
        ("repeated_lines", "dup_line_frac", 0.3),
        ("repeated_line_chars", "dup_line_char_frac", 0.2),
    ]
    tops = [(f"top_{n}_gram", f"top_{n}_gram", limit) for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))]
    grams = [(f"repeated_{n}_grams", f"duplicated_{n}_n_grams", (20 - n) / 100) for n in range(5, 11)]
    return [Rule("gopher_repetition", ours, theirs, theirs, limit) for ours, theirs, limit in (*lines, *tops, *grams)]


RULES = (
    Rule("gopher_quality", "too_few_words", "gopher_short_doc", "plain_words", 50, True),
    Rule("gopher_quality", "too_many_words", "gopher_long_doc", "plain_words", 100_000),
    Rule("gopher_quality", "words_too_short", "gopher_below_avg_threshold", "mean_word_chars", 3, True),
    Rule("gopher_quality", "words_too_long", "gopher_above_avg_threshold", "mean_word_chars", 10),
    Rule("gopher_quality", "too_many_hashes", "gopher_too_many_hashes", "hash_ratio", 0.1),
    Rule("gopher_quality", "too_many_ellipses", "gopher_too_many_ellipsis", "ellipsis_ratio", 0.1),
    Rule("gopher_quality", "too_many_bullet_lines", "gopher_too_many_bullets", "bullet_line_ratio", 0.9),
    Rule("gopher_quality", "too_many_ellipsis_lines", "gopher_too_many_end_ellipsis", "ellipsis_line_ratio", 0.3),
    Rule("gopher_quality", "too_few_words_with_letter", "gopher_below_alpha_threshold", "words_with_letter_ratio", 0.8, True),
    Rule("gopher_quality", "too_few_stop_words", "gopher_enough_stop_words", "stop_words", 2, True),
    *_repetition(),
    Rule("fineweb_quality", "no_lines", "empty", ""),
    Rule("fineweb_quality", "too_few_lines_end_in_punctuation", "line_punct_ratio", "line_punct_ratio", 0.12, True),
    Rule("fineweb_quality", "too_many_short_lines", "short_line_ratio", "short_line_ratio", 0.67),
    Rule("fineweb_quality", "too_many_repeated_line_chars", "char_dup_ratio", "char_dup_ratio", 0.01),
    Rule("fineweb_quality", "too_many_line_feeds", "list_ratio", "list_ratio", 0.3),
    *(Rule(name, reason, reason, "") for name in ("c4", "c4_fineweb") for reason in ("lorem_ipsum", "curly_bracket", "too_few_sentences")),
)
BY_OURS = {(rule.filter, rule.ours): rule for rule in RULES}
BY_THEIRS = {(rule.filter, rule.theirs): rule for rule in RULES}
