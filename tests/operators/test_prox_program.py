"""Programs of refining models: what they may say, what hostile ones cannot do, and how texts are shown to models."""

from __future__ import annotations

import builtins
import os
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate_operators.prox_execute import MAX_PLACES, MAX_REPLACEMENTS, Edited, Replaced, execute
from curate_operators.prox_program import MAX_LINES, Program, RemoveLines, Replace, read_program
from curate_operators.prox_release import execute_as_released
from curate_operators.prox_windows import numbered, windows

TEXT = "Home | About\nThe harbour, they say, is old.\nIt has a wall (of stone = granite).\nShare this\nCopyright"


def after(program: str, text: str = TEXT) -> Edited:
    return execute(text, read_program(program))


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("remove_lines(line_start=0, line_end=4)", RemoveLines(0, 4)),
        ("  remove_lines( 3 ,line_end = 3 )  ", RemoveLines(3, 3)),
        ("remove_lines(line_start=-1, line_end=0x10)", RemoveLines(-1, 16)),
        ("remove_lines(line_start=000, line_end=017)", RemoveLines(0, 17)),
        ("remove_lines( 007,010 )", RemoveLines(7, 10)),
        ("normalize('(007, 01)', '=00)')", Replace("(007, 01)", "=00)")),
        ("remove_lines(line_start=004, line_end=008) # it's", RemoveLines(4, 8)),
        ("remove_lines(line_start=\t004,\tline_end=008\t)", RemoveLines(4, 8)),
        (r'normalize("\"=00)", "(01)")', Replace('"=00)', "(01)")),
        ('normalize(source_str="a, b = (c)", target_str="d")', Replace("a, b = (c)", "d")),
        ("normalize('it''s')", Replace("its", "")),
        (r'normalize(target_str="\u00e9", source_str="\\d+ \"x\"")', Replace(r'\d+ "x"', "é")),
        (r'normalize("\d")', Replace(r"\d", "")),
        ('normalize("ok") # a comment', Replace("ok", "")),
    ],
)
def test_lines_that_are_calls(line: str, call: RemoveLines | Replace) -> None:
    assert read_program(line) == Program((call,))


@pytest.mark.parametrize("line", ["keep_chunk()", "untouch_doc()", "", "   ", "```python", "```", "keep_chunk()\n\nuntouch_doc()"])
def test_lines_that_ask_for_nothing(line: str) -> None:
    assert read_program(line) == Program(())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("remove_lines", "no call"),
        ("remove_lines(line_start=0", "no call"),
        ("remove_lines(line_start=0, line_end=)", "no call"),
        ("Sure! Here is the program:", "no call"),
        ("x = remove_lines(1, 2)", "no call"),
        ("remove_lines(1, 2); remove_lines(3, 4)", "no call"),
        ("remove_lines(1, 2), remove_lines(3, 4)", "no call"),
        ("(lambda: remove_lines)()(1, 2)", "no such function"),
        ("os.system('true')", "no such function"),
        ("__import__('os').system('true')", "no such function"),
        ("eval('1')", "no such function"),
        ("Remove_lines(1, 2)", "no such function"),
        ("remove_lines()", "without line_start and line_end"),
        ("remove_lines(line_start=1)", "without line_end"),
        ("remove_lines(1, 2, 3)", "too many arguments"),
        ("remove_lines(1, line_start=1)", "wrong arguments"),
        ("remove_lines(first=1, last=2)", "wrong arguments"),
        ("remove_lines(*[1, 2])", "without line_end"),
        ("remove_lines(**{'line_start': 1})", "wrong arguments"),
        ("remove_lines(1, line_end=len('ab'))", "an argument is no whole number"),
        ("remove_lines(1, 1 + 1)", "an argument is no whole number"),
        ("remove_lines(1, True)", "an argument is no whole number"),
        ("remove_lines(1, 2.0)", "an argument is no whole number"),
        ("remove_lines('1', '2')", "an argument is no whole number"),
        ("remove_lines(1, ~2)", "an argument is no whole number"),
        ("remove_lines(1, --2)", "an argument is no whole number"),
        ("normalize()", "without source_str"),
        ("normalize(1)", "an argument is no string"),
        ("normalize(b'a')", "an argument is no string"),
        ("normalize(f'{open(1)}')", "an argument is no string"),
        ("normalize('a' * 9)", "an argument is no string"),
        ("normalize(None)", "an argument is no string"),
        ("normalize(-'a')", "an argument is no string"),
        ("keep_chunk(1)", "too many arguments"),
        ("remove_lines(1, 2)\0", "no call"),
        ("remove_lines(1, " + "9" * 3000, "no call"),
        ("remove_lines(1, " + "9" * 3900 + ")", "an argument is no whole number"),
        ("remove_lines(" + "(" * 3000, "no call"),
        ("normalize(" + "[" * 150 + "]" * 150 + ")", "an argument is no string"),
        ("normalize(" + "-" * 3900 + "1)", "no call"),
        ("remove_lines(1, 2)" + " " * 10 + "#" * 5000, "too long for a call"),
        ("\ud800(1)", "no call"),
    ],
)
def test_lines_that_are_no_calls(line: str, error: str) -> None:
    program = read_program(line)
    if error == "an argument is no whole number" and "9999" in line:  # a Python that reads long numbers may read this one
        assert program.calls or program.errors
        return
    assert program.calls == () and len(program.errors) == 1
    assert program.errors[0].startswith(f"{error}: ") and len(program.errors[0]) < 120


