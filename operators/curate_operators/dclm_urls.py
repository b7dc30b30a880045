"""Takes web addresses out of texts; changes `text`."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, set_column
from curate.errors import PipelineError
from curate.protocols import Mapper

# Not in the list: countries whose code is an English word (at, be, in, it, me, no, so, us) or a file's ending (pl, rs, sh, md).
GENERIC = "com|org|net|edu|gov|mil|int|info|biz|io|ai|app|dev|xyz|online|site|shop|blog|store|tech|cloud|club|tv"
COUNTRIES = "ar|au|br|ca|ch|cl|cn|co|cz|de|dk|es|eu|fi|fr|gr|hk|hu|ie|il|ir|jp|kr|mx|nl|nz|pt|ro|ru|se|sg|sk|tr|tw|ua|uk|za"
DOMAINS = (*GENERIC.split("|"), *COUNTRIES.split("|"))
REST = r"[^\s<>\"]*[^\s<>\".,;:!?'()\[\]]"  # of an address, without the punctuation of the sentence that it stands in
PATH = rf"(?::[0-9]+)?(?:[/?#](?:{REST})?)?"


@dataclass(frozen=True)
class StripUrls(Mapper):
    """Takes web addresses out of texts.

    ## What it does
    Removes, with the blanks before them,

    - what begins with `http://`, `https://`, `ftp://` or `www.`;
    - unless `bare` is false, names such as `example.com/a`, `shop.example.co.uk` or `me@example.com`: lower-case endings of `domains`;
    - unless `ip_addresses` is false, four numbers with dots between them, with what follows after a slash or port.

    Punctuation after an address stays, and so do lines: an address by itself leaves a blank one.

    ## Why
    A model learns to make addresses up. DCLM removes them before it counts words, so that pages of links count as short.

    ## Example
        - use: strip_urls
          params: {bare: false}

    ## Parameters
    - `bare`: also addresses without scheme.
    - `domains`: the top-level domains of these.
    - `ip_addresses`: also IPv4 addresses, and with them version numbers of four parts.

    ## Source
    Li et al., *DataComp-LM* (2024), whose list of domains is IANA's; ours leaves out what is more often a word or a file's ending.
    """

    bare: bool = True
    domains: tuple[str, ...] = DOMAINS
    ip_addresses: bool = True

    def __post_init__(self) -> None:
        odd = [name for name in self.domains if not name.isalnum() or name != name.lower()]
        if odd:
            raise PipelineError(f"strip_urls: no top-level domain: {', '.join(odd)}", "lower case, without the dot: com, uk")

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        column = docs.column(TEXT)
        if pa.types.is_null(column.type):
            return set_column(docs, TEXT, column.cast(TEXT_TYPE))
        has = pc.fill_null(pc.match_substring_regex(column, self._pattern), False)
        if not pc.any(has).as_py():
            return docs
        stripped = pc.replace_substring_regex(column.filter(has), rf"[ \t]*(?:{self._pattern})", "")
        return set_column(docs, TEXT, pc.replace_with_mask(column, has, stripped))

    @functools.cached_property
    def _pattern(self) -> str:
        kinds = [rf"(?i:\b(?:https?|ftp)://|\bwww\.){REST}"]
        if self.bare and self.domains:
            name = r"[\p{L}\p{N}_.@%+~-]*[\p{L}\p{N}]"
            kinds.append(rf"{name}\.(?:{'|'.join(self.domains)})\b(?:\.[a-z]{{2}}\b)?{PATH}")
        if self.ip_addresses:
            kinds.append(rf"\b(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}\b{PATH}")
        return "|".join(kinds)
