"""`python -m curate.kernels`: compile every kernel now, so that no worker has to (image builds call it)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate import kernels


def main() -> None:
    """Call every kernel once; Numba keeps what it compiles beside the code."""
    texts = kernels.texts(pa.array(["One line, with words.\nOne line, with words.\n\nAnother…", None]))
    words, lines = kernels.words(texts), kernels.lines(texts)
    kernels.repeated_grams(words)
    kernels.repeated_lines(lines)
    kernels.sentence_spans(texts, words, lines)
    kernels.word_counts(words)
    kernels.sums(lines.chars, lines.first)
    kernels.span_counts(texts, lines.start, lines.end)
    kernels.entropy(texts)
    kernels.matches(words, ["with"])
    kernels.characters(texts)
    kernels.folded(texts)
    kernels.occurrences(texts, "#")
    kernels.phrases(texts, lines.start, lines.end, ["words"])
    kernels.plain_words(texts, lines.start, lines.end)
    kernels.normal_forms(texts, lines.start, lines.end)
    _, keys = kernels.gram_hashes(words, lines.start, lines.end, 2)
    owners, kept = np.zeros(len(keys), np.uint32), np.ones(len(keys), np.bool_)
    kernels.seen_in_table(keys, owners, owners, (kept, kept), np.zeros(16, np.uint64))
    kernels.seen_in_bloom(keys, owners, owners, (kept, kept), np.zeros(16, np.uint64), 2)
    start, end = kernels.trimmed(texts, lines.start, lines.end)
    kernels.joined_spans(texts, lines.first, start, end, end > start)
    grams = kernels.shingles(texts)
    kernels.buckets(kernels.signatures(grams, 4), 2, 2)
    sets, none = kernels.shingle_sets(grams), np.zeros(0, np.int64)
    kernels.jaccard(sets, sets, none, none)
    kernels.letter_counts(texts)
    kernels.respelt(texts, none, none, none, none)
    runs = kernels.runs(texts)
    values, counts = kernels.anchors(runs, 2, 1, False)
    kernels.windows(runs, 2, False, (counts, counts > 0))
    kernels.firsts(values, values)
    kernels.without_spans(texts, runs.first, runs.start, runs.end)
    kernels.joined(none, none, none)
    kernels.roots(none)
    gone, edges = np.zeros(0, np.bool_), np.zeros(0, np.uint32)
    kernels.settle(gone, edges, np.zeros(1, np.int64), edges)
    kernels.heaviest(gone, np.zeros(1, np.int64), edges, np.zeros(0, np.float64))
    kernels.packed(none, none, 1)
    vocabulary = kernels.Vocabulary([b"</s>", b"word", b"__label__a", b"__label__b"], 2, 4, 1, 2, 2)
    averages, _ = kernels.averages(texts, vocabulary.tables(), np.zeros((6, 2), np.float32))
    for loss in ("softmax", "ova"):
        kernels.label_scores(averages, np.zeros((2, 2), np.float32), loss)
    kernels.label_scores(averages, np.zeros((2, 2), np.float32), "hs", kernels.huffman_tree([2, 1]))
    classes = np.zeros(0x110000, np.uint8)
    kernels.unseen(texts, classes)
    first, ends = kernels.pieces(texts, classes, "words", 0)
    table = kernels.SpanTable()
    kernels.gathered(table.numbers(texts, first, ends), first, np.arange(len(table), dtype=np.uint32), np.arange(len(table) + 1), None)
    kernels.byte_pairs(*table.contents(0), kernels.Merges.of(np.zeros(256, np.uint32), {(0, 0): (0, 1)}))


if __name__ == "__main__":
    main()
