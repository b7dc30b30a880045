"""The lines of a batch of documents, each with a key that is the same for the same line of the same site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT, leaf
from curate.hashing import hash64
from curate_operators.web_addresses import hosts, without_www

Keys = np.ndarray[Any, np.dtype[np.uint64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
SPACES = r"[\s\p{Z}]{2,}"
WHOLE_SITE = np.uint64(0x5349_5445_5349_5445)  # stands for the line that all documents of a site have
GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class SiteLines:
    """Lines that are long enough, of documents with a site: `rows` say which document of the batch, `numbers` which line of it (from 1).

    `site_keys` and `site_rows` have one entry for each document with a site. `text_chars` and `with_text` are the characters and the
    lines with text of every document of the batch, `chars` the characters of each line.
    """

    ids: pa.Array
    sites: pa.Array
    keys: Keys
    rows: Ints
    numbers: Ints
    chars: Ints
    site_keys: Keys
    site_rows: Ints
    text_chars: Ints
    with_text: Ints

    @property
    def documents(self) -> int:
        """Documents in the batch."""
        return len(self.ids)


def sites_of(values: pa.Array) -> pa.Array:
    """Return what documents are counted by: the hosts of addresses, without `www.`; other values as they are; null for none."""
    names = pc.cast(values, pa.string())
    is_address = pc.match_substring(names, "://")
    found = pc.if_else(is_address, without_www(hosts(names)), names)
    return pc.if_else(pc.equal(found, ""), pa.scalar(None, pa.string()), found)


def site_lines(docs: pa.RecordBatch, by: str, min_chars: int, ignore_digits: bool) -> SiteLines:
    """Return the lines of a batch, as `\\n` cuts them."""
    texts = pc.cast(pc.fill_null(docs.column(TEXT), ""), pa.large_string())
    sites = sites_of(leaf(docs, by))
    split = pc.split_pattern(texts, "\n")
    rows = pc.list_parent_indices(split).to_numpy().astype(np.int64)
    firsts = split.offsets.to_numpy()[:-1] - split.offsets[0].as_py()
    numbers = np.arange(len(rows)) - firsts[rows] + 1
    lines = _normal(split.flatten(), ignore_digits)
    sizes = pc.utf8_length(lines).to_numpy()
    site_hashes, has_site = hash64(sites), sites.is_valid().to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero((sizes >= max(min_chars, 1)) & has_site[rows])
    site_rows = np.flatnonzero(has_site)
    return SiteLines(
        ids=docs.column(ID),
        sites=sites,
        keys=_mixed(site_hashes[rows[chosen]], hash64(lines.take(pa.array(chosen)))),
        rows=rows[chosen],
        numbers=numbers[chosen],
        chars=pc.utf8_length(split.flatten()).to_numpy()[chosen].astype(np.int64),
        site_keys=_mixed(site_hashes[site_rows], WHOLE_SITE),
        site_rows=site_rows,
        text_chars=pc.utf8_length(texts).to_numpy().astype(np.int64),
        with_text=np.bincount(rows[sizes > 0], minlength=len(texts)),
    )


def _normal(lines: pa.Array, ignore_digits: bool) -> pa.Array:
    """Return lines in lower case, with single blanks and none at their ends."""
    lines = pc.utf8_trim_whitespace(pc.utf8_lower(lines))
    spaced = pc.match_substring_regex(lines, SPACES)
    if pc.any(spaced).as_py():
        lines = pc.replace_with_mask(lines, spaced, pc.replace_substring_regex(lines.filter(spaced), SPACES, " "))
    return pc.replace_substring_regex(lines, r"\p{Nd}+", "0") if ignore_digits else lines


def _mixed(site: Keys, line: Keys | np.uint64) -> Keys:
    """Return one well-mixed key for site and line (the finaliser of SplitMix64)."""
    value = site * GOLDEN + line
    value = (value ^ (value >> np.uint64(30))) * FIRST
    value = (value ^ (value >> np.uint64(27))) * SECOND
    return value ^ (value >> np.uint64(31))
