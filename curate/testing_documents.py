"""Documents that break careless operators: empty, null, endless, in every script, half HTML, half noise."""

from __future__ import annotations

import pyarrow as pa

from curate.document import ID_TYPE, TEXT_TYPE

PROSE = (
    "The harbour was built by the people of the town, and it is to be kept by those who have ships there. "
    "With every winter that passes the wall loses a few stones; the council has voted to replace them. "
) * 3
TEXTS: dict[str, str | None] = {
    "prose": PROSE,
    "paragraphs": f"A title\n\n{PROSE}\n\n{PROSE}\n",
    "null": None,
    "empty": "",
    "spaces": "  \t  ",
    "newlines": "\n\n\n\n\n",
    "windows_lines": "one\r\ntwo\rthree\u2028four\u0085five",
    "one_character": "x",
    "one_word": "word",
    "long_line": "lorem ipsum dolor sit amet " * 20_000,
    "long_word": "a" * 100_000,
    "many_lines": "short line\n" * 5_000,
    "punctuation": "... --- ### !!! ??? * * * \u2026 \u2022",
    "bullets": "\u2022 apples\n\u2022 pears\n- plums\n* cherries",
    "ellipses": "wait...\nand then...\nread more\u2026",
    "numbers": "1 2 3 4.5 6,789 0x1F \u0661\u0662\u0663",
    "nul": "before\x00after \x00",
    "controls": "\x01\x02bell\x07 escape\x1b[31m delete\x7f",
    "byte_order_mark": "\ufeffmarked",
    "replacement": "br\ufffdken \ufffd",
    "composed": "caf\u00e9 na\u00efve",
    "decomposed": "cafe\u0301 nai\u0308ve",
    "stacked_marks": "z" + "\u0300\u0323" * 50,
    "mojibake": "sch\u00c3\u00b6n, it\u00e2\u20ac\u2122s",
    "emoji": "\U0001f469\u200d\U0001f680 \U0001f1eb\U0001f1f7 \U0001f600\U0001f3fd",
    "astral": "\U00020000\U0001d54f\U00010348 \U0010ffff",
    "noncharacters": "\ufffe\uffff\ue000",
    "chinese": "\u6e2f\u53e3\u662f\u9547\u4e0a\u7684\u4eba\u4eec\u5efa\u9020\u7684\uff0c\u4ed6\u4eec\u6709\u8239\u3002",
    "japanese": "\u6e2f\u306f\u753a\u306e\u4eba\u3005\u304c\u4f5c\u3063\u305f\u3002",
    "thai": "\u0e17\u0e48\u0e32\u0e40\u0e23\u0e37\u0e2d\u0e19\u0e35\u0e49\u0e2a\u0e23\u0e49\u0e32\u0e07",
    "arabic": "\u0628\u0646\u0649 \u0623\u0647\u0644 \u0627\u0644\u0628\u0644\u062f\u0629 \u0627\u0644\u0645\u064a\u0646\u0627\u0621",
    "hebrew": "\u05d4\u05e0\u05de\u05dc \u05e0\u05d1\u05e0\u05d4 \u202e\u05e2\u05dc \u05d9\u05d3\u05d9\u202c",
    "german": "Der Hafen wurde von den Leuten der Stadt gebaut und geh\u00f6rt allen, die dort ein Schiff haben.",
    "markup": "<p>not <b>closed &amp; <script>alert(1)</script> </s> __label__en",
    "quotes": "\u201cquoted\u201d 'single' \"double\" \\ backslash {brace} %s {0}",
    "duplicate_a": "the very same text",
    "duplicate_b": "the very same text",
}
PAGES: dict[str, bytes | None] = {
    "prose": f"<html><head><title> The\nharbour </title></head><body><p>{PROSE}</p></body></html>".encode(),
    "null": None,
    "empty": b"",
    "spaces": b" \n ",
    "german": "<meta charset=iso-8859-1><p>geh\u00f6rt".encode("latin-1"),
    "japanese": "<meta charset=shift_jis><title>\u6e2f</title><p>\u6e2f\u306f\u753a\u306e\u4eba\u3005\u304c\u4f5c\u3063\u305f\u3002".encode(
        "shift_jis"
    ),
    "long_line": b"<div>" * 3_000 + b"deep",
    "many_lines": b"<p>unclosed <b><i><table>" * 500,
    "nul": b"<p>a\x00b\x00</p>",
    "astral": b"\xff\xfe" + "<p>wide".encode("utf-16-le"),
    "replacement": b"<meta charset=utf-8><p>bad \xff\xfe\xfa bytes",
    "noncharacters": bytes(range(256)) * 4,
    "composed": b"<p>&#0; &#xD800; &#x110000; &eacute; &nosuch;",
    "punctuation": b"<script>only()</script><style>p{}</style><!-- only -->",
}


def documents() -> pa.RecordBatch:
    """Return one document for each way to surprise an operator, with `id`, `text`, `html`, `source` and `url`."""
    pages = [PAGES.get(name, f"<p>{text}".encode() if text is not None else None) for name, text in TEXTS.items()]
    return pa.record_batch(
        {
            "id": pa.array(TEXTS, ID_TYPE),
            "text": pa.array(TEXTS.values(), TEXT_TYPE),
            "html": pa.array(pages, pa.large_binary()),
            "source": pa.array(["testing"] * len(TEXTS), pa.string()),
            "url": pa.array([f"https://example.org/{name}" for name in TEXTS], pa.string()),
        }
    )
