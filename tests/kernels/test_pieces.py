"""Pieces beside the regular expressions that they stand for, and numbers for spans beside a dictionary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.kernels import piece_spans, span_tables
from tests.kernels import columns

SPACE = r"\s+(?!\S)|\s+"
EXPRESSIONS = {
    ("words", 0): rf"'(?:[sdmt]|ll|re|ve)| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{SPACE}",
    **{
        ("marked", digits): rf"(?i:'(?:[sdmt]|ll|re|ve))|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,{digits}}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|{SPACE}"
        for digits in (1, 3)
    },
}
PARTS = [
    *columns.SIGNS,
    *(part for part in columns.LETTERS if part != "\ud800"),
    "'s",
    "'LL",
    "'ſ",
    "'Ve",
    "'t",
    "12345",
    "\r\n",
    "  ",
    "!?",
    "x",
]
texts_of_parts = st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), max_size=5)


def learned(texts: kernels.Texts, classes: piece_spans.Classes) -> None:
    """Say in the table what the characters of texts are."""
    kinds = ((piece_spans.LETTER, r"\p{L}"), (piece_spans.NUMBER, r"\p{N}"), (piece_spans.BREAK, r"[\r\n]"), (piece_spans.SPACE, r"\s"))
    for code in kernels.unseen(texts, classes).tolist():
        classes[code] = next((kind for kind, pattern in kinds if regex.fullmatch(pattern, chr(code))), piece_spans.SIGN)


def spans(column: pa.Array, first: np.ndarray, ends: np.ndarray) -> list[list[bytes]]:
    """Return the bytes of the pieces of each text."""
    view = kernels.Texts.of(column)
    found = []
    for text, begin in enumerate(view.offsets[:-1].tolist()):
        edges = [begin, *ends[first[text] : first[text + 1]].tolist()]
        found.append([view.data[one:other].tobytes() for one, other in zip(edges, edges[1:], strict=False)])
    return found


def contents(table: kernels.SpanTable) -> list[bytes]:
    """Return the bytes of all spans of a table."""
    data, ends = table.contents(0)
    return [data[one:other].tobytes() for one, other in zip(ends.tolist(), ends[1:].tolist(), strict=False)]


@pytest.mark.parametrize(("style", "digits"), EXPRESSIONS)
@given(texts_of_parts)
def test_pieces_are_what_the_expression_finds(style: piece_spans.Style, digits: int, texts: list[str]) -> None:
    column = pa.array(["before", *texts], pa.string())[1:]
    classes = np.full(piece_spans.CODES, piece_spans.UNSEEN, np.uint8)
    view = kernels.Texts.of(column)
    learned(view, classes)
    assert len(kernels.unseen(view, classes)) == 0
    expected = [[piece.encode() for piece in regex.findall(EXPRESSIONS[style, digits], text)] for text in texts]
    assert spans(column, *kernels.pieces(view, classes, style, digits)) == expected


@given(st.lists(texts_of_parts, max_size=4))
def test_equal_pieces_have_one_number_and_lists_are_put_together(batches: list[list[str]]) -> None:
    classes = np.full(piece_spans.CODES, piece_spans.UNSEEN, np.uint8)
    table, known = kernels.SpanTable(), dict[bytes, int]()
    for texts in batches:
        column = pa.array(texts, pa.large_string())
        view = kernels.Texts.of(column)
        learned(view, classes)
        first, ends = kernels.pieces(view, classes, "words", 0)
        wanted = [[known.setdefault(piece, len(known)) for piece in pieces] for pieces in spans(column, first, ends)]
        numbers = table.numbers(view, first, ends)
        assert numbers.tolist() == [number for text in wanted for number in text]
        assert len(table) == len(known) and contents(table) == [*known]
        lists = [[number] * (number % 3) for number in range(len(known))]
        begins = np.cumsum([0, *map(len, lists)])
        values, lengths = kernels.gathered(numbers, first, np.array([n for each in lists for n in each], np.uint32), begins, 99)
        joined = [[n for number in text for n in lists[number]] for text in wanted]
        joined = [[*each, 99] if each else [] for each in joined]
        assert values.tolist() == [n for each in joined for n in each] and lengths.tolist() == [len(each) for each in joined]


def test_a_table_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_tables, "CHUNK", 16)
    column = pa.array([" ".join(f"w{n % 3000}" * (1 + n % 2000 // 1999 * 400) for n in range(9000))])
    view = kernels.Texts.of(column)
    classes = np.full(piece_spans.CODES, piece_spans.UNSEEN, np.uint8)
    learned(view, classes)
    first, ends = kernels.pieces(view, classes, "words", 0)
    table = kernels.SpanTable()
    [pieces] = spans(column, first, ends)
    numbers = table.numbers(view, first, ends).tolist()
    found = contents(table)
    assert [found[number] for number in numbers] == pieces
    assert len(table) == len(set(pieces))


ALPHABET = "abc"
PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(PAIRS, st.lists(st.text(ALPHABET, max_size=12), max_size=4))
def test_byte_pairs_are_merged_in_the_order_of_their_ranks(chosen: list[tuple[int, int]], texts: list[str]) -> None:
    names = [*ALPHABET]  # a merge may use what earlier ones made
    ranks: dict[tuple[str, str], int] = {}
    for left, right in chosen:
        pair = (names[left % len(names)], names[right % len(names)])
        ranks.setdefault(pair, len(ranks))
        if pair[0] + pair[1] not in names:
            names.append(pair[0] + pair[1])
    single = np.zeros(256, np.uint32)
    single[[ord(letter) for letter in ALPHABET]] = range(len(ALPHABET))
    table = {(names.index(a), names.index(b)): (rank, names.index(a + b)) for (a, b), rank in ranks.items()}
    long = "a" * 300
    data = np.frombuffer("".join([*texts, long]).encode(), np.uint8)
    ends = np.cumsum([0, *map(len, texts), len(long)])
    expected = []
    for text in texts:
        parts = [*text]
        while found := [(ranks[pair], k) for k, pair in enumerate(zip(parts, parts[1:], strict=False)) if pair in ranks]:
            _, k = min(found)
            parts[k : k + 2] = [parts[k] + parts[k + 1]]
        expected.append([names.index(part) for part in parts])
    values, lengths = kernels.byte_pairs(data, ends, kernels.Merges.of(single, table))
    assert lengths.tolist() == [*map(len, expected), 0]
    assert values.tolist() == [number for each in expected for number in each]
