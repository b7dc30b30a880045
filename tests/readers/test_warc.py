"""Web archives: what becomes a document, what is dropped, and that broken archives lose nothing silently."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import DatasetError
from curate.readers import ReadOptions, reader
from curate.readers.http import unchunk
from curate.storage import LocalStorage

Read = Callable[..., Any]
PAGE = b"<!doctype html><p>hello</p>"


def record(kind: str, block: bytes, length: int | str | None = None, **fields: str) -> bytes:
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{zlib.crc32(block)}>",
        "WARC-Target-URI": "http://a.example/",
        "WARC-Date": "2026-01-02T03:04:05Z",
    }
    head |= {key.replace("_", "-"): value for key, value in fields.items()}
    if length != "":
        head["Content-Length"] = str(len(block) if length is None else length)
    lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
    return b"WARC/1.0\r\n" + lines.encode() + b"\r\n" + block + b"\r\n\r\n"


def response(body: bytes = PAGE, status: int = 200, kind: str = "text/html; charset=utf-8", **fields: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        *([f"Content-Type: {kind}"] if kind else []),
        *(f"{key.replace('_', '-')}: {value}" for key, value in fields.items()),
    ]
    return record("response", "\r\n".join(lines).encode() + b"\r\n\r\n" + body, Content_Type="application/http; msgtype=response")


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def brotli(body: bytes) -> bytes:
    return bytes(pa.compress(body, "brotli", asbytes=True))


def pages(count: int) -> list[bytes]:
    return [response(PAGE + str(n).encode() * n) for n in range(count)]


def pack(records: Iterable[bytes], kind: str) -> bytes:
    if kind == "members":
        return b"".join(gzip.compress(part) for part in records)
    whole = b"".join(records)
    if kind == "gz":
        return gzip.compress(whole)
    if kind in ("zst", "lz4"):
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd" if kind == "zst" else "lz4") as stream:
            stream.write(whole)
        return bytes(out.getvalue())
    return whole


def save(folder: Path, records: Iterable[bytes], kind: str = "members") -> Path:
    suffix = {"members": ".gz", "plain": ""}.get(kind, f".{kind}")
    path = folder / f"a.warc{suffix}"
    path.write_bytes(pack(records, kind))
    return path


def test_a_page_has_all_its_columns(tmp_path: Path, read: Read) -> None:
    save(tmp_path, [record("warcinfo", b"software: x"), record("request", b"GET /"), response()])
    (row,) = read("warc").rows
    first = len(gzip.compress(record("warcinfo", b"software: x"))) + len(gzip.compress(record("request", b"GET /")))
    assert row["id"] == f"in/a.warc.gz:{first}"
    assert row["html"] == PAGE
    assert (row["url"], row["status"], row["charset"], row["content_type"]) == (
        "http://a.example/",
        200,
        "utf-8",
        "text/html; charset=utf-8",
    )
    assert row["record_id"].startswith("urn:uuid:")
    assert row["date"].isoformat() == "2026-01-02T03:04:05+00:00"
    assert row["source"] == "in"


def test_ids_can_be_the_records_own(tmp_path: Path, read: Read) -> None:
    save(tmp_path, [response()])
    assert read("warc", id="url").ids == ["http://a.example/"]
    assert read("warc", id="record_id").ids[0].startswith("urn:uuid:")
    with pytest.raises(DatasetError, match="did you mean `record_id`"):
        read("warc", id="recordid")


def test_what_is_no_page_is_dropped_with_its_reason(tmp_path: Path, read: Read) -> None:
    records = [
        response(status=404),
        response(b"\x89PNG", kind="image/png"),
        response(b""),
        response(b"x" * 2000),
        record("resource", b"a{}", Content_Type="text/css"),
        record("response", b"1 2", Content_Type="text/dns"),
        *(record(kind, b"x") for kind in ("request", "metadata", "revisit", "warcinfo")),
        record("conversion", b"some text", Content_Type="text/plain"),
    ]
    save(tmp_path, records)
    found = read("warc", max_record_bytes=1000)
    assert [(drop.reason, drop.value) for drop in found.drops] == [
        ("http_status", 404.0),
        ("not_html", None),
        ("empty", None),
        ("too_large", 2000.0),
        ("not_html", None),
        ("not_html", None),
        ("revisit", None),
        ("not_html", None),
    ]
    assert (found.rows, found.errors) == ([], [])


def test_html_is_told_by_type_then_by_the_crawler_then_by_sight(tmp_path: Path, read: Read) -> None:
    by_crawler = record(
        "response", b"HTTP/1.1 200 OK\r\n\r\n<b>x", Content_Type="application/http", WARC_Identified_Payload_Type="application/xhtml+xml"
    )
    save(
        tmp_path,
        [response(kind="Application/XHTML+XML"), by_crawler, response(b" \n<!-- x --><HTML><b>", kind=""), response(b"no page", kind="")],
    )
    found = read("warc")
    assert [row["html"] for row in found.rows] == [PAGE, b"<b>x", b" \n<!-- x --><HTML><b>"]
    assert found.reasons == ["not_html"]


def test_html_resources_are_documents(tmp_path: Path, read: Read) -> None:
    save(tmp_path, [record("resource", PAGE, Content_Type="text/html")])
    (row,) = read("warc").rows
    assert (row["html"], row["status"]) == (PAGE, None)


ENCODED = {
    "gzip": gzip.compress(PAGE),
    "x-gzip": gzip.compress(PAGE),
    "deflate": zlib.compress(PAGE),
    "br": brotli(PAGE),
    "zstd": bytes(pa.compress(PAGE, "zstd", asbytes=True)),
    "identity": PAGE,
    "gzip, br": brotli(gzip.compress(PAGE)),
}


@pytest.mark.parametrize("coding", ENCODED)
@pytest.mark.parametrize("chunk", [False, True])
def test_encodings_are_undone(tmp_path: Path, read: Read, coding: str, chunk: bool) -> None:
    body = chunked(ENCODED[coding]) if chunk else ENCODED[coding]
    save(tmp_path, [response(body, Content_Encoding=coding, **({"Transfer_Encoding": "chunked"} if chunk else {}))])
    assert [row["html"] for row in read("warc").rows] == [PAGE]


def test_raw_deflate_and_bodies_that_were_decoded_before(tmp_path: Path, read: Read) -> None:
    raw = zlib.compressobj(wbits=-15)
    save(
        tmp_path,
        [
            response(raw.compress(PAGE) + raw.flush(), Content_Encoding="deflate"),
            *(response(PAGE, Content_Encoding=coding) for coding in ("gzip", "deflate", "br")),
            response(PAGE, Transfer_Encoding="chunked"),
        ],
    )
    assert [row["html"] for row in read("warc").rows] == [PAGE] * 5


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_chunks_join_to_what_was_cut(body: bytes, size: int) -> None:
    assert unchunk(chunked(body, size)) == body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_dropped_before_it_is_unpacked(tmp_path: Path, read: Read, coding: str) -> None:
    zeros = bytes(50_000_000)
    bomb = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli,
        "zstd": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
    }[coding](zeros)
    save(tmp_path, [response(bomb, Content_Encoding=coding), response()])
    found = read("warc", max_record_bytes=1 << 20)
    assert [(drop.reason, drop.value) for drop in found.drops] == [("too_large", float((1 << 20) + 1))]
    assert len(found.rows) == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_damaged_body_is_an_error_of_its_record(tmp_path: Path, read: Read, coding: str) -> None:
    save(tmp_path, [response(ENCODED[coding][:-6], Content_Encoding=coding), response()])
    found = read("warc")
    assert len(found.rows) == 1
    assert [error.id for error in found.errors] == ["in/a.warc.gz:0"]


@pytest.mark.parametrize("kind", ["plain", "members", "gz", "zst", "lz4"])
def test_compression_changes_only_the_offsets(tmp_path: Path, read: Read, kind: str) -> None:
    path = save(tmp_path, pages(50), kind)
    found = read("warc")
    assert [row["html"] for row in found.rows] == [PAGE + str(n).encode() * n for n in range(50)]
    second = len(pages(50)[0])
    expected = {"members": len(gzip.compress(pages(50)[0])), "gz": f"0+{second}"}.get(kind, second)
    assert found.ids[:2] == [f"in/{path.name}:0", f"in/{path.name}:{expected}"]


@pytest.mark.parametrize("kind", ["plain", "members", "gz", "zst", "lz4"])
def test_a_truncated_archive_keeps_what_is_whole_and_has_one_error(tmp_path: Path, read: Read, kind: str) -> None:
    import random

    records = [response(PAGE + random.Random(n).randbytes(3000).hex().encode()) for n in range(100)]
    path = save(tmp_path, records, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    found = read("warc")
    assert (0 if kind == "lz4" else 30) < len(found.rows) < 61
    (error,) = found.errors
    assert kind == "plain" or "the file ends" in error.error or "ncomplete" in error.error or "runcated" in error.error
    assert [row["html"] for row in found.rows] == [PAGE + random.Random(n).randbytes(3000).hex().encode() for n in range(len(found.rows))]


@settings(max_examples=80)
@given(cut=st.integers(0, 3000), kind=st.sampled_from(["plain", "members", "gz"]))
@example(cut=241, kind="gz")
def test_a_cut_anywhere_is_told(tmp_path_factory: pytest.TempPathFactory, read_folder: Read, cut: int, kind: str) -> None:
    """Whole records are read; whatever lies between the last of them and the cut is one error."""
    folder = tmp_path_factory.mktemp("cut")
    records = pages(6)
    whole = pack(records, kind)
    (folder / ("a.warc" if kind == "plain" else "a.warc.gz")).write_bytes(whole[:cut])
    found = read_folder("warc", folder)
    ends = [len(pack(records[: n + 1], kind)) for n in range(6)]
    if kind != "gz":
        complete = sum(end <= min(cut, len(whole)) for end in ends)
        assert complete <= len(found.rows) <= complete + 1
    if 0 < cut < len(whole) and kind == "gz":
        assert len(found.errors) == 1
    if kind == "members" and 0 < cut < len(whole) and cut not in ends:
        assert len(found.errors) == 1
    assert len(found.rows) + len(found.errors) <= 7


def test_a_damaged_member_costs_only_its_record(tmp_path: Path, read: Read) -> None:
    members = [gzip.compress(part) for part in pages(5)]
    damaged = bytearray(members[2])
    damaged[60:66] = b"\xff\x00\xff\x00\xff\x00"
    (tmp_path / "a.warc.gz").write_bytes(b"".join([*members[:2], bytes(damaged), *members[3:]]))
    found = read("warc")
    assert [row["html"] for row in found.rows] == [PAGE + str(n).encode() * n for n in (0, 1, 3, 4)]
    (error,) = found.errors
    assert error.id.startswith(f"in/a.warc.gz:{len(members[0]) + len(members[1])}")


BROKEN = {
    "no length": (record("response", PAGE, length=""), "the record has no Content-Length"),
    "a word as length": (record("response", PAGE, length="many"), "Content-Length is 'many'"),
    "a negative length": (record("response", PAGE, length=-1), "Content-Length is '-1'"),
    "too short a length": (
        record("resource", PAGE * 9, length=30, Content_Type="text/html"),
        "the record does not end where its length says (30 bytes)",
    ),
    "no header end": (b"WARC/1.0\r\nWARC-Type: response\r\n", None),
    "junk": (b"what is this\r\nand this\r\n", "no WARC record begins here"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("kind", ["plain", "members", "gz", "zst"])
def test_reading_goes_on_behind_a_broken_record(tmp_path: Path, read: Read, what: str, kind: str) -> None:
    broken, said = BROKEN[what]
    before, after = pages(2)
    save(tmp_path, [before, broken, after, response(b"<html>last")], kind)
    found = read("warc")
    assert found.rows[0]["html"] == PAGE
    assert found.rows[-1]["html"] == b"<html>last"
    if said:
        assert len(found.rows) == 3
        assert [error.error for error in found.errors] == [said]
    else:  # without members the open header swallows the head of the next record, whose block then does not fit
        assert len(found.rows) + len(found.errors) >= 3


@pytest.mark.parametrize("kind", ["plain", "members"])
def test_too_great_a_length_does_not_swallow_the_next_records(tmp_path: Path, read: Read, kind: str) -> None:
    lying = record("resource", PAGE, length=len(PAGE) + 150, Content_Type="text/html")
    save(tmp_path, [lying, *pages(4)], kind)
    found = read("warc")
    assert len(found.errors) == 1
    assert found.errors[0].id.endswith(":0")
    assert [row["html"] for row in found.rows] == [PAGE + str(n).encode() * n for n in range(4)]


def test_line_feeds_alone_and_folded_headers(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.warc").write_bytes(
        b"WARC/1.0\nWARC-Type: resource\nContent-Type: text/html;\n charset=x\nContent-Length: 27\n\n" + PAGE + b"\n\n" + response()
    )
    found = read("warc")
    assert [row["html"] for row in found.rows] == [PAGE, PAGE]
    assert found.rows[0]["charset"] == "x"
    assert found.rows[0]["url"] is None


def test_a_huge_record_is_passed_by_without_being_held(tmp_path: Path, read: Read) -> None:
    save(tmp_path, [response(bytes(40_000_000)), response(bytes(30_000_000), kind="video/mp4"), response()])
    found = read("warc", max_record_bytes=1 << 20)
    assert [(drop.reason, drop.value) for drop in found.drops] == [("too_large", 40_000_000.0), ("not_html", None)]
    assert len(found.rows) == 1


@pytest.mark.parametrize("batch_bytes", [1, 100, 1 << 20])
def test_batches_change_nothing(tmp_path: Path, read: Read, batch_bytes: int) -> None:
    save(tmp_path, [part for page in pages(20) for part in (page, response(status=500))])
    found = read("warc", batch_bytes=batch_bytes)
    assert found.rows == read("warc").rows
    assert found.drops == read("warc").drops
    assert found.batches == {1: 21, 100: found.batches, 1 << 20: 1}[batch_bytes]


def arc(*records: tuple[str, str, bytes], more: str = "") -> bytes:
    head = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    out = b"filedesc://x.arc 0.0.0.0 20140216050221 text/plain %d\n%s\n" % (len(head), head)
    return out + b"".join(
        f"{url} 1.2.3.4 20140216050221 {kind}{more} {len(block)}\n".encode() + block + b"\n" for url, kind, block in records
    )


@pytest.mark.parametrize("more", ["", " 200 - - 0 x.arc"])
@pytest.mark.parametrize("name", ["a.arc", "a.arc.gz"])
def test_arc_versions_1_and_2(tmp_path: Path, read: Read, name: str, more: str) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    pages = [
        ("http://a.example/x?q=a b", "text/html", http),
        ("dns:a.example", "text/dns", b"1.2.3.4"),
        ("http://b.example/", "text/html", http),
    ]
    data = arc(*pages, more=more)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = read("warc")
    assert [row["url"] for row in found.rows] == ["http://a.example/x?q=a b", "http://b.example/"]
    assert found.rows[0]["date"].isoformat() == "2014-02-16T05:02:21+00:00"
    assert found.rows[0]["html"] == PAGE
    assert (found.reasons, found.errors) == (["not_html"], [])


def wet(text: bytes, **fields: str) -> bytes:
    return record("conversion", text, Content_Type="text/plain", **fields)


def test_wet_texts(tmp_path: Path, read: Read) -> None:
    records = [
        record("warcinfo", b"x"),
        wet("Grüße".encode(), WARC_Identified_Content_Language="deu,eng"),
        wet(b"bad \xff"),
        wet(b""),
        wet(b"y" * 99),
        response(),
    ]
    save(tmp_path, records)
    found = read("wet", max_record_bytes=50)
    assert [(row["text"], row["languages"], row["url"]) for row in found.rows] == [("Grüße", "deu,eng", "http://a.example/")]
    assert [(drop.reason, drop.value) for drop in found.drops] == [("empty", None), ("too_large", 99.0), ("not_text", None)]
    assert [error.error for error in found.errors] == ["invalid UTF-8 at byte 4 of the text"]


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"plain nonsense", bz2.compress(b"x")])
def test_files_that_are_no_archive(tmp_path: Path, read: Read, data: bytes) -> None:
    (tmp_path / "a.warc").write_bytes(data)
    found = read("warc")
    assert found.rows == []
    assert len(found.errors) == (1 if data else 0)


def test_real_archives_have_the_pages_that_another_library_finds(warc_real: Path) -> None:
    """Every archive reads without an exception, and where `warcio` reads one to its end both find the same pages."""
    warcio = pytest.importorskip("warcio.archiveiterator")
    storage, options = LocalStorage(warc_real), ReadOptions("in")
    compared = 0
    for entry in json.loads((warc_real / "MANIFEST.json").read_text()):
        if entry["file"].endswith(".wet"):
            continue
        ids, counts = read_archive(storage, entry["file"], options)
        assert len(ids) == len(set(ids))
        if entry["warcio_error"] or counts["error"]:
            continue
        expected = Counter(judge(item) for item in warcio.ArchiveIterator(io.BytesIO(storage.read(entry["file"]))))
        assert counts == expected - Counter({None: 1_000_000}), entry["file"]
        compared += 1
    assert compared >= 19


def judge(item: Any) -> str | None:
    """Say what a record is, by the rules of this reader, from what `warcio` parsed."""
    if item.rec_type in ("warcinfo", "request", "metadata", "continuation", "arc_header"):
        return None
    if item.rec_type == "revisit":
        return "revisit"
    if item.rec_type == "response" and item.http_headers and item.http_headers.get_statuscode().isdigit():
        if item.http_headers.get_statuscode() != "200":
            return "http_status"
        kind = item.http_headers.get_header("Content-Type")
    else:
        kind = item.rec_headers.get_header("Content-Type")
    is_page = (kind or "").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml") and item.rec_type in (
        "response",
        "resource",
    )
    if not is_page:
        return "not_html"
    return "page" if item.content_stream().read() else "empty"


def read_archive(storage: LocalStorage, path: str, options: ReadOptions) -> tuple[list[str], Counter[str | None]]:
    chosen = reader("warc")
    file = storage.info(path)
    assert file is not None
    schema = chosen.schema(storage, [file], options)
    ids: list[str] = []
    counts: Counter[str | None] = Counter()
    for batch in chosen.read(storage, chosen.split(storage, file, 1)[0], schema, options):
        batch.docs.validate(full=True)
        ids += [*batch.docs["id"].to_pylist(), *(note.id for note in [*batch.drops, *batch.errors])]
        counts.update(drop.reason for drop in batch.drops)
        counts.update({"page": batch.docs.num_rows, "error": len(batch.errors)})
    return ids, +counts


EXPECTED_ERRORS = {
    "chatnoir-resiliparse__clipped.warc.gz": [
        "the record is cut short after 75207 of 88275 bytes: gzip: the file ends in the middle of a member"
    ],
    "warcio__example-space-in-url.arc": ["the record is cut short after 1579 of 1591 bytes: the file ends"],
    "warcio__example-trunc.warc": ["the record does not end where its length says (973 bytes)"],
    "pywb__bad.arc": [
        "the record's length is '-1'",
        "the record's length is '-1'",
        "the record does not end where its length says (1 bytes)",
    ],
}


def test_broken_real_archives_say_what_is_wrong(warc_real: Path) -> None:
    storage, options = LocalStorage(warc_real), ReadOptions("in")
    said = {}
    for file in storage.list():
        if file.path == "MANIFEST.json":
            continue
        chosen = reader("wet" if file.path.endswith(".wet") else "warc")
        schema = chosen.schema(storage, [file], options)
        errors = [e.error for batch in chosen.read(storage, chosen.split(storage, file, 1)[0], schema, options) for e in batch.errors]
        if errors:
            said[file.path] = errors
    assert said == EXPECTED_ERRORS
