"""Drops documents that contain listed words, with a list for each language."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, leaf
from curate.errors import PipelineError
from curate.protocols import Filter, decisions
from curate_operators.entries import TARS, entries, lines, named_files, some
from curate_operators.languages import verify_language

if TYPE_CHECKING:
    import polars as pl

Counts = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
MAX_ALTERNATIVES = 1000  # of one regular expression: it reads 365 MB/s with 400 words, but its automaton grows with the list
WORD_BYTE = np.array([chr(b).isalnum() or chr(b) == "_" for b in range(128)] + [False] * 128)


@dataclass(frozen=True)
class WordBlocklist(Filter):
    """Drops documents with words from a list.

    ## What it does
    Counts the places where an entry stands, in any case, with no letter, digit, mark or underscore directly before or after
    it. In languages that write without spaces it may stand anywhere. A document with at least `min_hits` of them, and with
    more than `max_ratio` of them per word, is dropped with the reason `blocked_word` and the number of hits as its value.
    Entries may be phrases. Entries that overlap count each.

    With a folder or an archive of lists, the document's language names the list: `en`, `en.txt` or `en.txt.gz` for English;
    documents in a language without a list stay.

    ## Why
    C4 dropped every page with a word of the *List of Dirty, Naughty, Obscene or Otherwise Bad Words*. That removes most
    pornography, and also medicine, law and the speech of minorities: `min_hits` and `max_ratio` make it a matter of degree.

    ## Example
        - use: language
          into: lang
        - use: word_blocklist
          params: {words: lists/ldnoobw, min_hits: 3, max_ratio: 0.01}

    ## Parameters
    - `words`: a folder or tar archive of lists, one for each language; or the path of one list (one entry a line, `#` for
      comments, `.gz` or not), or the entries themselves, for all documents.
    - `language`: the column with the language; null = none, which takes one list.
    - `min_hits`: how many hits are too many.
    - `max_ratio`: hits per word that are still allowed; null = off. Where words have no spaces each letter counts as a word.
    - `unspaced`: languages in which an entry may stand anywhere.
    - `allowed`: entries to leave out of every list.

    ## Source
    Raffel et al., *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer* (2020), and the code of
    C4, whose exceptions for Japanese and Chinese are the default of `allowed`.
    """

    folders: ClassVar[tuple[str, ...]] = ("words",)

    words: str | tuple[str, ...]
    language: str | None = "lang.code"
    min_hits: int = 1
    max_ratio: float | None = None
    unspaced: tuple[str, ...] = ("ja", "km", "lo", "my", "th", "zh")
    allowed: tuple[str, ...] = ("sm", "グロ", "女の子", "性")

    def __post_init__(self) -> None:
        if not self.words:
            raise PipelineError("word_blocklist: words is empty", "give a path, or the entries: [a, b]")
        if self.min_hits < 1:
            raise PipelineError(f"word_blocklist: min_hits is less than 1: {self.min_hits}", "1 = any hit drops")
        if self.max_ratio is not None and not 0 <= self.max_ratio <= 1:
            raise PipelineError(f"word_blocklist: max_ratio is not between 0 and 1: {self.max_ratio}", "null = off")

    def reads(self) -> tuple[str, ...]:
        return (TEXT,) if self.language is None else (TEXT, self.language)

    def verify(self, schema: pa.Schema) -> None:
        verify_language(schema, self.language)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        hits, ratio = np.zeros(len(docs), dtype=np.int64), np.zeros(len(docs))
        for rows, listed in self._groups(docs):
            texts = _lower(docs.column(TEXT).take(pa.array(rows)))
            found = listed.hits(texts)
            hits[rows] = found
            some = np.flatnonzero(found)
            ratio[rows[some]] = found[some] / listed.words(texts.gather(some))
        dropped = (hits >= self.min_hits) & ((ratio > self.max_ratio) if self.max_ratio is not None else True)
        return decisions(pc.if_else(pa.array(dropped), "blocked_word", pa.scalar(None, pa.string())), pa.array(hits))

    def _groups(self, docs: pa.RecordBatch) -> Iterator[tuple[Counts, WordList]]:
        """Yield the rows that one list is for, with that list."""
        codes = pa.nulls(len(docs), pa.string()) if self.language is None else pc.cast(leaf(docs, self.language), pa.string())
        encoded = codes.dictionary_encode(null_encoding="encode")
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        for place, code in enumerate(encoded.dictionary.to_pylist()):
            listed = self._list_for(code)
            if listed is not None:
                yield np.flatnonzero(indices == place), listed

    def _list_for(self, code: str | None) -> WordList | None:
        key, bounded = "" if "" in self._lists else code, code not in self.unspaced
        if key is None or key not in self._lists:
            return None
        if (key, bounded) not in self._compiled:
            self._compiled[key, bounded] = WordList(self._lists[key], self.allowed, bounded)
        return self._compiled[key, bounded]

    @functools.cached_property
    def _lists(self) -> dict[str, pa.Array]:
        """The entries for each language; under "" those for all."""
        if isinstance(self.words, str) and (Path(self.words).is_dir() or self.words.endswith(TARS)):
            if self.language is None:
                raise PipelineError(
                    "word_blocklist: lists for many languages, and no language", "name the column of the language in `language`"
                )
            found = {name: some(lines(data, where := f"{self.words} ({name})"), where) for name, data in named_files(self.words)}
            if not found:
                raise PipelineError(
                    f"word_blocklist: {self.words} has no lists", "lists in folders and archives are called `en`, `de.txt`, …"
                )
            return found
        return {"": entries(self.words, "words")}

    @functools.cached_property
    def _compiled(self) -> dict[tuple[str, bool], WordList]:
        return {}


class WordList:
    """Finds the entries of one list in texts of lower case; `bounded` = only where they stand as words."""

    def __init__(self, entries: pa.Array, allowed: tuple[str, ...], bounded: bool) -> None:
        self.entries = sorted(set(_lower(entries).to_list()) - set(allowed))
        self.bounded = bounded

    def hits(self, texts: pl.Series) -> Counts:
        """Count the hits in each text."""
        counts = np.zeros(len(texts), dtype=np.int64)
        rows = np.flatnonzero(self._screened(texts).to_numpy()) if self.entries else np.array([], dtype=np.int64)
        if not len(rows):
            return counts
        # Line by line, as no entry has a line feed: finding overlapping entries reads 25 MB/s, ten times less than the screen.
        split = texts.gather(rows).str.split("\n")
        origin, parts = np.repeat(rows, split.list.len().to_numpy()), split.explode()
        some = np.flatnonzero(self._screened(parts).to_numpy())
        np.add.at(counts, origin[some], self._counted(parts.gather(some)))
        return counts

    def words(self, texts: pl.Series) -> Counts:
        """Count the words of each text, at least 1."""
        counted: Counts = texts.str.count_matches(r"\w+" if self.bounded else r"\w").to_numpy().astype(np.int64)
        return np.maximum(counted, 1)

    def _screened(self, texts: pl.Series) -> pl.Series:
        """Tell which texts may have hits, at the speed of a scan."""
        if not self.bounded or len(self.entries) > MAX_ALTERNATIVES:
            return texts.str.contains_any(self.entries)
        return texts.str.contains(self._pattern)

    @functools.cached_property
    def _pattern(self) -> str:
        longest_first = sorted(self.entries, key=len, reverse=True)
        return rf"(?:\W|^)(?:{'|'.join(re.escape(e).replace(chr(92) + ' ', ' ') for e in longest_first)})(?:\W|$)"

    def _counted(self, texts: pl.Series) -> Counts:
        """Find all entries, overlapping ones too, and look at the characters around each."""
        starts = texts.str.find_many(self.entries, overlapping=True)
        sizes = texts.str.extract_many(self.entries, overlapping=True).list.eval(_byte_lengths())
        per_text = starts.list.len().to_numpy().astype(np.int64)
        if not self.bounded:
            return per_text
        rows = np.repeat(np.arange(len(texts)), per_text)
        begins = starts.explode().drop_nulls().to_numpy().astype(np.int64)
        ends = begins + sizes.explode().drop_nulls().to_numpy().astype(np.int64)
        return np.bincount(rows[_free(texts, rows, begins, ends)], minlength=len(texts)).astype(np.int64)


def _free(texts: pl.Series, rows: Counts, begins: Counts, ends: Counts) -> Mask:
    """Tell which spans have no word character directly before or after them."""
    column = pc.cast(texts.to_arrow(), pa.large_string())
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int64, count=len(column) + 1, offset=8 * column.offset)
    data = column.buffers()[2]
    inside_before, inside_after = begins > 0, ends < (offsets[1:] - offsets[:-1])[rows]
    before = _is_word(data, offsets[rows] + begins, inside_before, -1)
    after = _is_word(data, offsets[rows] + ends, inside_after, 0)
    return ~(before | after)


def _is_word(data: pa.Buffer, places: Counts, inside: Mask, step: int) -> Mask:
    """Tell where the character before a place (`step` -1) or at it (0) is part of a word; outside of the text nothing is."""
    import polars as pl

    octets = np.frombuffer(data, dtype=np.uint8)
    octet = octets[np.where(inside, places + step, 0)]
    result: Mask = inside & WORD_BYTE[octet]
    wide = np.flatnonzero(inside & (octet >= 128))
    if len(wide):
        spans = [octets[max(p - 4, 0) : p] if step else octets[p : p + 4] for p in places[wide].tolist()]
        characters = pl.Series([bytes(span).decode("utf-8", "ignore")[step:][:1] for span in spans], dtype=pl.String)
        result[wide] = characters.str.contains(r"^\w").to_numpy()
    return result


def _lower(texts: pa.Array) -> pl.Series:
    import polars as pl

    return pl.Series(values=pc.fill_null(texts, ""), dtype=pl.String).str.to_lowercase()


def _byte_lengths() -> pl.Expr:
    import polars as pl

    return pl.element().str.len_bytes()
