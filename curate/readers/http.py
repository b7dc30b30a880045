"""Takes HTTP messages of archives apart, decoding bodies within a bound on their size."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curate.readers.archive import parse_fields

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_SNIFFED = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL)
_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15


class TooLarge(Exception):
    """A body grows beyond the bound; the argument is how many bytes were seen."""


class Undecodable(Exception):
    """A body is not what its headers say."""


@dataclass(frozen=True)
class Response:
    """The head of an HTTP response; `size` is its length in bytes, blank line included."""

    status: int
    fields: dict[str, str]
    size: int


def parse_response(data: bytes) -> Response | None:
    """Parse a response's head, or return None when the bytes do not begin with one."""
    status = _STATUS.match(data)
    if not status:
        return None
    strict, lenient = data.find(b"\r\n\r\n"), data.find(b"\n\n")
    if lenient >= 0 and (strict < 0 or lenient < strict):
        end, size = lenient, lenient + 2
    elif strict >= 0:
        end, size = strict, strict + 4
    else:
        end = size = len(data)
    return Response(int(status[1]), parse_fields(data[:end].split(b"\n")[1:]), size)


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def charset(content_type: str) -> str | None:
    """Return the charset that a Content-Type names."""
    found = _CHARSET.search(content_type)
    return found[1] if found else None


def is_html(content_type: str, identified: str, start: bytes) -> bool:
    """Tell an HTML page: by its type, else by the type that the crawler identified, else by its first bytes."""
    told = media_type(content_type) or media_type(identified)
    return told in _HTML_TYPES if told else bool(_SNIFFED.match(start[:1024]))


def decode(body: bytes, fields: dict[str, str], max_bytes: int) -> bytes:
    """Undo transfer and content encodings; raise `TooLarge` or `Undecodable`.

    Crawlers often store a decoded body under the original headers, so a body that does not begin like its encoding is
    returned as it is.
    """
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = unchunk(body)
    codings = [coding.strip().lower() for coding in fields.get("content-encoding", "").split(",")]
    for coding in reversed(codings):
        body = _decode(body, coding, max_bytes)
    if len(body) > max_bytes:
        raise TooLarge(len(body))
    return body


def unchunk(body: bytes) -> bytes:
    """Join the chunks of a body; one that has none is returned as it is, one that breaks off keeps what came."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\n", at, at + 4096)
        size_text = body[at:end].partition(b";")[0].strip() if end >= 0 else b""
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size_text):
            return b"".join(parts) + body[at:] if not parts else b"".join(parts)
        size = int(size_text, 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 1 : end + 1 + size])
        at = end + 1 + size
        at += 2 if body[at : at + 2] == b"\r\n" else 1 if body[at : at + 1] == b"\n" else 0


def _decode(body: bytes, coding: str, max_bytes: int) -> bytes:
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP_WINDOW, max_bytes) if body.startswith(b"\x1f\x8b") else body
    if coding == "deflate":  # zlib by the standard, raw in much of the practice
        return _first_that_works(body, (lambda: _inflate(body, _ZLIB_WINDOW, max_bytes), lambda: _inflate(body, _RAW_WINDOW, max_bytes)))
    if coding in ("br", "zstd"):
        return _first_that_works(body, (lambda: _stream(body, coding, max_bytes),))
    return body


def _first_that_works(body: bytes, ways: tuple[Callable[[], bytes], ...]) -> bytes:
    for way in ways:
        try:
            return way()
        except Undecodable as error:
            problem = error
    if _SNIFFED.match(body[:1024]):
        return body
    raise problem


def _inflate(body: bytes, window: int, max_bytes: int) -> bytes:
    engine = zlib.decompressobj(wbits=window)
    try:
        data = engine.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Undecodable(f"the body's compression is damaged: {error}") from None
    if len(data) > max_bytes:
        raise TooLarge(len(data))
    if not engine.eof:
        raise Undecodable("the compressed body is cut short")
    return data


def _stream(body: bytes, coding: str, max_bytes: int) -> bytes:
    from fastwarc.stream_io import BrotliReader, ZstdReader

    stream: Any = (BrotliReader if coding == "br" else ZstdReader)(io.BytesIO(body))
    try:
        data = bytes(stream.read(max_bytes + 1))
    except OSError as error:
        raise Undecodable(f"the body's {coding} encoding is damaged: {error}") from None
    if len(data) > max_bytes:
        raise TooLarge(len(data))
    return data
