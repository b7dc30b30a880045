"""What clusters are told apart by: counts of their words, lines, sites and languages, through one shuffle by the hash of each.

A map task sends rows of (kind, cluster, hash, count, extent, text), where the extent of a word is the number of documents that have it
and that of a line its characters; it adds equal rows up while they are few (`MAX_ROWS`). A reduce task sees every cluster's count of the
words of its hashes, so that it knows how often a word is used in all, and keeps per cluster the best words and sums. Entropies need no
more than sums: with n documents of which n_i are of site i,

    H = log2(n) - (1/n) * sum of n_i * log2(n_i)        bits

Lines that are equal but for case count as repeated when they occur at least twice in the cluster, in one document or in several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, shuffle
from curate.hashing import hash64
from curate.shuffle import Range
from curate.work import Place
from curate_scorers.card_inputs import Hashes, Integers, Item, ranks_within

WORD, LINE, SITE, LANGUAGE = range(4)
ROWS = pa.schema(
    {"kind": pa.uint8(), "cluster": pa.int64(), "key": pa.uint64(), "count": pa.int64(), "extent": pa.int64(), "text": pa.large_string()}
)
WORDS = pa.schema({"cluster": pa.int64(), "word": pa.string(), "count": pa.int64(), "weight": pa.float64()})
MEASURES = ("repeated", "sites", "with_site", "site_bits", "languages", "with_language", "language_bits")
MAX_ROWS = 1 << 19
MAX_WORD_CHARS = 30
WIDESPREAD = 0.05  # of a cluster's documents have a word that speaks for it: one document can repeat a name hundreds of times
CHARACTERISTIC = 2.0  # times as common in a cluster as elsewhere, by words and by documents: a word of most documents is so nowhere
_TEXTS = "es"  # rules of words that keep hyphens and apostrophes inside
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/:?#]*)"


class Counts:
    """Adds up what documents have by cluster, and hands it out in bounded tables."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        """Take counts; yield those of many documents when there are too many to hold."""
        self._tables.append(table)
        self._rows += table.num_rows
        if self._rows > MAX_ROWS:
            yield from self._added(MAX_ROWS // 2)

    def rest(self) -> Iterator[pa.Table]:
        """Yield what is left."""
        yield from self._added(0)

    def _added(self, most: int) -> Iterator[pa.Table]:
        table = added(pa.concat_tables([ROWS.empty_table(), *self._tables]))
        self._tables, self._rows = ([], 0) if table.num_rows > most else ([table], table.num_rows)
        if table.num_rows > most:
            yield table


def added(table: pa.Table) -> pa.Table:
    """Return one row for each kind, cluster and hash."""
    sums = table.group_by(["kind", "cluster", "key"], use_threads=False).aggregate([("count", "sum"), ("extent", "sum"), ("text", "first")])
    return sums.rename_columns(["kind", "cluster", "key", "count", "extent", "text"]).select(ROWS.names).cast(ROWS)


def spread(tables: Iterator[pa.Table], partitions: int) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield rows with their partition, for the shuffle."""
    for table in tables:
        for batch in table.combine_chunks().to_batches():
            yield (batch.column("key").to_numpy() % np.uint64(partitions)).astype(np.int64), batch


def of_texts(texts: pa.Array, clusters: Integers) -> tuple[pa.Table, Integers, Integers]:
    """Return the counts of words and lines of documents, and how many words and characters of lines each document has."""
    from curate.kernels.line_spans import EMPTY

    view = kernels.Texts.of(pc.utf8_lower(pc.fill_null(texts, "").cast(pa.large_string())))
    words, lines = kernels.words(view, _TEXTS), kernels.lines(view, "any")
    letters = _letters(view, words)
    of_word, of_line = (np.repeat(np.arange(len(view)), np.diff(spans.first)) for spans in (words, lines))
    filled = lines.kind & EMPTY == 0
    found = [
        _counted(WORD, clusters[of_word[letters]], words.hashes[letters], of_word[letters], _Spans(view, words, letters)),
        _counted(LINE, clusters[of_line[filled]], lines.hashes[filled], lines.chars[filled]),
    ]
    per_document = np.bincount(of_word[letters], minlength=len(view))
    line_chars = np.bincount(of_line[filled], weights=lines.chars[filled].astype(np.float64), minlength=len(view))
    return pa.concat_tables(found), per_document.astype(np.int64), line_chars.astype(np.int64)


