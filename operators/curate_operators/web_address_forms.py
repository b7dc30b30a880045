"""Brings web addresses into one form, so that different spellings of one page's address are equal.

What never matters: the case of scheme and host, foreign host names beside their `xn--` form, a user's name, default ports,
fragments (`#…`, except the `#!…` of pages that scripts compose), a slash at the end, how harmless characters are escaped
(`%7E` is `~`, `é` is `%C3%A9`), and the order of parameters. Parameters that only track the visitor go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from curate_operators.web_addresses import HOST, REST, USER, WWW, tidy_hosts, without_www

TRACKING = (
    "utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "srsltid", "_ga", "_gl", "fbclid", "igshid", "igsh", "msclkid",
    "yclid", "ysclid", "twclid", "ttclid", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok", "_hsenc", "_hsmi", "hsctatracking",
    "vero_id", "oly_anon_id", "oly_enc_id", "rb_clickid", "s_cid", "wickedid", "_openstat", "at_campaign", "at_medium", "pk_campaign",
    "pk_kwd", "pk_source", "pk_medium", "mtm_*",
)  # fmt: skip
"""Parameters that say where a visitor came from, never what the page is; `*` stands for any end."""

WITH_SCHEME = r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):[/\\]{2,}(?P<after>(?s:.*))$"
AUTHORITY = f"^{USER}{HOST}(?::(?P<port>[0-9]*))?{REST}$"
DEFAULT_PORTS = {"http": "80", "https": "443", "ftp": "21"}
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def one_form(urls: pa.Array, tracking: Sequence[str] = TRACKING, ignore_scheme: bool = True, ignore_www: bool = False) -> pa.Array:
    """Return each address in its one form, what names no host stays as it is, without white space around it."""
    plain = pc.utf8_trim_whitespace(pc.cast(urls, pa.string()))
    scheme, after = _taken(plain, WITH_SCHEME, ("scheme", "after"))
    scheme = pc.utf8_lower(scheme)
    host, port, rest = _taken(pc.coalesce(after, pc.replace_substring_regex(plain, r"^[/\\]{2,}", "")), AUTHORITY, ("host", "port", "rest"))
    host = tidy_hosts(host)
    if ignore_www:
        host = pc.if_else(pc.greater(pc.utf8_length(host), len(WWW)), without_www(host), host)
    parts = _scheme(scheme, ignore_scheme), host, _port(scheme, port), _path_and_query(rest, tracking)
    form = pc.binary_join_element_wise(*parts, "")
    return pc.if_else(pc.is_valid(host), form, plain)


def _taken(values: pa.Array, pattern: str, names: tuple[str, ...]) -> list[pa.Array]:
    parts = pc.extract_regex(values, pattern)
    null = pa.scalar(None, pa.string())
    return [pc.if_else(pc.is_valid(parts), pc.cast(pc.struct_field(parts, name), pa.string()), null) for name in names]


def _scheme(scheme: pa.Array, ignore: bool) -> pa.Array:
    named = pc.fill_null(scheme, "http")
    if ignore:
        named = pc.if_else(pc.equal(named, "https"), "http", named)
    return pc.binary_join_element_wise(named, "://", "")


def _port(scheme: pa.Array, port: pa.Array) -> pa.Array:
    """Return `:8080`, or nothing for the scheme's own port."""
    empty = ""
    own = pc.equal(pc.fill_null(port, ""), "")
    for name, number in DEFAULT_PORTS.items():
        own = pc.or_(own, pc.and_(pc.equal(pc.fill_null(scheme, "http"), name), pc.equal(pc.fill_null(port, ""), number)))
    return pc.if_else(own, empty, pc.binary_join_element_wise(":", pc.fill_null(port, ""), ""))


def _path_and_query(rest: pa.Array, tracking: Sequence[str]) -> pa.Array:
    rest = pc.replace_substring_regex(pc.fill_null(rest, ""), r"#(?s:[^!].*)?$", "")
    escaped = pc.or_(pc.match_substring(rest, "%"), pc.invert(pc.string_is_ascii(rest)))
    if pc.any(escaped).as_py():
        tidied = [_FOREIGN.sub(_escaped, _ESCAPE.sub(_unescaped, value)) for value in rest.filter(escaped).to_pylist()]
        rest = pc.replace_with_mask(rest, escaped, pa.array(tidied, rest.type))
    asking = pc.match_substring(rest, "?")
    path = pc.replace_substring_regex(rest, r"/+$", "")
    if not pc.any(asking).as_py():
        return path
    return pc.replace_with_mask(path, asking, _with_query(rest.filter(asking), _pattern(tracking)))


def _with_query(rest: pa.Array, pattern: str | None) -> pa.Array:
    """Return paths with what is left of their parameters, in order of their names; those of one name keep their order."""
    import polars as pl

    frame = pl.DataFrame({"rest": pl.Series(rest)}).with_columns(
        path=pl.col("rest").str.extract(r"^([^?]*)", 1).str.strip_chars_end("/"),
        bang=pl.col("rest").str.extract(r"(#!(?s:.*))$", 1).fill_null(""),
        query=pl.col("rest").str.extract(r"\?([^#]*)", 1).fill_null("").str.replace_all("&amp;", "&", literal=True),
    )
    part = pl.element()
    wanted = part != ""
    if pattern is not None:
        wanted = wanted & ~part.str.contains(pattern)
    kept = part.filter(wanted)
    ordered = kept.sort_by(kept.str.extract(r"^([^=]*)", 1), maintain_order=True)
    query = pl.col("query").str.split("&").list.eval(ordered).list.join("&")
    made = frame.select(pl.col("path") + pl.when(query == "").then(pl.lit("")).otherwise(pl.lit("?") + query) + pl.col("bang"))
    return pc.cast(made.to_series().to_arrow(), pa.string())


def _pattern(tracking: Sequence[str]) -> str | None:
    names = "|".join(re.escape(name[:-1]) + "[^=]*" if name.endswith("*") else re.escape(name) for name in tracking)
    return f"^(?i:{names})(=|$)" if names else None


_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in SAFE else f"%{found[1].upper()}"


def _escaped(found: re.Match[str]) -> str:
    return quote(found[0], safe="")
