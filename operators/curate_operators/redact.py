"""Masks personal data and secret keys, or drops the documents that have them.

`redact` changes `text` and adds a struct column of counts per kind (int32, never null); `pii` decides only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.protocols import Filter, Mapper, decisions

DEFAULT_KINDS = ("email", "ip", "phone", "credit_card", "iban", "us_ssn", "secret")
ALL_KINDS = (*DEFAULT_KINDS, "token", "crypto")
# A masked neighbour can free what its characters hid: 2 of 3,109 mails took a second round, random pieces of values a third at most.
MAX_ROUNDS = 8


@dataclass(frozen=True)
class Redact(Mapper):
    """Masks personal data and secret keys.

    ## What it does
    Replaces e-mail and IP addresses, telephone, credit card, IBAN and US social security numbers and secret keys by `<EMAIL>`,
    `<IP>`, …, and counts them per kind in a struct column: `where: pii.email = 0` drops what had one. A number must prove
    itself: credit cards by issuer, length and Luhn's check digit, IBANs by country, length and remainder by 97, IP addresses by
    their range, telephone numbers by a shape that nothing else has or by a word next to them (dates, versions, ISBNs, order
    numbers and sections stay). IPv4 addresses of fewer than seven digits, such as `8.8.8.8`, might be sections: they go only
    after `http://`, `https://` or the word IP, and before a port (`:80`). 3-2-4 digits after *part*, *order*, *no.* and the like
    are no social security number. Addresses that are nobody's stay as well: `example.com`, documentation IPs, `git@`.
    The name and password of a web address (`https://jo:…@host.com`) are a secret, no e-mail address.
    Where two kinds overlap the longer wins, then the more certain. A second pass changes nothing.

    ## Why
    Models repeat what they read, and people's addresses and keys are no use to them. Only windows round `@`, colons, dots
    and runs of seven digits are read by the exact rules, so text without them costs little.

    ## Example
        - use: redact
          params: {kinds: [email, ip], replacements: {email: email@example.com, ip: 192.0.2.1}}

    ## Parameters
    - `kinds`: any of `email`, `ip`, `phone`, `credit_card`, `iban`, `us_ssn`, `secret` (the default), `token` (quoted values
      given to names such as `api_key` that look random) and `crypto` (Bitcoin, Ethereum).
    - `public_ips_only`: leave private, local and reserved addresses.
    - `replacements`: text per kind in place of `<KIND>`; it must not be personal data itself.
    - `counts_into`: the column of counts; null = none.

    ## Source
    Penedo et al., *FineWeb* (2024) for masking e-mail and public IP addresses; Luhn (ISO/IEC 7812-1), IBAN (ISO 13616).
    """

    kinds: tuple[str, ...] = DEFAULT_KINDS
    public_ips_only: bool = True
    replacements: Mapping[str, str] = field(default_factory=dict, hash=False)
    counts_into: str | None = "pii"

    def __post_init__(self) -> None:
        _check_kinds("redact", self.kinds)
        _check_kinds("redact", tuple(self.replacements), "replacements")
        for kind, text in self.replacements.items():
            if _find(pa.array([text, f"<{text}>"], TEXT_TYPE), self):
                raise PipelineError(
                    f"redact: the replacement for {kind} is personal data: {text}", "email@example.com and 192.0.2.1 are not"
                )

    def adds(self) -> Mapping[str, pa.DataType]:
        return {} if self.counts_into is None else {self.counts_into: pa.struct([(kind, pa.int32()) for kind in self.kinds])}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts, counts = self._mask(pc.cast(docs.column(TEXT), TEXT_TYPE))
        docs = set_column(docs, TEXT, texts)
        return docs if self.counts_into is None else set_column(docs, self.counts_into, counts)

    def _mask(self, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
        from curate_operators.redact_spans import replace

        wanted = {kind: self.replacements.get(kind, f"<{kind.upper()}>") for kind in self.kinds}
        tally = _Tally(self.kinds, len(texts))
        changed: dict[int, str] = {}
        places, pending = list(range(len(texts))), texts
        for _ in range(MAX_ROUNDS):
            found = _find(pending, self)
            if not found:
                break
            for row, spans in found.items():
                tally.add(places[row], spans)
                changed[places[row]] = replace(pending[row].as_py().encode(), spans, wanted)
            places = [places[row] for row in found]
            pending = pa.array([changed[place] for place in places], TEXT_TYPE)
        return _put(texts, changed), tally.column()


@dataclass(frozen=True)
class Pii(Filter):
    """Drops documents with personal data or secret keys.

    ## What it does
    Finds what `redact` masks and drops a document with more than `max_count` of a kind. The reason is the kind that was found
    most often (`email`, `phone`, …), the value how often.

    ## Why
    Where a few contacts are no harm, lists of them are: directories, leaked tables, logs.

    ## Example
        - use: pii
          params: {kinds: [email, phone], max_count: 20}

    ## Parameters
    - `kinds`, `public_ips_only`: as for `redact`.
    - `max_count`: how many of a kind a document may have.

    ## Source
    Laurençon et al., *ROOTS* (2022), which masks instead; the rules are those of `redact`.
    """

    kinds: tuple[str, ...] = DEFAULT_KINDS
    public_ips_only: bool = True
    max_count: int = 0

    def __post_init__(self) -> None:
        _check_kinds("pii", self.kinds)
        if self.max_count < 0:
            raise PipelineError(f"pii: max_count is negative: {self.max_count}")

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        tally = _Tally(self.kinds, len(docs))
        for row, spans in _find(docs.column(TEXT), self).items():
            tally.add(row, spans)
        most = [max(range(len(self.kinds)), key=row.__getitem__) for row in tally.rows]
        counts = [row[kind] for row, kind in zip(tally.rows, most, strict=True)]
        reasons = [self.kinds[kind] if count > self.max_count else None for kind, count in zip(most, counts, strict=True)]
        return decisions(pa.array(reasons, pa.string()), pa.array(counts, pa.float64()))


class _Tally:
    """Counts of each kind in each row."""

    def __init__(self, kinds: tuple[str, ...], size: int) -> None:
        self.kinds = kinds
        self.rows = [[0] * len(kinds) for _ in range(size)]

    def add(self, row: int, spans: list[Any]) -> None:
        from curate_operators.redact_spans import KINDS

        for span in spans:
            self.rows[row][self.kinds.index(KINDS[span.kind])] += 1

    def column(self) -> pa.Array:
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.kinds)
        return pa.StructArray.from_arrays([pa.array(column, pa.int32()) for column in columns], list(self.kinds))


def _find(texts: pa.Array, operator: Redact | Pii) -> dict[int, list[Any]]:
    from curate_operators.redact_spans import find

    return dict(find(texts, operator.kinds, operator.public_ips_only))


def _put(texts: pa.Array, changed: dict[int, str]) -> pa.Array:
    """Put the changed texts in their places."""
    if not changed:
        return texts
    places = sorted(changed)
    indices = pa.array(places, pa.int64())
    mask = pc.is_in(pa.array(range(len(texts)), pa.int64()), indices)
    return pc.replace_with_mask(texts, mask, pa.array([changed[place] for place in places], TEXT_TYPE))


def _check_kinds(operator: str, kinds: tuple[str, ...], parameter: str = "kinds") -> None:
    unknown = sorted(set(kinds) - set(ALL_KINDS))
    if unknown or (parameter == "kinds" and (not kinds or len(set(kinds)) < len(kinds))):
        found = f"unknown kind: {unknown[0]}" if unknown else f"{parameter} is empty or names a kind twice"
        raise PipelineError(f"{operator}: {found}", f"each at most once of {', '.join(ALL_KINDS)}")