def test_nothing_is_ever_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a program was run")

    lines = [
        "eval('refuse()')",
        "print(exec('1'))",
        "open('x', 'w')",
        "os.system('x')",
        "(yield)",
        "normalize(open('x'))",
        "[exec(i) for i in 'x']",
    ]
    for name in ("eval", "exec", "print", "open"):
        monkeypatch.setattr(builtins, name, refuse)
    monkeypatch.setattr(os, "system", refuse)
    program = read_program("\n".join(lines))
    monkeypatch.undo()
    assert program.calls == () and len(program.errors) == len(lines)


def test_removal_and_replacement_with_the_account_of_both() -> None:
    done = after(
        'remove_lines(3, 4)\nnormalize("The harbour, they say, is", "The harbour is")\nremove_lines(0, 0)\nnormalize("= granite", "")'
    )
    assert done.text == "The harbour is old.\nIt has a wall (of stone )."
    assert done.removed == ((0, 0), (3, 4))
    assert done.replaced == (Replaced("The harbour, they say, is", "The harbour is", 1), Replaced("= granite", "", 1))
    assert done.errors == ()


def test_strings_are_replaced_first_and_numbers_are_those_that_were_shown() -> None:
    assert after('remove_lines(0, 0)\nnormalize("Share this")\nnormalize("About", "x")').text == "\n".join(
        ["The harbour, they say, is old.", "It has a wall (of stone = granite).", "", "Copyright"]
    )


@pytest.mark.parametrize(
    ("program", "text", "errors"),
    [
        ("remove_lines(3, 99)", "a\nb\nc", 1),
        ("remove_lines(2, 99)", "a\nb", 1),
        ("remove_lines(2, 1)", "a\nb\nc", 1),
        ("remove_lines(-1, 2)", "a\nb\nc", 1),
        ("remove_lines(0, 2)", "", 0),
        ("remove_lines(0, 0)\nremove_lines(2, 2)\nremove_lines(0, 1)", "", 0),
        (f"remove_lines(0, {10**40})", "", 1),
        (f"remove_lines({10**40}, {10**41})\nremove_lines(1, 1)", "a\nc", 1),
        ('normalize("")', "a\nb\nc", 1),
        ('normalize(" ", "x")', "a\nb\nc", 1),
        (r'normalize("\n", " ")', "a\nb\nc", 1),
        (r'normalize("a", "a\nb")', "a\nb\nc", 1),
        (r'normalize("a", "\ud800")', "a\nb\nc", 1),
        ('normalize("not there", "x")', "a\nb\nc", 0),
        ("nonsense", "a\nb\nc", 1),
    ],
)
def test_what_programs_cannot_do(program: str, text: str, errors: int) -> None:
    done = after(program, "a\nb\nc")
    assert (done.text, len(done.errors)) == (text, errors)


def test_a_text_cannot_be_blown_up() -> None:
    done = after("\n".join(['normalize("-", "--")'] * 500), "-" * 1000)
    assert len(done.text) == 2000 and len(done.errors) == 499
    assert after('normalize("-", "' + "b" * 3000 + '")', "-" * 5000).text == "-" * 5000


