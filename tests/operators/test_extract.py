from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate_operators.extract import ExtractHtml, decode

PAGE = """<!DOCTYPE html><html><head><title> The
 harbour </title><script>var x = 1;</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About</a></li></ul></nav>
<article><h1>The harbour</h1><p>The harbour was built by the people of the town, and it is kept by those who have ships.</p>
<p>With every winter the wall loses a few stones; the council has voted to replace them all before spring.</p>
</article><footer>Copyright, all rights reserved</footer></body></html>"""


def pages(*payloads: bytes | str | None, charset: str | None = None) -> pa.RecordBatch:
    kind = pa.large_string() if any(isinstance(p, str) for p in payloads) else pa.large_binary()
    columns = {"id": pa.array([str(i) for i in range(len(payloads))], pa.string()), "html": pa.array(payloads, kind)}
    if charset is not None:
        columns["charset"] = pa.array([charset] * len(payloads), pa.string())
    return pa.record_batch(columns)


def text_of(payload: bytes | str, charset: str | None = None) -> str:
    return str(ExtractHtml().map(pages(payload, charset=charset)).column("text")[0].as_py())


def test_golden_page() -> None:
    docs = ExtractHtml().map(pages(PAGE.encode()))
    assert docs.schema.names == ["id", "text", "title"]
    assert docs.column("title")[0].as_py() == "The harbour"
    assert docs.column("text")[0].as_py() == (
        "The harbour\n\nThe harbour was built by the people of the town, and it is kept by those who have ships.\n\n"
        "With every winter the wall loses a few stones; the council has voted to replace them all before spring."
    )


@pytest.mark.parametrize("method", ["resiliparse", "trafilatura"])
def test_pages_without_text(method: str) -> None:
    nothing = [None, b"", b" \n ", b"<script>x</script>", b"<!-- x -->", b"<title>only a title</title>"]
    docs = ExtractHtml(method=method).map(pages(*nothing))  # type: ignore[arg-type]
    assert docs.column("text").to_pylist() == [""] * 6
    assert docs.column("title").to_pylist() == [None] * 5 + ["only a title"]


def test_trafilatura_leaves_the_frame_out() -> None:
    text = ExtractHtml(method="trafilatura").map(pages(PAGE.encode())).column("text")[0].as_py()
    assert "council has voted" in text
    assert "Home" not in text and "Copyright" not in text


def test_columns() -> None:
    assert ExtractHtml(keep_html=True).map(pages(PAGE.encode())).schema.names == ["id", "html", "text", "title"]
    assert text_of(PAGE).startswith("The harbour\n\n")
    with pytest.raises(PipelineError, match="method"):
        ExtractHtml(method="regex")  # type: ignore[arg-type]


RUSSIAN = "Порт был построен жителями города, и он принадлежит всем, у кого там есть корабль."


@pytest.mark.parametrize(
    ("payload", "charset"),
    [
        (RUSSIAN.encode("koi8-r"), "KOI8-R"),
        (RUSSIAN.encode("cp1251"), ' "windows-1251" '),
        (b"<meta charset=koi8-r>" + RUSSIAN.encode("koi8-r"), None),
        (b"<meta charset=koi8-r>" + RUSSIAN.encode("koi8-r"), "no-such-charset"),
        (b"<meta charset=koi8-r>" + RUSSIAN.encode("koi8-r"), "utf-8"),
        (RUSSIAN.encode("cp1251"), None),
        (RUSSIAN.encode(), None),
        (b"\xef\xbb\xbf" + RUSSIAN.encode(), "koi8-r"),
        (b"\xff\xfe" + RUSSIAN.encode("utf-16-le"), None),
    ],
)
def test_charsets(payload: bytes, charset: str | None) -> None:
    assert text_of(payload, charset) == RUSSIAN


@pytest.mark.parametrize("charset", ["base64", "punycode", "unicode_escape", "utf-7", "idna", "zip", "\x00"])
def test_codecs_that_are_no_charsets_are_not_used(charset: str) -> None:
    assert text_of(b"<p>plain \\u0041 +AEE-", charset) == "plain \\u0041 +AEE-"


def test_one_bad_byte_spoils_no_page() -> None:
    assert decode(b"caf\xc3\xa9 " * 50 + b"\xc3", "utf-8").startswith("caf\u00e9 ")


def test_only_the_first_bytes_are_read() -> None:
    docs = ExtractHtml(max_html_bytes=30).map(pages(b"<p>first words of a page</p><p>the rest"))
    assert docs.column("text")[0].as_py() == "first words of a page"


HOSTILE = {
    "nested": b"<div>" * 200_000 + b"words",
    "nested_and_closed": b"<article>" * 100_000 + b"words" + b"</article>" * 100_000,
    "attributes": b"<p " + b" ".join(b"a%d=b" % i for i in range(200_000)) + b">words",
    "attributes_with_brackets": b"<p " + b" ".join(b'a%d="<"' % i for i in range(200_000)) + b">words",
    "formatting": b"".join(b"<b a=%d>" % i for i in range(100_000)) + b"words",
    "links": b"".join(b"<a><i c=%d><div>" % i for i in range(50_000)) + b"words",
    "tables": b"<table><tr><td>" * 100_000 + b"words",
    "paragraphs": b"<p>words" * 50_000,
    "brackets": b"<" * 1_000_000 + b" words",
    "comment": b"words<!--" * 100_000,
    "entities": b"&amp" * 500_000 + b"words",
    "svg": b"words" + b"<svg>" * 200_000,
    "nul": b"\x00" * 1_000_000 + b"words",
    "binary": b"words " + bytes(range(256)) * 4_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("method", ["resiliparse", "trafilatura"])
def test_hostile_pages_take_bounded_time_and_keep_their_text(name: str, method: str) -> None:
    start = time.process_time()
    docs = ExtractHtml(method=method).map(pages(HOSTILE[name]))  # type: ignore[arg-type]
    assert time.process_time() - start < 20  # seconds; without the guards several of them take minutes
    if method == "resiliparse" and name not in ("comment", "binary", "tables"):
        assert "words" in docs.column("text")[0].as_py()


def _gold(data: Path) -> Iterator[tuple[dict[str, list[str]], bytes]]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    with pa.input_stream(data / "extract_gold" / "gold.jsonl.zst", compression="zstd") as stream:
        gold = {row["url"]: row for row in map(json.loads, stream.read().splitlines())}
    with gzip.open(data / "extract_gold" / "pages.warc.gz") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            row = gold.get(record.headers["WARC-Target-URI"])
            if row and row.get("must_include"):
                yield row, record.reader.read()


@pytest.mark.parametrize(("method", "limit", "floor"), [("resiliparse", 200, 0.8), ("trafilatura", 40, 0.85)])
def test_main_content_on_real_pages(data: Path, method: str, limit: int, floor: float) -> None:
    """F1 over segments that people marked as main content or not (trafilatura's evaluation set)."""
    rows = [pair for pair, _ in zip(_gold(data), range(limit), strict=False)]
    texts = ExtractHtml(method=method).map(pages(*(payload for _, payload in rows))).column("text").to_pylist()  # type: ignore[arg-type]
    found = [
        (sum(s in t for s in r["must_include"]), sum(s in t for s in r["must_exclude"]), len(r["must_include"]))
        for (r, _), t in zip(rows, texts, strict=True)
    ]
    right, wrong, wanted = map(sum, zip(*found, strict=True))
    precision, recall = right / (right + wrong), right / wanted
    assert 2 * precision * recall / (precision + recall) > floor