def _letters(view: kernels.Texts, words: kernels.Words) -> npt.NDArray[np.bool_]:
    """Return which words have letters, are not too long, of more than one letter unless it is of Chinese and the like, and no ending."""
    from curate.kernels.word_spans import ALPHABETIC

    data = np.concatenate([view.data, np.zeros(3, np.uint8)])
    first, second, third = (data[words.start + place] for place in range(3))
    ending = (first == ord("'")) | ((first == 0xE2) & (second == 0x80) & (third == 0x99))  # 's and ’s are split off
    long_enough = (words.chars > 1) | (first >= 0xE0)
    return np.asarray((words.kind & ALPHABETIC > 0) & (words.chars <= MAX_WORD_CHARS) & long_enough & ~ending)


class _Spans:
    """Where words stand in the bytes of their texts."""

    def __init__(self, view: kernels.Texts, words: kernels.Words, chosen: npt.NDArray[np.bool_]) -> None:
        self._data, self._start, self._end = view.data, words.start[chosen], words.end[chosen]

    def take(self, rows: Integers) -> pa.LargeStringArray:
        """Return the bytes of some words as strings."""
        start, sizes = self._start[rows], self._end[rows] - self._start[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        places = np.repeat(start - offsets[:-1], sizes) + np.arange(offsets[-1])
        return pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(self._data[places])))


def _counted(kind: int, clusters: Integers, keys: Hashes, measured: Any, spans: _Spans | None = None) -> pa.Table:
    """Return the rows of one kind; of words, `measured` says whose document each is, ascending, of lines how long."""
    order = np.lexsort((keys, clusters))
    ordered, hashes, values = clusters[order], keys[order], measured[order].astype(np.int64)
    new = (ordered[1:] != ordered[:-1]) | (hashes[1:] != hashes[:-1])
    begins = np.flatnonzero(np.r_[True, new]) if len(order) else order
    if kind == WORD:
        values = np.r_[True, new | (values[1:] != values[:-1])][: len(order)].astype(np.int64)
    summed = np.add.reduceat(values, begins) if len(order) else begins
    text = spans.take(order[begins]) if spans is not None else pa.nulls(len(begins), pa.large_string())
    columns = [np.full(len(begins), kind, np.uint8), ordered[begins], hashes[begins], np.diff(np.r_[begins, len(order)]), summed]
    return pa.table([*(pa.array(column) for column in columns), text], schema=ROWS)


def of_labels(kind: int, labels: pa.Array, clusters: Integers) -> pa.Table:
    """Return how many documents of each cluster have each label; null is not counted."""
    there = labels.is_valid().to_numpy(zero_copy_only=False)
    known, owners = labels.filter(pa.array(there)).cast(pa.large_string()), clusters[there]
    return _counted(kind, owners, hash64(known), np.zeros(len(known), np.int64))


def sites_of(column: pa.Array) -> pa.Array:
    """Return the host of each web address, and what is no address as it is: the name of a site."""
    hosts = pc.struct_field(pc.extract_regex(column.cast(pa.string()), _HOST), "host")
    return pc.utf8_lower(pc.replace_substring_regex(pc.coalesce(hosts, column.cast(pa.string())), r"^www\.", ""))


