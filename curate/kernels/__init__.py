"""Compiled primitives over the buffers of Arrow string columns: words, lines, characters, repeats.

    from curate import kernels

    texts = kernels.texts(batch.column("text"))
    words = kernels.words(texts)                      # spans, lengths, kinds, hashes of every word
    mean_chars = kernels.sums(words.chars, words.first) / numpy.diff(words.first)

Nothing is copied: spans are byte offsets into Arrow's own buffer. Slices and nulls are allowed (a null is an empty text),
and so is broken UTF-8, whose bytes count as one U+FFFD each. What is computed about a column is shared by all operators
of a chain. The functions are compiled by Numba at first use and kept on disk; importing this package loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.kernels.bag_of_rows import Vocabulary as Vocabulary
    from curate.kernels.bag_of_rows import averages as averages
    from curate.kernels.byte_merges import Merges as Merges
    from curate.kernels.byte_merges import byte_pairs as byte_pairs
    from curate.kernels.character_counts import Characters as Characters
    from curate.kernels.character_counts import characters as characters
    from curate.kernels.character_counts import lengths as lengths
    from curate.kernels.character_counts import occurrences as occurrences
    from curate.kernels.counted_spans import SpanCounts as SpanCounts
    from curate.kernels.counted_spans import span_counts as span_counts
    from curate.kernels.entropies import entropy as entropy
    from curate.kernels.fasttext_models import FastTextModel as FastTextModel
    from curate.kernels.fasttext_models import read_model as read_model
    from curate.kernels.gram_sets import gram_hashes as gram_hashes
    from curate.kernels.gram_sets import seen_in_bloom as seen_in_bloom
    from curate.kernels.gram_sets import seen_in_table as seen_in_table
    from curate.kernels.graphs import heaviest as heaviest
    from curate.kernels.graphs import joined as joined
    from curate.kernels.graphs import packed as packed
    from curate.kernels.graphs import roots as roots
    from curate.kernels.graphs import settle as settle
    from curate.kernels.key_firsts import firsts as firsts
    from curate.kernels.label_losses import huffman_tree as huffman_tree
    from curate.kernels.label_losses import label_scores as label_scores
    from curate.kernels.letter_runs import letter_counts as letter_counts
    from curate.kernels.letter_runs import respelt as respelt
    from curate.kernels.line_joins import joined_spans as joined_spans
    from curate.kernels.line_spans import Lines as Lines
    from curate.kernels.line_spans import lines as lines
    from curate.kernels.line_spans import trimmed as trimmed
    from curate.kernels.minhash_signatures import buckets as buckets
    from curate.kernels.minhash_signatures import permutations as permutations
    from curate.kernels.minhash_signatures import signatures as signatures
    from curate.kernels.phrase_search import phrases as phrases
    from curate.kernels.piece_spans import pieces as pieces
    from curate.kernels.piece_spans import unseen as unseen
    from curate.kernels.repeats import repeated_grams as repeated_grams
    from curate.kernels.repeats import repeated_lines as repeated_lines
    from curate.kernels.run_counts import plain_words as plain_words
    from curate.kernels.run_spans import Runs as Runs
    from curate.kernels.run_spans import runs as runs
    from curate.kernels.sentence_counts import sentence_spans as sentence_spans
    from curate.kernels.sentence_counts import sentences as sentences
    from curate.kernels.shingle_hashes import Shingles as Shingles
    from curate.kernels.shingle_hashes import jaccard as jaccard
    from curate.kernels.shingle_hashes import shingle_sets as shingle_sets
    from curate.kernels.shingle_hashes import shingles as shingles
    from curate.kernels.span_cuts import without_spans as without_spans
    from curate.kernels.span_forms import NormalForms as NormalForms
    from curate.kernels.span_forms import normal_forms as normal_forms
    from curate.kernels.span_sums import sums as sums
    from curate.kernels.span_sums import word_counts as word_counts
    from curate.kernels.span_tables import SpanTable as SpanTable
    from curate.kernels.span_tables import gathered as gathered
    from curate.kernels.span_windows import anchors as anchors
    from curate.kernels.span_windows import windows as windows
    from curate.kernels.text_folding import folded as folded
    from curate.kernels.text_view import Texts as Texts
    from curate.kernels.text_view import texts as texts
    from curate.kernels.word_matches import matches as matches
    from curate.kernels.word_spans import Words as Words
    from curate.kernels.word_spans import words as words

_HOME = {
    "Vocabulary": "bag_of_rows",
    "averages": "bag_of_rows",
    "Merges": "byte_merges",
    "byte_pairs": "byte_merges",
    "Characters": "character_counts",
    "characters": "character_counts",
    "lengths": "character_counts",
    "occurrences": "character_counts",
    "SpanCounts": "counted_spans",
    "span_counts": "counted_spans",
    "entropy": "entropies",
    "FastTextModel": "fasttext_models",
    "read_model": "fasttext_models",
    "gram_hashes": "gram_sets",
    "seen_in_bloom": "gram_sets",
    "seen_in_table": "gram_sets",
    "heaviest": "graphs",
    "joined": "graphs",
    "packed": "graphs",
    "roots": "graphs",
    "settle": "graphs",
    "firsts": "key_firsts",
    "huffman_tree": "label_losses",
    "label_scores": "label_losses",
    "letter_counts": "letter_runs",
    "respelt": "letter_runs",
    "joined_spans": "line_joins",
    "Lines": "line_spans",
    "lines": "line_spans",
    "trimmed": "line_spans",
    "buckets": "minhash_signatures",
    "permutations": "minhash_signatures",
    "signatures": "minhash_signatures",
    "phrases": "phrase_search",
    "pieces": "piece_spans",
    "unseen": "piece_spans",
    "repeated_grams": "repeats",
    "repeated_lines": "repeats",
    "plain_words": "run_counts",
    "Runs": "run_spans",
    "runs": "run_spans",
    "sentence_spans": "sentence_counts",
    "sentences": "sentence_counts",
    "Shingles": "shingle_hashes",
    "jaccard": "shingle_hashes",
    "shingle_sets": "shingle_hashes",
    "shingles": "shingle_hashes",
    "without_spans": "span_cuts",
    "NormalForms": "span_forms",
    "normal_forms": "span_forms",
    "sums": "span_sums",
    "word_counts": "span_sums",
    "SpanTable": "span_tables",
    "gathered": "span_tables",
    "anchors": "span_windows",
    "windows": "span_windows",
    "folded": "text_folding",
    "Texts": "text_view",
    "texts": "text_view",
    "matches": "word_matches",
    "Words": "word_spans",
    "words": "word_spans",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
