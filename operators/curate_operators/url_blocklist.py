"""Drops documents from listed sites and pages, and those whose address has listed words in it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import leaf
from curate.errors import PipelineError
from curate.protocols import Filter, decisions
from curate_operators.entries import Entries, entries, some
from curate_operators.web_addresses import WWW, Addresses, take_apart, tidy_hosts, without_www

Given = str | tuple[str, ...]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
NO_WORD = r"[^\p{L}\p{N}\p{M}]+"
NUMERIC = r"^[0-9.]+$|^\["


@dataclass(frozen=True)
class UrlBlocklist(Filter):
    """Drops documents whose address is on a list.

    ## What it does
    Looks at the address of each document, in this order; the first rule that it breaks is the reason:

    - `domain`: its host, or a domain that the host lies in, is listed. `example.com` blocks `shop.example.com` as well;
      `www.example.com` blocks `example.com` and what lies in `www.example.com`. No list of public suffixes is asked: an
      entry `co.uk` blocks all of it. Scheme, user, port and path of an entry count for nothing.
    - `url`: the page is listed, or lies beneath a listed one: `example.com/a` blocks `example.com/a/b` and
      `example.com/a?b`. An entry without a path is the front page only. Scheme, `www.`, user, port, fragment and a slash
      at the end count for nothing.
    - `hard_word`: one of its words is listed. Words are what stands between signs that are neither letters nor digits.
    - `soft_word`: at least `max_soft_words` different ones of its words are listed.
    - `substring`: with all other signs left out, it contains a listed string.

    Only in paths does case count. The value of the two rules on words is the number of different listed words. Documents
    without an address, or with one that names no host, stay, or go with the reason `bad_url`.

    ## Why
    Adult, gambling and spam sites are easier to know by their names than by their text, before anything costly is done with
    them. A soft word is suspicious only in company. Lists of millions of domains take 20 bytes an entry beside the entry.

    ## Example
        - use: url_blocklist
          params: {domains: ut1/adult.tar.gz, urls: ut1/adult.tar.gz, hard_words: [porn], soft_words: lists/soft.txt}

    ## Parameters
    Each list is given as a path or as the entries themselves (`[a, b]`). A path names a text file (one entry a line, `#` for
    comments, `.gz` or not), or a folder or tar archive in which all files called like the parameter are read
    (`adult/domains`, `adult/urls`).

    - `domains`: sites.
    - `urls`: pages.
    - `hard_words`: words that are enough by themselves.
    - `soft_words`: words that are not.
    - `max_soft_words`: how many different soft words are too many; null = off.
    - `substrings`: strings anywhere in the address.
    - `by`: the column with the address.
    - `bad_url`: whether to `keep` or `drop` documents without a proper address.

    ## Source
    The filters of addresses of RefinedWeb (Penedo et al., 2023), DCLM (Li et al., 2024) and FineWeb (Penedo et al., 2024),
    in datatrove's order.
    """

    folders: ClassVar[tuple[str, ...]] = ("domains", "urls", "hard_words", "soft_words", "substrings")

    domains: Given = ()
    urls: Given = ()
    hard_words: Given = ()
    soft_words: Given = ()
    max_soft_words: int | None = 2
    substrings: Given = ()
    by: str = "url"
    bad_url: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        if not (self.domains or self.urls or self.hard_words or self.soft_words or self.substrings):
            raise PipelineError("url_blocklist: no list is given", "give one of domains, urls, hard_words, soft_words, substrings")
        if self.max_soft_words is not None and self.max_soft_words < 1:
            raise PipelineError(f"url_blocklist: max_soft_words is less than 1: {self.max_soft_words}", "null = off")

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        urls = pc.cast(leaf(docs, self.by), pa.string())
        reasons, values = pa.nulls(len(urls), pa.string()), pa.nulls(len(urls), pa.int64())
        for reason, broken, value in self._rules(urls):
            new = pc.and_(pa.array(broken), pc.is_null(reasons))
            reasons = pc.if_else(new, reason, reasons)
            if value is not None:
                values = pc.if_else(new, pa.array(value), values)
        return decisions(reasons, values)

    def _rules(self, urls: pa.Array) -> Iterator[tuple[str, Mask, Counts | None]]:
        """Yield each rule's reason, the rows that break it, and what was counted."""
        parts = take_apart(urls)
        if self.bad_url == "drop":
            yield "bad_url", parts.host.is_null().to_numpy(zero_copy_only=False), None
        if self.domains:
            yield "domain", listed_hosts(parts.host, self._domains), None
        if self.urls:
            yield "url", listed_pages(parts, *self._pages), None
        if not (self.hard_words or self.soft_words or self.substrings):
            return
        words = words_of(urls)
        if self.hard_words:
            hard = listed_words(words, self._hard_words)
            yield "hard_word", hard > 0, hard
        if self.soft_words and self.max_soft_words is not None:
            soft = listed_words(words, self._soft_words)
            yield "soft_word", soft >= self.max_soft_words, soft
        if self.substrings:
            yield "substring", _contains_any(pc.binary_join(words, ""), self._substrings), None

    @functools.cached_property
    def _domains(self) -> Entries:
        given = pc.utf8_ltrim(entries(self.domains, "domains"), "*.")
        odd = pc.match_substring_regex(given, r"[/:@?#\\]")
        if pc.any(odd).as_py():
            given = pc.replace_with_mask(given, odd, pc.cast(take_apart(given.filter(odd)).host, given.type))
        return Entries(tidy_hosts(given))

    @functools.cached_property
    def _pages(self) -> tuple[Entries, Entries]:
        """The hosts of the listed pages, and the pages."""
        parts = take_apart(entries(self.urls, "urls"))
        return Entries(without_www(parts.host)), Entries(page_keys(parts))

    @functools.cached_property
    def _hard_words(self) -> Entries:
        return Entries(_listed(self.hard_words, "hard_words"))

    @functools.cached_property
    def _soft_words(self) -> Entries:
        return Entries(_listed(self.soft_words, "soft_words"))

    @functools.cached_property
    def _substrings(self) -> list[str]:
        return sorted(set(_listed(self.substrings, "substrings").to_pylist()))


