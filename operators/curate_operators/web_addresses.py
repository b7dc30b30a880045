"""Takes web addresses apart and brings host names into one form, for whole columns at once.

A host is lower-case, in its ASCII form (`xn--…`), without user, port and dots at its end.
Addresses may lack their scheme, as those of block lists do.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

SCHEME = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}"
USER = r"(?:[^/?#\\]*@)?"
HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#\\:@\s\[\]]*[^/?#\\:@\s\[\].][^/?#\\:@\s\[\]]*)"
REST = r"(?P<rest>(?s:[/?#\\].*)?)"
ADDRESS = f"^{USER}{HOST}(?::[0-9]*)?{REST}$"
PLAIN_HOST = r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$"
WWW = "www."


class Addresses(NamedTuple):
    """Hosts, and what follows them (from `/`, `?` or `#` on; may be empty); both null where the address names no host."""

    host: pa.Array
    rest: pa.Array


def take_apart(urls: pa.Array) -> Addresses:
    """Return host and rest of each address, as strings."""
    trimmed = pc.utf8_trim_whitespace(pc.cast(urls, pa.string()))
    # Two patterns: one alone would find the host `http` in `http://.../`.
    parts = pc.extract_regex(pc.replace_substring_regex(trimmed, SCHEME, ""), ADDRESS)
    host, rest = (pc.if_else(pc.is_valid(parts), pc.struct_field(parts, i), pa.scalar(None, pa.string())) for i in (0, 1))
    return Addresses(tidy_hosts(host), rest)


def hosts(urls: pa.Array) -> pa.Array:
    """Return the host of each address, null where it names none."""
    return take_apart(urls).host


def without_www(host: pa.Array) -> pa.Array:
    """Return hosts without a leading `www.`."""
    return pc.if_else(pc.starts_with(host, WWW), pc.utf8_slice_codeunits(host, len(WWW)), host)


def tidy_hosts(host: pa.Array) -> pa.Array:
    """Return host names in lower case, in ASCII and without dots at their end."""
    plain = pc.match_substring_regex(host, PLAIN_HOST)
    if pc.all(pc.fill_null(plain, True)).as_py():
        return host
    other = pc.fill_null(pc.invert(plain), False)
    return pc.replace_with_mask(host, other, _tidy(host.filter(other)))


def _tidy(host: pa.Array) -> pa.Array:
    names = pc.utf8_rtrim(pc.utf8_lower(host), ".")
    foreign = pc.invert(pc.string_is_ascii(names))
    if not pc.any(foreign).as_py():
        return names
    return pc.replace_with_mask(names, foreign, pa.array(map(_ascii, names.filter(foreign).to_pylist()), names.type))


def _ascii(name: str) -> str:
    """Return a name as the domain name system knows it; labels that no such name can have stay as they are."""
    labels = name.replace("\u3002", ".").replace("\uff0e", ".").replace("\uff61", ".").split(".")
    return ".".join(map(_ascii_label, labels)).rstrip(".")


def _ascii_label(label: str) -> str:
    try:
        return label.encode("idna").decode("ascii")
    except UnicodeError:
        return label
