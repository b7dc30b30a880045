"""The answers that a workspace keeps: found again whoever wrote them, whatever became of the writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.llm import Answer, Prompt
from curate.llm.answers import Answers, key_of
from curate.storage import LocalStorage

MODEL = {"model": "small", "temperature": 0}
KEYS = [key_of(Prompt.user(f"prompt {n}"), 8) for n in range(50)]


def answers(folder: Path, model: object = MODEL) -> Answers:
    return Answers(LocalStorage(folder), model)


def kept(folder: Path, numbers: range) -> None:
    """Write answers as one attempt that ended well."""
    part = answers(folder)
    for number in numbers:
        part.keep(KEYS[number], Answer(f"answer {number}\n", "stop", number, 2 * number))
    part.close()


def test_answers_of_several_attempts_are_found_and_no_others(tmp_path: Path) -> None:
    kept(tmp_path, range(20))
    kept(tmp_path, range(10, 30))
    found = answers(tmp_path).find(KEYS)
    assert found == {KEYS[n]: Answer(f"answer {n}\n", "stop", n, 2 * n, cached=True) for n in range(30)}
    assert answers(tmp_path, MODEL | {"temperature": 1}).find(KEYS) == {}
    assert answers(tmp_path / "elsewhere").find(KEYS) == {}


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_a_kill_left_half_is_no_answer(tmp_path: Path, cut: int) -> None:
    kept(tmp_path, range(5))
    (part,) = tmp_path.rglob("*.jsonl")
    part.write_bytes(part.read_bytes()[:-cut])
    assert sorted(answers(tmp_path).find(KEYS)) == sorted(KEYS[:4])
    part.write_bytes(part.read_bytes()[:5])  # not even the first
    assert answers(tmp_path).find(KEYS) == {}


@pytest.mark.parametrize("damage", [b"\n", b"garbage\n", b"\0" * 90 + b"\n", b'{"key":"not hexadecimal digits, but long enough"}\n'])
def test_damaged_lines_are_no_answers_and_spoil_no_other(tmp_path: Path, damage: bytes) -> None:
    kept(tmp_path, range(5))
    (part,) = tmp_path.rglob("*.jsonl")
    lines = part.read_bytes().splitlines(keepends=True)
    altered = lines[3].replace(b"answer 3", b"answer 8")
    part.write_bytes(b"".join([damage, *lines[:2], damage, lines[2], altered, lines[4][:-9] + b"\n", damage]))
    found = answers(tmp_path).find(KEYS)
    assert {key: answer.text for key, answer in found.items()} == {KEYS[n]: f"answer {n}\n" for n in range(3)}


def test_what_another_worker_wrote_meanwhile_is_found_at_the_next_shard(tmp_path: Path) -> None:
    ours = answers(tmp_path)
    assert ours.find(KEYS[:3]) == {}
    theirs = answers(tmp_path)
    theirs.keep(KEYS[0], Answer("theirs", "stop"))
    assert ours.find(KEYS[:3]) == {}
    ours.close()
    assert ours.find(KEYS[:3])[KEYS[0]].text == "theirs"
    theirs.keep(KEYS[1], Answer("more", "length"))  # the same part has grown
    ours.close()
    assert {key: answer.finish for key, answer in ours.find(KEYS[:3]).items()} == {KEYS[0]: "stop", KEYS[1]: "length"}
    theirs.close()


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    twin = KEYS[0][:16] + "0" * 16
    part = answers(tmp_path)
    part.keep(twin, Answer("the twin's", "stop"))
    part.keep(KEYS[0], Answer("its own", "stop"))
    part.close()
    found = answers(tmp_path).find([KEYS[0], twin, KEYS[0][:16] + "1" * 16])
    assert {key: answer.text for key, answer in found.items()} == {KEYS[0]: "its own", twin: "the twin's"}


def test_whatever_changes_a_prompt_changes_its_key() -> None:
    prompts = [
        Prompt.user("x"),
        Prompt.user("y"),
        Prompt.user("x", system=""),
        Prompt((("assistant", "x"),)),
        Prompt.user("x", max_tokens=9),
        Prompt((("user", "x"),), stop=("x",)),
        Prompt((("user", "x"),), schema={}),
        Prompt((("user", "x"),), schema={"type": "object"}),
        Prompt((("user", "x"),), sample=1),
    ]
    assert len({key_of(prompt, 8) for prompt in prompts}) == len(prompts)
    assert key_of(Prompt.user("x"), 8) == key_of(Prompt.user("x", max_tokens=8), 9)
