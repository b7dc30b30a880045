"""The lines or paragraphs of a batch of documents, each with a key that is the same for the same line, of one site or of all documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import ID, TEXT, leaf
from curate_operators.web_addresses import hosts, without_www

Unit = Literal["line", "paragraph"]
Ignored = Literal["case", "spaces", "digits", "punctuation"]
Keys = np.ndarray[Any, np.dtype[np.uint64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
WHOLE_SITE = np.uint64(0x5349_5445_5349_5445)  # stands for the line that all documents of a site have
GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Cut:
    """How texts are cut and what is compared: `ignored` differences do not count, shorter units are left out, `by` names the site."""

    by: str | None
    unit: Unit = "line"
    ignored: tuple[Ignored, ...] = ("case", "spaces")
    min_chars: int = 1
    min_words: int = 0


@dataclass(frozen=True)
class SiteLines:
    """Units that are long enough, of documents with a site: `rows` say which document of the batch has them.

    A unit is the lines `numbers` to `last` (from 1, as `\\n` cuts the text). `site_keys` and `site_rows` have one entry for each
    document with a site. `text_chars` and `with_text` are the characters and the units with text of every document of the batch,
    `chars` the characters of each unit.
    """

    ids: pa.Array
    sites: pa.Array
    keys: Keys
    rows: Ints
    numbers: Ints
    last: Ints
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


def site_lines(docs: pa.RecordBatch, cut: Cut) -> SiteLines:
    """Return the units of a batch; without a column `by`, all documents are of one site."""
    from curate.hashing import hash64

    texts = kernels.texts(docs.column(TEXT))
    sites = pa.repeat(pa.scalar("", pa.string()), len(docs)) if cut.by is None else sites_of(leaf(docs, cut.by))
    spans = kernels.lines(texts, "blank" if cut.unit == "paragraph" else "feed")
    rows = np.repeat(np.arange(len(texts)), np.diff(spans.first))
    forms = kernels.normal_forms(texts, spans.start, spans.end, cut.ignored)
    has_site = sites.is_valid().to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero((forms.chars >= max(cut.min_chars, 1)) & (forms.words >= cut.min_words) & has_site[rows])
    site_rows = np.flatnonzero(has_site)
    site_hashes = hash64(sites) if cut.by is not None else np.zeros(len(docs), np.uint64)
    numbers, last = line_numbers(texts, spans, rows, chosen)
    return SiteLines(
        ids=docs.column(ID),
        sites=sites,
        keys=_mixed(site_hashes[rows[chosen]], forms.hashes[chosen]),
        rows=rows[chosen],
        numbers=numbers,
        last=last,
        chars=forms.before[chosen].astype(np.int64),
        site_keys=_mixed(site_hashes[site_rows], WHOLE_SITE),
        site_rows=site_rows,
        text_chars=pc.fill_null(pc.utf8_length(docs.column(TEXT)), 0).to_numpy(zero_copy_only=False).astype(np.int64),
        with_text=np.bincount(rows[forms.chars > 0], minlength=len(texts)),
    )


def line_numbers(texts: kernels.Texts, spans: kernels.Lines, rows: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """Return the numbers of the first and the last line of the chosen spans (from 1, as `\\n` cuts the text); none may be empty."""
    lines = kernels.lines(texts, "feed")
    begun = np.searchsorted(lines.start, spans.start[chosen], side="right") - 1
    ended = np.searchsorted(lines.start, spans.end[chosen] - 1, side="right") - 1
    first = lines.first[rows[chosen]] - 1
    return begun - first, ended - first


def _mixed(site: Keys, line: Keys | np.uint64) -> Keys:
    """Return one well-mixed key for site and line (the finaliser of SplitMix64)."""
    value = site * GOLDEN + line
    value = (value ^ (value >> np.uint64(30))) * FIRST
    value = (value ^ (value >> np.uint64(27))) * SECOND
    return value ^ (value >> np.uint64(31))
