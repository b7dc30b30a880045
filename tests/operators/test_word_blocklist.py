"""Words at their boundaries, lists for each language, and agreement with a search by Python's `re` on real text.

Against datatrove 0.10.1's `C4BadWordsFilter` with the same lists (26 languages, all the sets of test data that name one of them),
every decision is the same but for entries in capital letters, such as Spanish `Asesinato`, which it compares with lower-case text and
never finds, and but for entries between two marks (Devanagari vowel signs), where it sees a boundary.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate_operators import word_blocklist
from curate_operators.word_blocklist import WordBlocklist, WordList
from tests.operators.conftest import batch, read_texts


def hits(operator: WordBlocklist, texts: list[str | None], **columns: pa.Array) -> list[Any]:
    """Return the number of hits of each document that goes, None for those that stay."""
    rows = operator.drop(batch(texts, **columns)).to_pylist()
    assert {row["reason"] for row in rows if row} <= {"blocked_word"}
    return [row and row["value"] for row in rows]


def languages(*codes: str | None) -> pa.Array:
    return pa.array([{"code": code} for code in codes], pa.struct({"code": pa.string()}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ass", 1),
        ("An ASS.", 1),
        ("class assess assassin", None),
        ("ass ass,ass", 3),
        ("ass_ 1ass ass2 éass assé ассass", None),
        ("«ass» ass\u3002 \u2014ass", 3),
        ("first\nass\nlast", 1),
        ("hot ass", 2),
        ("hot\nass", 1),
        ("Straße STRASSE straße", 2),
        ("a\U0001f595b \U0001f595\U0001f595 (\U0001f595)", 3),
        ("cafe\u0301 caf\u00e9", 1),
        ("\u0915\u092e\u0940 \u0915\u092e \u0915\u092e\u0964", 2),
        ("a.b axb", 1),
        ("", None),
        (None, None),
    ],
)
def test_boundaries_and_case(text: str | None, expected: int | None) -> None:
    words = ("Ass", "hot ass", "straße", "\U0001f595", "caf\u00e9", "\u0915\u092e", "a.b", "# not an entry")
    assert hits(WordBlocklist(words, language=None), [text, "nothing here"]) == [expected, None]


def test_languages_have_lists_of_their_own(tmp_path: Path) -> None:
    for name, words in {"en.txt": "bad\n", "de": "schlecht\nbad\n", "ja.txt": "悪い\nsm\n", "LICENSE": "the\n"}.items():
        (tmp_path / name).write_text(words)
    texts: list[str | None] = ["the bad", "the bad", "schlecht", "とても悪い人だ、悪い sm", "とても悪い", "bad", "bad"]
    columns = {"lang": languages("en", "de", "en", "ja", "en", "fr", None)}
    assert hits(WordBlocklist(str(tmp_path)), texts, **columns) == [1, 1, None, 2, None, None, None]
    assert hits(WordBlocklist(str(tmp_path), allowed=()), texts, **columns)[3] == 3
    assert hits(WordBlocklist(str(tmp_path), unspaced=()), texts, **columns)[3] == 1
    with tarfile.open(tmp_path / "lists.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "de", "lists/de")
    assert hits(WordBlocklist(str(tmp_path / "lists.tar.gz")), texts, **columns) == [None, 1, None, None, None, None, None]
    with pytest.raises(PipelineError, match="no language"):
        hits(WordBlocklist(str(tmp_path), language=None), texts)


def test_one_list_for_all(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("bad\n悪い\n")
    operator = WordBlocklist(str(tmp_path / "words.txt"))
    assert hits(operator, ["bad", "badly", "badly", "とても悪い"], lang=languages("en", None, "th", "ja")) == [1, None, 1, 1]
    assert operator.reads() == ("text", "lang.code")
    assert WordBlocklist(("bad",), language=None).reads() == ("text",)


def test_thresholds() -> None:
    texts: list[str | None] = ["bad", "bad bad and good", "bad bad" + " good" * 98]
    assert hits(WordBlocklist(("bad",), language=None, min_hits=2), texts) == [None, 2, 2]
    assert hits(WordBlocklist(("bad",), language=None, max_ratio=0.02), texts) == [1, 2, None]
    assert hits(WordBlocklist(("bad",), language=None, max_ratio=0.0199), texts) == [1, 2, 2]
    chinese: list[str | None] = ["坏人来了 好", "坏人坏人"]
    operator = WordBlocklist(("坏",), language="lang", max_ratio=0.2)
    assert hits(operator, chinese, lang=pa.array(["zh", "zh"])) == [None, 2]


def test_mistakes() -> None:
    with pytest.raises(PipelineError, match="words is empty"):
        WordBlocklist(())
    with pytest.raises(PipelineError, match="min_hits"):
        WordBlocklist(("a",), min_hits=0)
    with pytest.raises(PipelineError, match="max_ratio"):
        WordBlocklist(("a",), max_ratio=2)
    with pytest.raises(PipelineError, match="no such file"):
        hits(WordBlocklist("nowhere.txt", language=None), ["a"])


def search(words: list[str], text: str) -> int:
    """Count all places of all words, with Python's own idea of a word."""
    return sum(len(re.findall(rf"(?<![\w])(?={re.escape(word)}(?![\w]))", text)) for word in set(words) if word in text)


@settings(max_examples=300)
@given(
    words=st.lists(st.text("ab é.中", min_size=1, max_size=3).map(str.strip).filter(bool), min_size=1, max_size=6),
    texts=st.lists(st.text("abé .中\n", max_size=30), min_size=1, max_size=4),
    limit=st.sampled_from([0, 1000]),
)
def test_agrees_with_a_search_by_re(words: list[str], texts: list[str], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_blocklist, "MAX_ALTERNATIVES", limit)  # 0: the way of long lists
        found = hits(WordBlocklist(tuple(words), language=None), list(texts))
    assert [n or 0 for n in found] == [search(words, text) for text in texts]


def test_long_and_short_lists_agree_on_real_text(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = read_texts(data, "web_c4_demo", "wiki_en_demo", limit=60)
    entries = sorted((data / "wordlists_ldnoobw" / "en.txt").read_text().splitlines())
    docs = batch(list(texts))
    short = WordBlocklist(tuple(entries), language=None).drop(docs)
    expected = [search(entries, text.lower()) for text in texts]
    assert [row["value"] if row else 0 for row in short.to_pylist()] == expected
    assert sum(n > 0 for n in expected) >= 3
    monkeypatch.setattr(word_blocklist, "MAX_ALTERNATIVES", 1)
    assert WordBlocklist(tuple(entries), language=None).drop(docs).equals(short)


def test_no_entries_no_hits() -> None:
    assert WordList(pa.array([], pa.string()), (), bounded=True).hits(word_blocklist._lower(pa.array(["a"]))).tolist() == [0]
