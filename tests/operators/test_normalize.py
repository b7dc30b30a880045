from __future__ import annotations

import unicodedata
from pathlib import Path

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.errors import PipelineError
from curate_operators.normalize import CANONICAL_BLOCKS, Normalize, composable_pattern, mojibake_pattern
from tests.operators.conftest import batch, read_texts

ENCODING_ONLY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
)


def normalised(text: str | None, operator: Normalize | None = None) -> str:
    return str((operator or Normalize()).map(batch([text])).column("text")[0].as_py())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ""),
        ("", ""),
        ("plain text\n\twith a tab", "plain text\n\twith a tab"),
        ("cafe\u0301", "caf\u00e9"),
        ("e\x00\u0301", "\u00e9"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("a\r\nb\rc\u2028d\u2029e\x0bf\x0cg", "a\nb\nc\nd\ne\nf\ng"),
        ("bell\x07 esc\x1b del\x7f bom\ufeff nul\x00", "bell esc del bom nul"),
        ("end  \n\u3000tab\t\u00a0\nlast ", "end\n\u3000tab\nlast"),
        ("a\n\n\n\n\nb", "a\n\n\nb"),
        ("a\n \n\t\n \n \nb", "a\n\n\nb"),
        ("sch\u00c3\u00b6n, it\u00e2\u20ac\u2122s", "sch\u00f6n, it\u2019s"),
        ("\u6e2f\u53e3\nsch\u00c3\u00b6n", "\u6e2f\u53e3\nsch\u00f6n"),
    ],
)
def test_golden(before: str | None, after: str) -> None:
    assert normalised(before) == after


def test_parameters() -> None:
    assert normalised("a\n\n\nb", Normalize(max_blank_lines=0)) == "a\nb"
    assert normalised("a\n\n\n\n\n\nb", Normalize(max_blank_lines=None)) == "a\n\n\n\n\n\nb"
    assert normalised("sch\u00c3\u00b6n", Normalize(fix_mojibake=False)) == "sch\u00c3\u00b6n"
    with pytest.raises(PipelineError, match="max_blank_lines"):
        Normalize(max_blank_lines=-1)


def test_half_a_surrogate_is_left_alone() -> None:
    # UTF-8 of U+D800 read as Latin-1: repaired, it could not be written as UTF-8.
    text = b"bad \xed\xa0\x80 \xc3\xa9\xc3\xa8".decode("latin-1")
    normalised(text).encode("utf-8")


def test_nfc_check_misses_no_character() -> None:
    known = {point for block in CANONICAL_BLOCKS for point in block}
    others = [chr(p) for p in range(0x110000) if p not in known and not 0xD800 <= p < 0xE000]
    assert not [c for c in others if unicodedata.combining(c) or unicodedata.normalize("NFD", c) != c]
    pattern = composable_pattern()
    decomposed = [unicodedata.normalize("NFD", chr(p)) for p in sorted(known)]
    changing = [text for text in decomposed if unicodedata.normalize("NFC", text) != text]
    assert len(changing) > 10_000
    assert pc.all(pc.match_substring_regex(pa.array(changing, pa.large_string()), pattern)).as_py()


def test_nfc_equals_unicodedata_on_real_text(data: Path) -> None:
    texts = read_texts(data, "lid_udhr500", "social_th_wisesight")
    texts += [unicodedata.normalize("NFD", text) for text in texts[:4000]]
    found = Normalize(fix_mojibake=False, max_blank_lines=None).map(batch(list(texts))).column("text").to_pylist()
    stripped = [unicodedata.normalize("NFC", text) for text in texts if text.isprintable() and text == text.rstrip()]
    kept = [text for text, before in zip(found, texts, strict=True) if before.isprintable() and before == before.rstrip()]
    assert len(kept) > 5000
    assert kept == stripped


def _garbled(texts: list[str]) -> list[str]:
    """Real text, decoded with a wrong encoding, now and then twice."""
    wrong = ("latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "macroman", "sloppy-windows-1250")
    result = []
    for i, text in enumerate(texts):
        garbled = text.encode("utf-8").decode(wrong[i % len(wrong)], "replace")
        result.append(garbled if i % 7 else garbled.encode("utf-8").decode("latin-1"))
    return result


def test_mojibake_check_misses_nothing_that_ftfy_repairs(data: Path) -> None:
    real = read_texts(data, "pile_slices", "news_african_masakha", "wiki_xquad_parallel", "spam_email_sa", limit=600)
    texts = real + _garbled([text[:400] for text in read_texts(data, "lid_udhr500", "bible_lowres", limit=1500)])
    expected = [ftfy.fix_text(text, ENCODING_ONLY) for text in texts]
    repaired = [i for i, (text, fixed) in enumerate(zip(texts, expected, strict=True)) if text != fixed]
    assert len(repaired) > 500
    flagged = pc.match_substring_regex(pa.array(texts, pa.large_string()), mojibake_pattern()).to_pylist()
    assert not [i for i in repaired if not flagged[i]]


def test_repair_equals_ftfy_on_real_text(data: Path) -> None:
    texts = read_texts(data, "pile_slices", "spam_email_sa", limit=500)
    texts += _garbled([text[:400] for text in read_texts(data, "lid_udhr500", limit=1000)])
    tidy = Normalize(fix_mojibake=False, max_blank_lines=None)
    expected = tidy.map(batch([ftfy.fix_text(text, ENCODING_ONLY) for text in texts])).column("text")
    found = Normalize(max_blank_lines=None).map(batch(list(texts))).column("text")
    differing = [i for i in range(len(texts)) if found[i] != expected[i]]
    assert not differing


def test_second_pass_changes_nothing(data: Path) -> None:
    once = Normalize().map(batch(list(read_texts(data, "pile_slices", "manpages_multiling", limit=300))))
    assert Normalize().map(once).equals(once)