def listed_hosts(hosts: pa.Array, domains: Entries) -> Mask:
    """Tell which hosts are listed or lie in a listed domain; each different host is looked up once."""
    encoded = hosts.dictionary_encode()
    names = encoded.dictionary
    found = domains.find(names) >= 0
    found |= domains.find(pc.binary_join_element_wise(WWW, names, "")) >= 0
    above = np.flatnonzero(~pc.match_substring_regex(names, NUMERIC).to_numpy(zero_copy_only=False))
    while len(above := above[_has_dot(names, above)]):
        parents = pc.replace_substring_regex(names.take(pa.array(above)), r"^[^.]*\.", "")
        names = pc.replace_with_mask(names, _mask(above, len(names)), parents)
        found[above] |= domains.find(parents) >= 0
    return _spread(found, encoded.indices)


def listed_pages(parts: Addresses, hosts: Entries, pages: Entries) -> Mask:
    """Tell which addresses are listed or lie beneath a listed one."""
    found = np.zeros(len(parts.host), dtype=np.bool_)
    rows = np.flatnonzero(hosts.find(without_www(parts.host)) >= 0)
    keys = page_keys(Addresses(*(part.take(pa.array(rows)) for part in parts)))
    while len(rows):
        found[rows] |= pages.find(keys) >= 0
        inside = pc.match_substring_regex(keys, r"^[^/?]*.*[/?]")
        rows = rows[inside.to_numpy(zero_copy_only=False)]
        keys = pc.replace_substring_regex(keys.filter(inside), r"(?s)^([^?]*)\?.*$|^(.*)/[^/?]*$", r"\1\2")
        below = pc.match_substring(keys, "/")  # the front page stands for itself only
        rows, keys = rows[below.to_numpy(zero_copy_only=False)], keys.filter(below)
    return found


def page_keys(parts: Addresses) -> pa.Array:
    """Return what two addresses of one page have in common: host and path with query, without `www.`, fragment and slashes at the end."""
    path = pc.replace_substring_regex(parts.rest, r"(?s)#.*$", "")
    path = pc.replace_substring_regex(path, r"^/+\?", "?")
    return pc.binary_join_element_wise(without_www(parts.host), pc.utf8_rtrim(path, "/"), "")


def listed_words(words: pa.ListArray, listed: Entries) -> Counts:
    """Count the different listed words in each row."""
    rows = pc.list_parent_indices(words).to_numpy(zero_copy_only=False).astype(np.int64)
    places = listed.find(words.flatten())
    hits = places >= 0
    pairs = np.unique(rows[hits] * len(listed) + places[hits])
    return np.bincount(pairs // max(len(listed), 1), minlength=len(words)).astype(np.int64)


def words_of(urls: pa.Array) -> pa.ListArray:
    """Return what stands between signs that are neither letters nor digits, in lower case; nothing for null."""
    lower = pc.fill_null(pc.utf8_lower(urls), "")
    return pc.ascii_split_whitespace(pc.replace_substring_regex(lower, NO_WORD, " "))


def _listed(given: Given, name: str) -> pa.Array:
    """Return letters and digits only, in lower case, of the entries that have any."""
    values = pc.replace_substring_regex(pc.utf8_lower(entries(given, name)), NO_WORD, "")
    return some(values.filter(pc.not_equal(values, "")), f"url_blocklist: {name}")


def _contains_any(squeezed: pa.Array, substrings: list[str]) -> Mask:
    import polars as pl

    found: Mask = pl.Series(values=squeezed, dtype=pl.String).str.contains_any(substrings).to_numpy()
    return found


def _has_dot(names: pa.Array, rows: Counts) -> Mask:
    found: Mask = pc.match_substring(names.take(pa.array(rows)), ".").to_numpy(zero_copy_only=False)
    return found


def _mask(rows: Counts, size: int) -> pa.Array:
    mask = np.zeros(size, dtype=np.bool_)
    mask[rows] = True
    return pa.array(mask)


def _spread(found: Mask, indices: pa.Array) -> Mask:
    """Return for each row what was found for its entry in the dictionary; False for null."""
    spread: Mask = np.append(found, False)[pc.fill_null(indices, len(found)).to_numpy(zero_copy_only=False)]
    return spread
