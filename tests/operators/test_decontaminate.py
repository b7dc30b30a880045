"""`decontaminate`: which texts hold items of benchmarks, whatever case and punctuation, and what is no item but a way of asking."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.testing import check_operator
from curate_operators.decontaminate import Decontaminate
from tests.operators.conftest import batch, read_texts

LONG = "A harbour was built in 1902 by forty men with stone from the hills behind the old town of Visby in nine years."
SHORT = "Which stone is the harbour of Visby built of?"
ITEMS = [
    {"benchmark": "Sea Quiz", "text": LONG},
    {"benchmark": "Sea Quiz", "text": SHORT, "answer": "Of limestone from the hills, as all of the town is."},
    {"benchmark": "tiny", "text": "Is it so?"},
    {"text": "Seven words are said here by nobody at all"},
]


def write(path: Path, items: list[Any]) -> str:
    path.write_bytes(b"\n".join(orjson.dumps(item) for item in items) + b"\n\n")
    return str(path)


@pytest.fixture
def benchmarks(tmp_path: Path) -> str:
    return write(tmp_path / "items.jsonl", ITEMS)


def told(operator: Decontaminate, *texts: str | None) -> list[Any]:
    return [row and (row["reason"], row["value"]) for row in operator.drop(batch([*texts])).to_pylist()]


def test_items_are_found_in_any_case_and_punctuation(benchmarks: str) -> None:
    words = LONG.rstrip(".").split()
    assert told(
        Decontaminate(benchmarks),
        f"Before. {LONG} After.",
        "-- " + ", ".join(word.upper() for word in words) + "!",
        " ".join(words[3:16]),
        " ".join(words[3:15]),
        "Q: which STONE is\nthe harbour of Visby – built of",
        "which stone is the harbour of Visby built",
        "Is it so? Is it so?",
        "Of limestone from the hills, as all of the town is.",
        "seven words are said here, by nobody; at all",
        "",
        None,
    ) == [
        ("in_sea_quiz", len(words)),
        ("in_sea_quiz", len(words)),
        ("in_sea_quiz", 13),
        None,
        ("in_sea_quiz", 9),
        None,
        None,
        None,
        ("contaminated", 9),
        None,
        None,
    ]


def test_fields_and_lengths_are_for_the_user_to_say(benchmarks: str) -> None:
    answers = Decontaminate(benchmarks, fields=("text", "answer"), words=4, min_words=3)
    assert told(answers, "of limestone from the Alps", "so is it? It is so", "oh, is it so") == [("in_sea_quiz", 4), None, ("in_tiny", 3)]


def test_ways_of_asking_are_no_items(tmp_path: Path) -> None:
    asked = "Which of the following sentences is not true of what the text above says about"
    items = [{"text": f"{asked} number {n}, and of all other numbers that we know?"} for n in range(11)]
    file = write(tmp_path / "items.jsonl", items)
    assert told(Decontaminate(file), f"{asked} bees?", items[4]["text"]) == [None, ("contaminated", 21)]
    assert told(Decontaminate(file, max_items=None), f"{asked} bees?") == [("contaminated", 15)]


def test_runs_do_not_cross_documents(benchmarks: str) -> None:
    words = LONG.split()
    assert told(Decontaminate(benchmarks), " ".join(words[:8]), " ".join(words[8:])) == [None, ("in_sea_quiz", len(words) - 8)]


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=40),
    st.lists(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=9), min_size=1, max_size=4),
)
def test_what_is_found_is_what_a_plain_search_finds(text: list[str], items: list[list[str]]) -> None:
    from curate_operators.benchmark_grams import Item, WordHashes, listed, longest

    size, least = 5, 3
    runs = listed([Item(" ".join(item), "x") for item in items], ["x"], size, least, None)
    wanted = {tuple(item[at : at + size]) for item in items for at in range(max(len(item) - size, 0) + 1) if len(item) >= least}
    found = any(tuple(text[at : at + len(run)]) == run for run in wanted for at in range(len(text)))
    words = WordHashes.of(batch([" ".join(text)]).column("text"))
    assert bool(list(longest(runs, words))) is found


def test_planted_items_of_real_benchmarks_are_found_and_nothing_else(data: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    items = chance.sample(read_texts(data, "benchmarks"), 2000)
    pages = read_texts(data, "web_c4_demo", limit=400)
    file = write(tmp_path / "items.jsonl", [{"text": item} for item in items])
    operator = Decontaminate(file)
    long_enough = [item for item in items if len(item.split()) >= 30]
    planted = [f"{page}\n{chance.choice(long_enough)}\n{page}" for page in pages]
    clean, dirty = operator.drop(batch([*pages])), operator.drop(batch([*planted]))
    assert dirty.null_count == 0 and clean.null_count >= 0.99 * len(pages)


def test_compressed_files_and_the_battery(benchmarks: str, tmp_path: Path) -> None:
    packed = tmp_path / "items.jsonl.gz"
    packed.write_bytes(gzip.compress(Path(benchmarks).read_bytes()))
    check_operator(Decontaminate(str(packed), words=2, min_words=1))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b'{"text": "a"}\n{"text": ', "line 2: no JSON"),
        (b"[1]\n", "line 1: no JSON object"),
        (b'{"question": "a"}\n', "no line has a text in `text`"),
        (b"", "no line has a text in `text`"),
        (b"".join(b'{"text": "a", "benchmark": "%d"}\n' % n for n in range(201)), "more than 200 benchmarks in `benchmark`"),
    ],
)
def test_wrong_files_are_told(written: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_bytes(written)
    with pytest.raises(PipelineError, match=message):
        Decontaminate(str(file)).verify_file("benchmarks", file)


def test_wrong_parameters_are_told(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"min_words": 14}, "`min_words` is 14"),
        ({"min_words": 0}, "`min_words` is 0"),
        ({"fields": ()}, "`fields` is empty"),
        ({"max_items": 0}, "max_items. is less than 1"),
    ]
    for params, message in wrong:
        with pytest.raises(PipelineError, match=message):
            Decontaminate("items.jsonl", **params)
    with pytest.raises(PipelineError, match="no item has 8 words"):
        told(Decontaminate(write(tmp_path / "items.jsonl", [{"text": "so short"}])), "x")
