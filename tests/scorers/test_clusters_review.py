"""Rules, verdicts and reviews of clusters: what they decide, that no edit is lost, and that every mistake has its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.clusters_cards import NUMBERS, Card, Cards
from curate.clusters_decisions import Decision, Opinion, decide, described, read_opinions, write_opinions
from curate.clusters_review import read_review, write_review
from curate.clusters_rule import names, parse, split
from curate.errors import PipelineError

ESCAPE = "\x1b[31m\u202e"


def card(number: int, documents: int, similarity: float | None, repetition: float | None, opening: str = "Opening.") -> Card:
    """Return a card of which only this is known."""
    example = {"id": f"d{number}", "distance": 0.5, "url": None, "opening": opening}
    return dict.fromkeys(NUMBERS) | {
        "cluster": number,
        "documents": documents,
        "characters": 10 * documents,
        "share": documents / 100,
        "pairwise_similarity": similarity,
        "line_repetition": repetition,
        "words": [{"word": f"word{number}", "count": 3, "weight": 0.1}],
        "nearest": [example],
        "farthest": [],
        "scores": {"quality": documents / 50},
        "place": [0, 0],
    }


CARDS = Cards(
    "00ff00ff00ff00ff",
    100,
    3,
    ["quality"],
    [card(0, 50, 0.95, 0.1), card(2, 30, 0.2, 0.7), card(3, 19, 0.2, 0.1, f"# {ESCAPE}\n  17:\n'\""), card(11, 1, None, None)],
)
RULE = "pairwise_similarity > 0.9 or line_repetition > 0.5"


def suggested(rule: str = RULE) -> dict[int, Decision]:
    return decide(CARDS, {}, {}, parse(rule).reasons(CARDS))


@pytest.fixture
def review(tmp_path: Path) -> Path:
    path = tmp_path / "review.yaml"
    assert write_review(path, CARDS, suggested()) == 0
    return path


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))


def put(cluster: int, *lines: str) -> Callable[[str], str]:
    """Return an edit that writes lines in the place of an entry's."""
    body = "\n".join(lines)
    return lambda text: re.sub(rf"\n  {cluster}:\n    decision:\n    reason:", lambda _: f"\n  {cluster}:\n{body}", text)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RULE, {0: "pairwise_similarity > 0.9", 2: "line_repetition > 0.5"}),
        ("(pairwise_similarity > 0.9 or line_repetition > 0.5)", {0: "(pairwise_similarity > 0.9 or line_repetition > 0.5)"}),
        ("documents < 20 and quality > 0.3 or cluster = 0", {0: "cluster = 0", 3: "documents < 20 and quality > 0.3"}),
        ("share between 0.1 and 0.2 or documents = 1", {3: "share between 0.1 and 0.2", 11: "documents = 1"}),
        ("not pairwise_similarity > 0.3", {2: "not pairwise_similarity > 0.3", 3: "not pairwise_similarity > 0.3"}),
        ("pairwise_similarity is null", {11: "pairwise_similarity is null"}),
        ("case when documents > 40 or documents < 2 then true else false end and documents < 50", {11: None}),
        ("documents > 1000", {}),
    ],
)
def test_a_rule_names_the_part_that_is_true(rule: str, expected: dict[int, str | None]) -> None:
    found = parse(rule).reasons(CARDS)
    whole = " ".join(rule.split())
    if "(" in rule:
        expected |= {2: whole}
    assert found == {cluster: reason or whole for cluster, reason in expected.items()}


