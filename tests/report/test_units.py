"""Numbers as people read them."""

from __future__ import annotations

import pytest

from curate.report.units import clip, count, duration, number, plural, printable, rate, share, size


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_600, "1.00 MB"), (5.67e11, "567 GB"), (-2_500, "-2.50 kB")],
)
def test_size(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.0421, "42 ms"),
        (0.421, "0.42 s"),
        (9.999, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3605, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (360_000, "4 d 04 h"),
    ],
)
def test_duration(value: float, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 5, "0%"), (5, 5, "100%"), (1, 3, "33.3%"), (1, 10**6, "<0.1%"), (10**6 - 1, 10**6, ">99.9%"), (1, 0, "–"), (1, 1001, "0.1%")],
)
def test_share_never_rounds_something_to_nothing(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (3, "3"), (1234.5, "1,234"), (float("nan"), "nan"), (1e300, "1e+300")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_the_small_ones() -> None:
    assert count(1234567) == "1,234,567"
    assert rate(25_000_000, 2) == "12.5 MB/s"
    assert rate(1, 0) == rate(0, 1) == "–"
    assert plural(1, "shard") == "1 shard"
    assert plural(2, "shard") == "2 shards"
    assert clip("abcdef", 4) == "abc…"
    assert clip("abcd", 4) == "abcd"


def test_printable_takes_the_sting_out_of_control_characters() -> None:
    assert printable("a\x1b[2Jb\x00c\u202ed\ud800e") == "a\ufffd[2Jb\ufffdc\ufffdd\ufffde"
    assert printable("one\ntwo") == "one\ufffdtwo"
    assert printable("one\ntwo", keep="\n") == "one\ntwo"
    for words in ("größer 東京 🙂", "می\u200cخواهم", "👩\u200d🔬"):
        assert printable(words) == words