@pytest.mark.parametrize(
    ("source", "target", "text", "new"),
    [
        ("e", "", "The bees are here", None),
        ("e", "a", "The bees are here", None),
        ("Share", "", "Share it, as it was Shared", None),
        ("ad", "", "one ad, two ads", None),
        ("s i", "s. I", "There was it", None),
        ("s i", "", "There was it", None),
        ("1", "", "In 1902, 1 ship", None),
        ("2", "", "water is H2O", None),
        ("мир", "", "мир и мира", None),
        ("e ", " ", "The bee sings", None),
        ("ad", "", "one ad, two", "one , two"),
        ("Share this", "", "It ended.Share thisNext: Share this", "It ended.Next: "),
        ("Share", "", "LikeShareTweet", "LikeTweet"),
        ("LOG IN", "", "pageLOG IN now", "page now"),
        ("in for mation", "information", "misin for mations", "misinformations"),
        ("\ufb01", "fi", "\ufb01nd the \ufb01rst of\ufb01ce", "find the first office"),
        ("â€™", "'", "it donâ€™t", "it don't"),
        ("ÃŸ", "ß", "die StraÃŸe", "die Straße"),
        ("Ã©", "é", "two cafÃ©s", "two cafés"),
        ("(cid:3)", "fi", "of(cid:3)ce", "office"),
        ("%20", " ", "two%20words", "two words"),
        ("[edit]", "", "A part[edit]of it", "A partof it"),
        ("分享", "", "你好分享世界", "你好世界"),
        ("Share", "", "你好Share世界", "你好世界"),
        ("lan", "X", "avec élan", None),
        ("na", "", "naïveté", None),
        ("Stra", "Y", "die Straße", None),
        ("don", "X", "they don't", None),
        ("t", "", "they don’t", None),
        ("amour", "", "l’amour", None),
        ("Share", "", "'Share'", "''"),
        ("Cafe", "Tea", "Cafe\u0301 Noir", None),
        ("हिन", "", "हिन्दी", None),
        ("हिन्दी", "", "हिन्दी में", " में"),
        ("공유", "", "공유하기", None),
        ("👩", "", "👩\u200d👧", None),
        ("👧", "", "👩\u200d👧", None),
        ("شود", "", "می\u200cشود", None),
        ("👍", "", "👍🏽", None),
        ("👍", "", "so 👍 it", "so  it"),
        ("ad", "\0", "an ad", None),
        ("ad", "\x1b[31m", "an ad", None),
        ("ad", "\u202e", "an ad", None),
        ("\t\u202ead", "\u202e", "an \t\u202ead", "an \u202e"),
        ("ad", "\tx", "an ad", "an \tx"),
    ],
)
def test_words_are_not_changed_by_halves(source: str, target: str, text: str, new: str | None) -> None:
    done = execute(text, Program((Replace(source, target),)))
    assert (done.text, len(done.errors)) == ((text, 1) if new is None else (new, 0))


def test_a_document_has_so_many_replacements_and_no_more() -> None:
    begun = time.process_time()
    done = after('normalize("ship", "bird")\nnormalize("bird", "ship")\n' * 2000, "the ship of the harbour " * 400)
    assert len(done.replaced) == MAX_REPLACEMENTS and done.errors == (f"more than {MAX_REPLACEMENTS} replacements",)
    assert time.process_time() - begun < 5


def test_strings_that_stand_everywhere_are_looked_at_so_often_and_no_more() -> None:
    begun = time.process_time()
    done = after('normalize("|", "/")\nnormalize("/", "|")\n' * 250, "| " * 300_000)
    assert len(done.replaced) == 3 and done.errors == (f"more than {MAX_PLACES:,} places to replace strings at",)
    assert time.process_time() - begun < 5


def test_thousands_of_lines_are_read_in_time_and_no_more() -> None:
    begun = time.process_time()
    done = after("remove_lines(0, 0)\n" * 20_000, "a\nb")
    assert (done.text, done.errors) == ("b", (f"more than {MAX_LINES} lines",))
    assert len(after("((((" * 900 + "\n" + "nonsense(\n" * 5_000).errors) == 5_001
    assert time.process_time() - begun < 5


