"""Words: a table of what each rule does, both of the kernel's paths beside the rules in plain Python, kinds and hashes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels import unicode, word_splitting
from curate.kernels.abbreviations import ABBREVIATIONS
from curate.kernels.word_spans import _LISTED, ALPHABETIC, ENDS_SENTENCE, PUNCTUATION, WORDLIKE, hash_word
from tests.kernels import columns, plain, word_rules

RULES = {
    "en": ("numbers", "contractions"),
    "pl": ("numbers", "kept"),
    "ru": ("split", "kept"),
    "fr": ("split", "elisions"),
    "de": ("kept", "kept"),
    "ca": ("kept", "elisions"),
}
PIECES = [
    *"aBsſßé1²٣.,;!?…'’“)(*-–~+^=<>/@\\%$€°|#&。、カ한的は\u0301\u200d•\u2e60",
    "n't",
    "Mr.",
    "e.g.",
    "http://",
    "C++",
    "U.S.",
    "..",
    "🙂",
    "ไ",
    "com",
]
MORE = [piece for piece in PIECES if piece not in {*"Sßé٣;?“)~<\\€|&、한は•"}]
FEW = [*"aB1.,'’-–+:/@%$°。的\u0301", "..", "ll"]


def words_of(texts: list[str], language: str = "en") -> list[list[str]]:
    view = kernels.Texts.of(pa.array(texts, pa.string()))
    words = kernels.words(view, language)
    return plain.spans(view, words.first, words.start, words.end)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        # punctuation comes off the ends, one sign at a time
        ("Well, (yes).", "en", "Well|,|(|yes|)|."),
        ("«Oui!?»", "fr", "«|Oui|!|?|»"),
        ("***", "en", "*|*|*"),
        ("“Quoted,” he said.", "en", "“|Quoted|,|”|he|said|."),
        ("wait... what", "en", "wait|...|what"),
        ("wait…what", "en", "wait|…|what"),
        ("...and", "en", "...|and"),
        ("a...B", "en", "a|...|B"),
        ("yes.N yes.“no” 1.A", "en", "yes|.|N|yes|.|“no|”|1.A"),
        ("file.txt yes.No", "en", "file.txt|yes|.|No"),
        ("—so—", "en", "—|so|—"),
        ("@home #tag", "en", "@home|#|tag"),
        # abbreviations and single letters keep their dot, a capital alone too
        ("Mr. Smith etc. said.", "en", "Mr.|Smith|etc|.|said|."),
        ("(Mr.)", "en", "(|Mr.|)"),
        ("e.g. U.S. a.m.", "en", "e.g.|U.S.|a.m."),
        ("plan b. Plan B.", "en", "plan|b.|Plan|B."),
        ("NASA. McA.", "en", "NASA|.|McA."),
        ("C++, yes", "en", "C++|,|yes"),
        # contractions are English, elisions French, Italian and Catalan
        ("don't can’t we'll I've you're he'd I'm John's", "en", "do|n't|ca|n’t|we|'ll|I|'ve|you|'re|he|'d|I|'m|John|'s"),
        ("don't John's", "de", "don't|John|'s"),
        ("l'eau d’un aujourd'hui", "fr", "l'|eau|d’|un|aujourd'|hui"),
        ("dell'arte", "it", "dell'|arte"),
        ("l'eau", "en", "l'eau"),
        ("d'", "fr", "d|'"),
        # hyphens between letters
        ("well-known", "en", "well|-|known"),
        ("well-known", "de", "well-known"),
        ("well--known", "de", "well|--|known"),
        ("3-year", "en", "3|-|year"),
        ("3-year", "ru", "3-year"),
        ("1990-1995 -5", "en", "1990|-|1995|-5"),
        ("pages 3–5", "en", "pages|3–5"),
        # numbers and signs
        ("1,000.50 3.5% $5 5€ +5 5+", "en", "1,000.50|3.5|%|$|5|5|€|+5|5|+"),
        ("100%.", "en", "100|%|."),
        ("3*4 3^4 3+4 3=4", "en", "3|*|4|3|^|4|3|+|4|3=4"),
        ("and/or a:b x=y key,value 1,2", "en", "and|/|or|a|:|b|x|=|y|key|,|value|1,2"),
        ("20°C", "en", "20|°|C"),
        ("🙂🙂ok🙂", "en", "🙂|🙂|ok|🙂"),
        # addresses stay whole
        ("see www.example.org/a-b, now", "en", "see|www.example.org/a-b|,|now"),
        ("https://example.org:80/x?y=z&a-b=c", "en", "https://example.org:80/x?y=z&a-b=c"),
        ("ann-marie@mail.example.org.", "en", "ann-marie@mail.example.org|."),
        ("well-known.txt-file", "en", "well|-|known.txt|-|file"),
        # scripts without spaces: a letter with its marks is a word
        ("我们去。", "zh", "我|们|去|。"),
        ("これはテスト", "ja", "こ|れ|は|テスト"),
        ("コーヒー・カップ", "ja", "コーヒー|・|カップ"),
        ("ที่นี่", "th", "ที่|นี่"),
        ("ສະບາຍ", "lo", "ສ|ະ|ບ|າ|ຍ"),
        ("ខ្មែរ", "km", "ខ្|មែ|រ"),
        ("မြန်မာ", "my", "မြ|န်|မာ"),
        ("Python3的版本", "zh", "Python3|的|版|本"),
        ("한국어 नमस्ते", "en", "한국어|नमस्ते"),
    ],
)
def test_words(text: str, language: str, expected: str) -> None:
    assert words_of([text], language)[0] == expected.split("|")


@pytest.mark.parametrize("word", ABBREVIATIONS)
def test_abbreviations_are_one_word(word: str) -> None:
    assert words_of([f"so {word} then"]) == [["so", word, "then"]]


CASES = [("en", MORE, 3), *((one, PIECES, 2) for one in RULES), *((one, FEW, 3) for one in RULES)]


@pytest.mark.parametrize(("language", "pieces", "length"), CASES, ids=lambda value: str(len(value)) if isinstance(value, list) else None)
def test_every_run_of_awkward_pieces_is_cut_by_the_rules(language: str, pieces: list[str], length: int) -> None:
    runs = ["".join(run) for run in product(pieces, repeat=length)]
    found = words_of(runs, language)
    wrong = [(run, one) for run, one in zip(runs, found, strict=True) if one != word_rules.words(run, *RULES[language])]
    assert not wrong, wrong[:10]


@pytest.mark.parametrize("language", RULES)
@given(st.lists(st.lists(st.sampled_from([*PIECES, " ", "."]), max_size=10).map("".join), max_size=20))
def test_longer_texts_are_cut_by_the_rules(language: str, texts: list[str]) -> None:
    assert words_of(texts, language) == [word_rules.words(text, *RULES[language]) for text in texts]


@pytest.mark.parametrize("language", RULES)
def test_real_texts_are_cut_by_the_rules(real_texts: pa.Array, language: str) -> None:
    texts = real_texts.to_pylist()[:: 3 if language == "en" else 15]
    assert words_of(texts, language) == [word_rules.words(text, *RULES[language]) for text in texts]


def slowly(run: str, hyphens: int, apostrophes: int) -> list[str]:
    """Cut a run by the path that `_words` takes only where more than the last character may be split off."""
    codes = np.array([*map(ord, run)], np.int32)
    bits = unicode.classes()[codes]
    pieces = np.zeros((len(run) + 1, 2), np.int32)
    seen = np.uint32(np.bitwise_or.reduce(bits))
    count = word_splitting.split(codes, bits, len(run), seen, pieces, _LISTED, hyphens, apostrophes)
    return [run[a:b] for a, b in pieces[:count]]


def test_the_fast_path_cuts_as_the_slow_one() -> None:
    insides = ["", "a", "B", "1", "²", "ab", "aB", "AB", "BC", "a1", "1a", "11", "a\u0301", "\u200d", "Mr", "etc", "Messrs", "カ", "한"]
    runs = [inside + last for inside in insides for last in {*"".join(PIECES), *"\u0301\u0e30½§†"} if inside + last]
    kept, contractions = word_splitting.HYPHENS_SPLIT_ALSO_NUMBERS, word_splitting.CONTRACTIONS
    found = words_of(runs)
    wrong = [(run, one) for run, one in zip(runs, found, strict=True) if one != slowly(run, kept, contractions)]
    assert not wrong, wrong[:10]


def kind(word: str) -> int:
    ends = len(word) == 1 and unicode.classes()[ord(word)] & unicode.SENTENCE_END and word_rules.category(word)[0] == "P"
    return (
        (ALPHABETIC if any(char.isalpha() for char in word) else 0)
        | (WORDLIKE if any(map(word_rules.wordly, word)) else 0)
        | (ENDS_SENTENCE if ends else 0)
        | (PUNCTUATION if all(word_rules.category(char)[0] == "P" for char in word) else 0)
    )


def test_kinds_lengths_and_hashes_of_both_paths() -> None:
    texts = kernels.Texts.of(pa.array(["".join(run) for run in product(PIECES, repeat=2)]))
    words = kernels.words(texts)
    [listed] = [[word for one in plain.spans(texts, words.first, words.start, words.end) for word in one]]
    assert words.chars.tolist() == [len(word) for word in listed]
    assert words.hashes.tolist() == [hash_word(word) for word in listed]
    assert [*zip(listed, words.kind.tolist(), strict=True)] == [(word, kind(word)) for word in listed]


@pytest.mark.parametrize("language", RULES)
@given(columns.columns())
def test_words_of_any_bytes_cover_what_is_no_white_space(language: str, column: columns.Column) -> None:
    texts = kernels.Texts.of(column.array)
    words = kernels.words(texts, language)
    listed = plain.spans(texts, words.first, words.start, words.end)
    contents = [plain.decode(content) for content in column.contents]
    assert ["".join(one) for one in listed] == ["".join(content.split()) for content in contents]
    assert all(word for one in listed for word in one)
    flat = [word for one in listed for word in one]
    assert words.chars.tolist() == [len(word) for word in flat]
    assert words.hashes.tolist() == [hash_word(word) for word in flat]
    assert ((words.kind & ALPHABETIC) > 0).tolist() == [any(char.isalpha() for char in word) for word in flat]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("One. Two! Three?", 3),
        ("One. two", 2),
        ("One", 1),
        ("Mr. Smith vs. Dr. Who", 1),
        ('He said "Yes." And left.', 2),
        ("Really?! (Yes.) No", 3),
        ("Wait... what", 1),
        ("3.5 is no end.", 1),
        ("A line\n\nAnother. And more", 3),
        ("。", 1),
        ("是。不是。", 2),
    ],
)
def test_sentences(text: str, expected: int) -> None:
    texts = kernels.Texts.of(pa.array([text, "", text]))
    assert kernels.sentences(kernels.words(texts), kernels.lines(texts)).tolist() == [expected, 0, expected]


def test_sentences_of_real_texts(real_texts: pa.Array) -> None:
    texts = kernels.Texts.of(real_texts)
    found = kernels.sentences(kernels.words(texts), kernels.lines(texts))
    assert found.tolist() == [sum(map(_sentences, words_of(text.splitlines()))) for text in real_texts.to_pylist()]


def _sentences(words: list[str]) -> int:
    found, ended = int(bool(words)), False
    for word in words:
        if kind(word) & ENDS_SENTENCE:
            ended = True
        elif ended and not kind(word) & PUNCTUATION:
            found, ended = found + 1, False
    return found


@pytest.mark.parametrize(
    "text", ["1m ", "30mph ", "5kg ", "1m. ", "7km², ", "(3cm) ", "٣kg ", "don't ", "l'eau ", "a.b.c-d/e ", "日本", "ไท"]
)
def test_there_is_room_for_every_word(text: str) -> None:
    assert len(words_of([text * 1000])[0]) >= 1000


def test_sentences_have_their_spans() -> None:
    text = 'One. Two, Mr. Smith said "hi." Three!\n\nno end\n… Four? (Five.) 6'
    texts = kernels.texts(pa.array([None, text, ""]))
    found = kernels.sentence_spans(texts, kernels.words(texts), kernels.lines(texts, "feed"))
    said = [bytes(texts.data[a:b]).decode() for a, b in zip(found.start, found.end, strict=True)]
    assert said == ["One.", 'Two, Mr. Smith said "hi."', "Three!", "no end", "… Four? (", "Five.)", "6"]
    assert found.first.tolist() == [0, 0, 7, 7]
    assert found.chars.tolist() == [len(sentence) for sentence in said]


def test_spans_of_sentences_are_as_many_as_are_counted(real_texts: pa.Array) -> None:
    texts = kernels.Texts.of(real_texts)
    words, lines = kernels.words(texts), kernels.lines(texts)
    found = kernels.sentence_spans(texts, words, lines)
    assert np.diff(found.first).tolist() == kernels.sentences(words, lines).tolist()
    assert (found.end > found.start).all() and (found.start[1:] >= found.end[:-1]).all()