def reduce_counts(item: Item, place: Place) -> dict[str, str]:
    """Keep the best words of each cluster, and its sums, of the hashes of one partition."""
    parts = [Range(**part) for part in item["parts"]]
    table = added(pa.Table.from_batches(shuffle.read(place.storage, parts, ROWS), ROWS))
    table = table.sort_by([("kind", "ascending"), ("cluster", "ascending"), ("key", "ascending")])
    totals = place.read_table(item["totals"])
    size = max(totals.column("cluster").to_pylist(), default=-1) + 1
    used, documents = np.zeros((2, size), np.int64)
    for array, name in ((used, "words"), (documents, "documents")):
        array[totals.column("cluster").to_numpy()] = totals.column(name).to_numpy()
    words = best_words(table.filter(pc.equal(table.column("kind"), WORD)), used, documents, item["words"])
    return {"words": place.write_table("words", words), "measures": place.write_table("measures", _measures(table, size))}


def best_words(table: pa.Table, used: Integers, documents: Integers, count: int) -> pa.Table:
    """Return the `count` words of each cluster with the greatest c-TF-IDF, as `curate_scorers.cluster_cards` defines it."""
    clusters, counts, having = (table.column(name).to_numpy() for name in ("cluster", "count", "extent"))
    _, word = np.unique(table.column("key").to_numpy(), return_inverse=True)
    in_all = np.bincount(word, weights=counts)[word] if len(word) else np.zeros(0)
    average = int(used.sum()) / max(1, int((used > 0).sum()))
    weight = np.sqrt(counts / np.maximum(used[clusters], 1)) * np.log1p(average / np.maximum(in_all, 1))
    enough = np.minimum(np.maximum(WIDESPREAD * documents, 2), documents)[clusters]
    told = (counts > 1) & (having >= enough)
    for own, sizes in ((counts, used), (having, documents)):
        told &= _times_elsewhere(own, word, sizes[clusters], int(sizes.sum())) >= CHARACTERISTIC
    kept = np.flatnonzero(told)
    kept = kept[ranks_within(clusters[kept], -weight[kept], table.column("key").to_numpy()[kept]) < count]
    text = table.column("text").take(pa.array(kept)).cast(pa.string())
    return pa.table([pa.array(clusters[kept]), text, pa.array(counts[kept]), pa.array(weight[kept])], schema=WORDS)


def _times_elsewhere(own: Integers, word: Integers, size: Integers, whole: int) -> Any:
    """Return how many times as common each word is in its cluster, which has `own` of it in `size`, as in all others together."""
    others = (np.bincount(word, weights=own)[word] if len(word) else np.zeros(0)) - own
    here, elsewhere = own / np.maximum(size, 1), others / np.maximum(whole - size, 1)
    return np.divide(here, elsewhere, out=np.full(len(here), np.inf), where=elsewhere > 0)


def _measures(table: pa.Table, size: int) -> pa.Table:
    kind, clusters = table.column("kind").to_numpy(), table.column("cluster").to_numpy()
    count, chars = table.column("count").to_numpy(), table.column("extent").to_numpy()
    lines = (kind == LINE) & (count > 1)
    columns = {"repeated": np.bincount(clusters[lines], weights=chars[lines].astype(np.float64), minlength=size)}
    for wanted, names in ((SITE, MEASURES[1:4]), (LANGUAGE, MEASURES[4:7])):
        own, of = clusters[kind == wanted], count[kind == wanted].astype(np.float64)
        for name, weights in zip(names, (np.ones(len(of)), of, of * np.log2(np.maximum(of, 1))), strict=True):
            columns[name] = np.bincount(own, weights=weights, minlength=size)
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def merged_measures(tables: Sequence[pa.Table]) -> dict[str, npt.NDArray[np.float64]]:
    """Add up the sums of all partitions."""
    return {name: np.sum([table.column(name).to_numpy() for table in tables], axis=0) for name in MEASURES}


def merged_words(tables: Sequence[pa.Table], count: int) -> dict[int, list[dict[str, Any]]]:
    """Return the best words of each cluster, of all partitions."""
    table = pa.concat_tables(tables).sort_by([("cluster", "ascending"), ("weight", "descending"), ("word", "ascending")])
    found: dict[int, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        words = found.setdefault(row["cluster"], [])
        if len(words) < count:
            words.append({"word": row["word"], "count": row["count"], "weight": round(row["weight"], 9)})
    return found
