"""Finds personal data in a batch of texts: spans of bytes with their kinds, none overlapping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT_TYPE
from curate_operators import redact_rules as rules
from curate_operators import redact_secrets as secrets
from curate_operators.redact_phone import phones
from curate_operators.redact_windows import Rows, at_signs, colons, dotted, numbers

# The most certain first: it wins where two kinds find the same characters.
KINDS = ("secret", "iban", "credit_card", "email", "ip", "us_ssn", "phone", "crypto", "token")
# Fewest digits in a group: of an IBAN, one group of digits may stand before letters of the bank.
_NUMBER_RULES = {"iban": (rules.ibans, 9), "credit_card": (rules.credit_cards, 12), "us_ssn": (rules.us_ssns, 9), "phone": (phones, 7)}
MIN_DIGITS = 7
# Before: a word that says what follows. Behind: the rest of an IBAN, an extension.
NUMBER_MARGINS = (64, 48)


class Span(NamedTuple):
    """Where personal data stands in a row's UTF-8 bytes, and its kind as an index of `KINDS`."""

    start: int
    end: int
    kind: int


def find(texts: pa.Array, kinds: Sequence[str], public_ips_only: bool) -> dict[int, list[Span]]:
    """Return the spans of each row that has any, in order; of two that overlap the longer stays, then the more certain."""
    texts = pc.fill_null(pc.cast(texts, TEXT_TYPE), "")
    found: dict[int, list[Span]] = defaultdict(list)
    rows = Rows.of(texts)
    for row, kind, start, end in _candidates(texts, rows, frozenset(kinds), public_ips_only):
        found[row].append(Span(start, end, KINDS.index(kind)))
    return {row: _without_overlaps(spans) for row, spans in sorted(found.items())}


def replace(text: bytes, spans: Sequence[Span], replacements: Mapping[str, str]) -> str:
    """Return a text with each span replaced."""
    parts, position = [], 0
    for span in spans:
        parts += [text[position : span.start], replacements[KINDS[span.kind]].encode()]
        position = span.end
    return b"".join([*parts, text[position:]]).decode()


def _candidates(texts: pa.Array, rows: Rows, kinds: frozenset[str], public_ips_only: bool) -> Iterator[tuple[int, str, int, int]]:
    if "email" in kinds:
        for window in at_signs(rows, rules.EMAIL_MARGINS):
            for start, end in rules.emails(window):
                yield window.row, "email", window.start + start, window.start + end
    if "ip" in kinds:
        for window in colons(rows):
            for start, end in rules.ipv6(window, public_ips_only):
                yield window.row, "ip", window.start + start, window.start + end
        for window in dotted(rows, rules.IPV4_MARGINS):
            for start, end in rules.ipv4(window, public_ips_only):
                yield window.row, "ip", window.start + start, window.start + end
    if kinds & _NUMBER_RULES.keys():
        yield from _numbers(rows, kinds)
    for kind in sorted(kinds & secrets.RULES.keys()):
        for row in _rows_with(texts, secrets.SIGNS[kind]):
            for start, end in secrets.RULES[kind](rows.bytes_of(row)):
                yield row, kind, start, end


def _numbers(rows: Rows, kinds: frozenset[str]) -> Iterator[tuple[int, str, int, int]]:
    wanted = [(kind, rule, fewest) for kind, (rule, fewest) in _NUMBER_RULES.items() if kind in kinds]
    for window in numbers(rows, MIN_DIGITS, NUMBER_MARGINS):
        for kind, rule, fewest in wanted:
            if window.marks >= fewest:
                for start, end in rule(window):
                    yield window.row, kind, window.start + start, window.start + end


def _rows_with(texts: pa.Array, pattern: str) -> list[int]:
    import polars as pl

    found: list[int] = pl.Series(texts).str.contains(pattern).arg_true().to_list()
    return found


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """Settle each heap of spans that overlap; most spans stand alone."""
    chosen: list[Span] = []
    heap: list[Span] = []
    reach = 0
    for span in sorted(spans):
        if heap and span.start >= reach:
            chosen += _settle(heap)
            heap = []
        heap.append(span)
        reach = max(reach, span.end)
    return chosen + _settle(heap)


def _settle(heap: list[Span]) -> list[Span]:
    if len(heap) == 1:
        return heap
    chosen: list[Span] = []
    for span in sorted(set(heap), key=lambda s: (s.start - s.end, s.kind, s.start)):
        if all(span.end <= other.start or other.end <= span.start for other in chosen):
            chosen.append(span)
    return sorted(chosen)
