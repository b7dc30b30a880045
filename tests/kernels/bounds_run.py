"""Runs every kernel over a fuzz corpus: `python -m tests.kernels.bounds_run`, with NUMBA_BOUNDSCHECK=1 so that a wrong index raises."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.kernels import text_view
from curate.kernels.line_spans import Breaks
from curate.kernels.shingle_hashes import Unit
from tests.kernels.columns import Column, fuzz_columns

LANGUAGES = ("en", "pl", "ru", "fr", "de", "ca")


def run(column: Column) -> int:
    """Call every kernel on a column and what is left of it; return how many words it has."""
    array = column.array
    texts = kernels.texts(array)
    for breaks in get_args(Breaks):
        lines = kernels.lines(texts, breaks)
        start, end = kernels.trimmed(texts, lines.start, lines.end)
        kernels.plain_words(texts, start, end)
        kernels.normal_forms(texts, start, end, ("case", "spaces", "digits", "punctuation"))
        kernels.span_counts(texts, start, end)
        kernels.phrases(texts, start, end, ["javascript", "..", "é"])
        kernels.joined_spans(texts, lines.first, start, end, lines.kind > 0)
        for counting in ("later", "all"):
            kernels.repeated_lines(lines, counting, skip_empty=counting == "all")
    for language in LANGUAGES:
        words = kernels.words(texts, language)
        kernels.matches(words, ["a", ".", "the"])
        kernels.sentences(words, kernels.lines(texts))
        kernels.sentence_spans(texts, words, kernels.lines(texts))
        kernels.repeated_grams(words, (2, 3), (2, 5), "later")
        kernels.repeated_grams(words, (), (2, 3), "all")
        spans = kernels.lines(texts, "feed")
        counts, keys = kernels.gram_hashes(words, spans.start, spans.end, 2)
        units = np.repeat(np.arange(len(counts)), counts)
        kept = (units % 3 > 0, units % 5 > 0)
        kernels.seen_in_table(keys, units, units // 4, kept, np.zeros(1 << len(keys).bit_length() + 1, np.uint64))
        kernels.seen_in_bloom(keys, units, units // 4, kept, np.zeros(4, np.uint64), 3)
    kernels.folded(texts)
    kernels.folded(texts, punctuation=False)
    kernels.characters(texts)
    kernels.occurrences(texts, "...")
    kernels.entropy(texts)
    names = [b"</s>", b"a", "é".encode(), b"the", b"__label__x", b"__label__y"]
    for least, most, grams, pruned in (
        (0, 0, 3, None),
        (1, 4, 1, None),
        (2, 3, 2, (np.array([1, 5], np.int32), np.array([0, 1], np.int32))),
    ):
        tables = kernels.Vocabulary(names, 4, 7, least, most, grams, pruned=pruned).tables()
        averages, _ = kernels.averages(texts, tables, np.ones((11, 3), np.float32))
        kernels.label_scores(averages, np.ones((2, 3), np.float32), "ns")
        kernels.label_scores(averages, np.ones((2, 3), np.float32), "hs", kernels.huffman_tree([3, 2]))
    for unit, fold in [(unit, fold) for unit in get_args(Unit) for fold in (False, True)]:
        found = kernels.shingles(texts, 5, unit, fold)
        kernels.shingle_sets(kernels.shingles(texts, 1, unit, fold))
    kernels.buckets(kernels.signatures(found, 6), 3, 2)
    letters, rows = kernels.letter_counts(texts), np.arange(len(texts))
    kernels.respelt(texts, rows, letters // 3, letters // 2, rows)
    for length, in_bytes in ((1, False), (3, False), (7, True)):
        runs = kernels.runs(texts)
        values, counts = kernels.anchors(runs, length, max(1, length // 2), in_bytes)
        kernels.windows(runs, length, in_bytes, (counts, kernels.firsts(values, values) % 2 == 0))
        kernels.without_spans(texts, runs.first, runs.start - 2, runs.end + length)
    classes = np.full(0x110000, 255, np.uint8)
    classes[kernels.unseen(texts, classes)] = kernels.unseen(texts, classes) % 5
    for style, digits in (("words", 0), ("marked", 3), ("marked", 1)):
        first, ends = kernels.pieces(texts, classes, style, digits)
        table = kernels.SpanTable()
        numbers = table.numbers(texts, first, ends)
        merges = kernels.Merges.of(np.arange(256, dtype=np.uint32), {(97, 97): (0, 256), (256, 256): (1, 257), (46, 46): (2, 258)})
        kernels.byte_pairs(*table.contents(0), merges)
        kernels.gathered(numbers, first, np.arange(2 * len(table), dtype=np.uint32), np.arange(len(table) + 1) * 2, 7)
    kept = np.arange(len(texts)) % 3 > 0
    left = array.filter(pa.array(kept))
    text_view.select(array, left, kept)
    carried = kernels.texts(left)
    kernels.repeated_grams(kernels.words(carried))
    kernels.repeated_lines(kernels.lines(carried))
    lines = kernels.lines(texts)
    start, end = kernels.trimmed(texts, lines.start, lines.end)
    edited = np.arange(len(texts)) % 4 == 1
    spans = kernels.joined_spans(texts, lines.first, start, end, np.ones(len(start), np.bool_))
    text_view.leave(spans, text_view.Left(texts, lines.first, start, end, edited))
    return len(kernels.words(kernels.texts(spans)).start)


def main() -> None:
    print(sum(run(column) for column in fuzz_columns(seed=4, count=1500)))


if __name__ == "__main__":
    main()