@pytest.mark.parametrize(
    ("rule", "place", "what"),
    [
        ("documents > 3 or line_repetition >", 18, "cannot read"),
        ("documents > 3 or", 16, "a condition is missing here"),
        ("documents > 3 and  share ==== 2", 20, "cannot read"),
        ("line_repetition > 0.5 or pairwise_similarty > 0.9", 26, "cards have no number `pairwise_similarty`"),
        ("documents > 3 or mean(share) > 2", 18, "unsupported function"),
    ],
)
def test_a_bad_rule_is_told_with_its_place(rule: str, place: int, what: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(rule).reasons(CARDS)
    assert f"rule `{rule}`, character {place}: " in caught.value.message and what in caught.value.message
    assert caught.value.hint


def test_rules_that_compare_nothing_or_other_types_are_refused() -> None:
    for rule in ("1 > 0", "documents + 1", "length(documents) > 3"):
        with pytest.raises(PipelineError):
            parse(rule).reasons(CARDS)
    with pytest.raises(PipelineError) as caught:
        parse("pairwise_similarty > 0.9").reasons(CARDS)
    assert caught.value.hint == "did you mean `pairwise_similarity`?"
    assert "line_repetition" in names()


@given(st.lists(st.sampled_from(["a", "or", "and", "(", ")", "between", "case", "end", "' or '", " "]), max_size=12))
def test_pieces_of_a_condition_lie_where_they_are_said_to(tokens: list[str]) -> None:
    text = " ".join(tokens)
    for word in ("or", "and"):
        pieces = list(split(text, word))
        assert all(text[place : place + len(piece)] == piece for place, piece in pieces)
        assert len(text) == sum(len(piece) for _, piece in pieces) + len(word) * (len(pieces) - 1)


def test_a_person_counts_before_a_model_and_that_before_a_rule() -> None:
    reviewed, opinions = {0: Decision(True, "poems", "review")}, {0: Opinion("drop"), 2: Opinion("drop", "menus"), 3: Opinion("keep")}
    found = decide(CARDS, reviewed, opinions, {0: "a", 2: "b", 3: "c", 11: "d"})
    assert found == {
        0: Decision(True, "poems", "review"),
        2: Decision(False, "menus", "verdicts"),
        3: Decision(True, None, "verdicts"),
        11: Decision(False, "d", "rule"),
    }
    assert decide(CARDS, {}, {}, {}) == dict.fromkeys(CARDS.numbers, Decision(True, None, None))


def test_a_review_shows_what_there_is_to_decide(review: Path) -> None:
    text = review.read_text()
    assert text.index("\n  0:") < text.index("\n  2:") < text.index("\n  3:") < text.index("\n  11:")
    assert "#| cluster 0: 50 documents, 50.0%, 500 characters\n  #| suggested: drop, pairwise_similarity > 0.9\n" in text
    assert "#| suggested: keep\n" in text and "#| words: word2" in text and "#| nearest: 0.5 d0: Opening." in text
    assert "\x1b" not in text and "\u202e" not in text
    assert read_review(review, CARDS).decisions == {}


def test_decisions_are_read_and_survive_writing_again(review: Path) -> None:
    edit(
        review,
        put(
            0,
            "    # they are poems",
            "    decision: keep   # mine",
            "    reason: 'poems: # short'",
            "    note: |",
            "      two",
            "      lines",
        ),
    )
    edit(review, put(2, "    decision: drop", '    reason: "menus"'))
    edit(review, lambda text: text.replace("clusters:\n", "# by hand\nclusters:\n"))
    decisions = {0: Decision(True, "poems: # short", "review"), 2: Decision(False, "menus", "review")}
    assert read_review(review, CARDS).decisions == decisions
    before = review.read_text()
    assert write_review(review, CARDS, suggested("line_repetition > 0.5 or documents = 1")) == 2
    after = review.read_text()
    own = [line for line in before.splitlines() if not line.lstrip().startswith("#|")]
    assert [line for line in after.splitlines() if not line.lstrip().startswith("#|")] == own
    assert "#| cluster 11: 1 document, 1.0%, 10 characters\n  #| suggested: drop, documents = 1" in after
    assert "pairwise_similarity > 0.9" not in after
    assert read_review(review, CARDS).decisions == decisions
    assert write_review(review, CARDS, suggested("line_repetition > 0.5 or documents = 1")) == 2 and review.read_text() == after


def test_entries_in_braces_and_removed_ones(review: Path) -> None:
    edit(review, lambda text: re.sub(r"\n  2:\n    decision:\n    reason:", "\n  2: {decision: drop, reason: menus} # short", text))
    edit(review, lambda text: re.sub(r"\n  11:\n    decision:\n    reason:", "", text))
    write_review(review, CARDS, suggested())
    text = review.read_text()
    assert "\n  2: {decision: drop, reason: menus} # short\n" in text and text.endswith("\n  11:\n    decision:\n    reason:\n")
    assert read_review(review, CARDS).decisions == {2: Decision(False, "menus", "review")}


lines = st.sampled_from(
    [
        "    decision: keep",
        "    decision: drop # why",
        "    reason: x",
        "    note: '#| y'",
        "    # own",
        "  #| stale",
        "",
        "    reason: |",
        "      #| z",
        "      t",
    ]
)


@settings(max_examples=40)
@given(st.lists(lines, max_size=5), st.lists(lines, max_size=5))
def test_whatever_a_person_writes_it_is_kept_or_the_file_is_left_alone(
    tmp_path_factory: pytest.TempPathFactory, one: list[str], two: list[str]
) -> None:
    path = tmp_path_factory.mktemp("edits") / "review.yaml"
    write_review(path, CARDS, suggested())
    path.write_text(put(2, *two)(put(0, *one)(path.read_text())))
    before = path.read_text()
    try:
        entries = read_review(path, CARDS).entries
        write_review(path, CARDS, suggested("documents > 3"))
    except PipelineError:
        assert path.read_text() == before
        return
    again = read_review(path, CARDS).entries
    assert {name: again[name] for name in entries} == entries
    assert {line for line in before.splitlines() if "#|" not in line} <= set(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("change", "line", "message", "hint"),
    [
        (put(2, "    decision: dorp"), "    decision: dorp", "cluster 2: a decision is `keep` or `drop`, not the string `dorp`", "did you mean `drop`?"),
        (put(2, "    decision: no"), "    decision: no", "not the string `no`", "write `keep` or `drop`"),
        (put(2, "    decison: drop"), "    decison: drop", "unknown key `decison`", "did you mean `decision`?"),
        (put(2, "    reason: bad"), "    reason: bad", "a reason, and no decision", "note:"),
        (put(2, "    decision: drop", "    reason: [a]"), "    reason: [a]", "a reason is a text, not a list", "quotes"),
        (lambda text: text.replace("\n  11:", "\n  12:"), "  12:", "no cluster `12`", "there are 4 clusters"),
        (lambda text: text.replace("\n  11:", "\n  eleven:"), "  eleven:", "no cluster `eleven`", "there are 4 clusters, from 0 to 11"),
        (lambda text: text.replace("\n  11:", "\n  011:"), "  011:", "no cluster `011`", "there are 4 clusters"),
        (lambda text: text.replace("\n  11:", "\n  2:"), "  2:", "key `2` stands here again", ""),
        (lambda text: text.replace("format: 1", "format: 2"), "format: 2", "format the number 2, not 1", "curate clusters review"),
        (lambda text: text.replace("00ff00ff00ff00ff", "1111000011110000"), "clustering:", "decisions of the clustering 1111000011110000", "decide anew"),
        (put(2, "   : : decision"), "   : : decision", "", ""),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(review: Path, change: Callable[[str], str], line: str, message: str, hint: str) -> None:
    edit(review, change)
    before = review.read_text()
    numbers = [number for number, text in enumerate(before.splitlines(), 1) if text.startswith(line)]
    for call in (lambda: read_review(review, CARDS), lambda: write_review(review, CARDS, suggested())):
        with pytest.raises(PipelineError) as caught:
            call()
        assert caught.value.message.startswith(f"{review}:{numbers[-1]}: ") and message in caught.value.message, caught.value
        assert hint in (caught.value.hint or "")
    assert review.read_text() == before


def test_several_mistakes_are_told_at_once(review: Path) -> None:
    edit(review, lambda text: put(0, "    decision: kep")(put(2, "    decision: dorp")(text)))
    with pytest.raises(PipelineError) as caught:
        read_review(review, CARDS)
    assert "did you mean `keep`?" in caught.value.message and "did you mean `drop`?" in caught.value.message


def test_verdicts_are_asked_for_once_and_read_back(tmp_path: Path) -> None:
    asked = []

    def judge(card: Card) -> Opinion:
        asked.append(card["cluster"])
        if card["cluster"] == 3 and asked.count(3) == 1:
            raise ConnectionError("the model is gone")
        return Opinion("drop", " navigation\n bars ") if "word2" in described(card) else Opinion("keep")

    path = tmp_path / "verdicts.jsonl"
    with pytest.raises(ConnectionError):
        write_opinions(CARDS, judge, path)
    assert write_opinions(CARDS, judge, path) == 2 and asked == [0, 2, 3, 3, 11]
    found = read_opinions(path, CARDS)
    assert found == {0: Opinion("keep"), 2: Opinion("drop", "navigation bars"), 3: Opinion("keep"), 11: Opinion("keep")}
    path.write_bytes(path.read_bytes() + b'{"clustering": "00ff00ff00ff00ff", "cluster": 0, "decision": "drop"}\n')
    assert read_opinions(path, CARDS)[0] == Opinion("drop")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "a list instead of an object"),
        ('{"cluster": 0, "decision": "keep"}', "decisions of no clustering"),
        ('{"clustering": "00ff00ff00ff00ff", "cluster": 1, "decision": "keep"}', "no cluster has that number"),
        ('{"clustering": "00ff00ff00ff00ff", "cluster": 0, "decision": "kepe"}', "`keep` or `drop`, not the string `kepe`"),
        ('{"clustering": "00ff00ff00ff00ff", "cluster": 0, "decision": "keep", "reason": 3}', "a reason is a text, not the number 3"),
    ],
)
def test_bad_verdicts_are_told_with_their_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(f'{{"clustering": "00ff00ff00ff00ff", "cluster": 0, "decision": "keep"}}\n\n{line}\n')
    with pytest.raises(PipelineError) as caught:
        read_opinions(path, CARDS)
    assert caught.value.message.startswith(f"{path}:3: ") and message in caught.value.message
