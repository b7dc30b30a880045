"""What operators say beforehand that they will ask, beside what they ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.llm import Answer, Asked, Llm, Prompt
from curate.protocols import Filter, FlatMapper, Mapper, Operator, Scorer
from curate.registry import OperatorSpec, build
from tests.operators.conftest import batch

LLM = {"model": "m", "endpoint": "http://127.0.0.1:9/v1", "temperature": 0.7}
LINE = "The harbour of a small town in the north was built of grey stone, and nobody knows when it was done."


@pytest.fixture
def docs() -> pa.RecordBatch:
    """Documents of one line to a hundred, 160 kB."""
    return batch(["\n".join(f"{n}-{i}: {LINE}" for i in range(n + 1)) for n in range(0, 100, 3)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Return where the prompts of a model go that answers without a word of use."""
    prompts: list[Prompt] = []

    def ask(self: Llm, given: Sequence[Prompt]) -> list[Answer]:
        prompts.extend(given)
        return [Answer("nothing", "stop") for _ in given]

    monkeypatch.setattr(Llm, "ask", ask)
    return prompts


def run(operator: Operator, docs: pa.RecordBatch) -> None:
    match operator:
        case Scorer():
            operator.score(docs)
        case Filter():
            operator.drop(docs)
        case FlatMapper():
            operator.expand(docs)
        case Mapper():
            operator.map(docs)


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("llm_judge", {}),
        ("llm_judge", {"votes": 5}),
        ("prox_document", {}),
        ("prox_chunk", {}),
        ("prox_annotate", {}),
        ("instruct_query", {}),
        ("rewrite", {}),
        ("rewrite", {"prompt_set": "nemotron_cc"}),
        ("rewrite", {"styles": {"medium": {"ratio": 0.5}, "qa": {}}}),
        ("rewrite", {"styles": {"medium": {"ratio": 0.2}, "qa": {"ratio": 0.6}}, "choose": "one"}),
    ],
)
def test_an_operator_knows_what_it_will_ask(docs: pa.RecordBatch, asked: list[Prompt], use: str, params: dict[str, Any]) -> None:
    operator = build(OperatorSpec(use, {"llm": LLM} | params))
    text_bytes = pc.sum(pc.binary_length(docs.column("text").cast(pa.large_binary()))).as_py()
    told = operator.asks(text_bytes, docs.num_rows)["llm"]
    run(operator, docs)
    assert told.prompts == pytest.approx(len(asked), rel=0.3)
    assert told.prompt_tokens == pytest.approx(sum(len(text) for prompt in asked for _, text in prompt.messages) / 4, rel=0.3)
    most = sum(prompt.max_tokens or 0 for prompt in asked)
    assert told.output_tokens == pytest.approx(most, rel=0.3)


SHORT, HUGE, TINY = "\n".join(["Menu", "a b"] * 400), f"{LINE} " * 400, "x"


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("prox_chunk", {}),
        ("prox_chunk", {"trained": True}),
        ("prox_chunk", {"release": True}),
        ("prox_annotate", {}),
        ("rewrite", {"prompt_set": "nemotron_cc"}),
        ("rewrite", {"styles": {"medium": {"ratio": 0}, "qa": {}}}),
        ("rewrite", {"styles": {"medium": {}, "qa": {"ratio": 0}}, "choose": "one"}),
    ],
)
@pytest.mark.parametrize("texts", [[SHORT], [HUGE], [TINY, "", " \n"], [HUGE, TINY, f"{HUGE}\n{SHORT}"]])
def test_an_operator_knows_exactly_what_it_will_ask_about_texts(
    asked: list[Prompt], texts: list[str], use: str, params: dict[str, Any]
) -> None:
    operator = build(OperatorSpec(use, {"llm": LLM} | params))
    told = operator.asks_about(texts)["llm"]
    run(operator, batch([*texts]))
    assert (told.prompts, told.output_tokens) == (len(asked), sum(prompt.max_tokens or 0 for prompt in asked))
    words = sum(len(text) for prompt in asked for _, text in prompt.messages)
    assert told.prompt_tokens == pytest.approx(words / 4, rel=0.02, abs=2 * len(asked))  # both parts of a prompt are rounded up


def test_an_estimate_is_corrected_by_a_sample() -> None:
    whole = Asked(1000, 50_000, 9000)
    assert whole.corrected(Asked(1, 300, 0), Asked(10, 200, 90)) == Asked(100, 75_000, 0)
    assert whole.corrected(Asked(), Asked()) == whole


def test_nothing_is_asked_about_nothing() -> None:
    for use in ("prox_document", "prox_chunk", "rewrite"):
        assert build(OperatorSpec(use, {"llm": LLM})).asks(0, 0) == {"llm": Asked()}


def test_an_answer_is_asked_for_with_a_source_of_unknown_length() -> None:
    operator = build(OperatorSpec("instruct_answer", {"llm": LLM}))
    assert operator.asks(100, 3) == {"llm": Asked(3, 3 * 2600, 3 * 900)}