PIECES = [
    "remove_lines(",
    "normalize(",
    "keep_chunk()",
    "line_start=",
    "line_end=",
    "source_str=",
    "target_str=",
    "0",
    "2",
    "-1",
    "99",
    '"a"',
]
PIECES += [
    "'b'",
    '""',
    '"\\n"',
    ",",
    ")",
    "(",
    "\n",
    " ",
    "\0",
    "é",
    "\ud800",
    "f'{x}'",
    "[",
    "lambda: ",
    "*",
    "**",
    "10**9",
    "#",
    ";",
    "\\",
    '"',
]
programs = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=200)
texts = st.lists(st.text(alphabet="ab \n\u2028é", max_size=8), max_size=8).map("\n".join)


@settings(max_examples=300)
@given(programs, texts)
def test_any_program_leaves_lines_of_the_text_alone_or_does_what_it_tells(program: str, text: str) -> None:
    done = after(program, text)
    lines = text
    for replaced in done.replaced:
        assert lines.count(replaced.source) == replaced.count > 0
        lines = lines.replace(replaced.source, replaced.target)
    gone = {number for start, end in done.removed for number in range(start, end + 1)}
    assert done.text == "\n".join(line for number, line in enumerate(lines.split("\n")) if number not in gone)
    done.text.encode()  # raises where UTF-8 cannot carry it
    assert len(done.text) <= 2 * len(text)
    assert all(0 <= start <= end < len(lines.split("\n")) for start, end in done.removed)
    execute_as_released(text, program)


@pytest.mark.parametrize(
    ("program", "text", "errors"),
    [
        ("remove_lines(line_start=0, line_end=0)", "b, c\nd=e", 0),
        ("remove_lines(x=0, y=0)", "b, c\nd=e", 0),
        ("remove_lines(0, 0)", "a\nb, c\nd=e", 1),
        ("remove_lines(line_start=0, line_end=1", "a\nb, c\nd=e", 1 + 1),
        ("remove_lines(line_start=0, line_end=11", "d=e", 1),
        ("remove_lines(line_start=1, line_end=99)", "a", 1),
        ("remove_lines(line_start=8, line_end=8)\nremove_lines(line_start=9, line_end=9)", "a\nb, c\nd=e", 1),
        ("remove_lines(line_start=-5, line_end=0)", "b, c\nd=e", 0),
        ("remove_lines(all=True)", "", 0),
        ('normalize(source_str="b, c", target_str="x")', "a\nb, c\nd=e", 0),
        ('normalize(source_str="b, c")', "a\nb, c\nd=e", 1),
        ('normalize(source_str="d=e", target_str="x")', "a\nb, c\nx=e", 0),
        ('normalize("a")', "a\nb, c\nd=e", 1),
        ('normalize(source_str=" ")', "a\nb,c\nd=e", 0),
        ('normalize(source_str=" ", target_str="")', "a\nb, c\nd=e", 0),
        (" remove_lines(line_start=0, line_end=0)\n remove_lines(line_start=1, line_end=1)", "b, c\nd=e", 0),
        ("nonsense\nkeep_chunk()", "a\nb, c\nd=e", 0),
        ("normalize", "a\nb, c\nd=e", 1),
    ],
)
def test_programs_as_the_published_code_reads_them(program: str, text: str, errors: int) -> None:
    done = execute_as_released("a\nb, c\nd=e", program)
    assert (done.text, len(done.errors)) == (text, errors)


def words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


def test_lines_are_numbered_from_the_documents_beginning() -> None:
    shown = numbered("\n".join(["x"] * 1001))
    assert (shown[0], shown[999], shown[1000]) == ("[000]x", "[999]x", "[1000]x")
    assert numbered("") == ["[000]"]


@pytest.mark.parametrize("long_lines", [False, True])
def test_windows_are_packed_greedily(long_lines: bool) -> None:
    text = "a a\nb b\nc\nd d d d d d\ne\n\nf f f"
    found = windows(text, words, 5, long_lines)
    long = [(3, "[003]d d d d d d")] if long_lines else []
    assert [(w.start, w.text) for w in found] == [(0, "[000]a a\n[001]b b\n[002]c"), *long, (4, "[004]e\n[005]\n[006]f f f")]
    assert [w.start for w in windows(text, words, 3, long_lines)] == ([0, 1, 3, 4, 6] if long_lines else [0, 1, 4, 6])


@given(texts, st.integers(1, 9))
def test_windows_hold_every_line_once_in_order(text: str, most: int) -> None:
    shown = [line for window in windows(text, words, most, long_lines=True) for line in window.lines]
    assert shown == numbered(text)
    assert all(sum(words(w.lines)) <= most for w in windows(text, words, most))
