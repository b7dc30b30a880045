"""Pipelines built in Python get the same checks, with places in words."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.check import check_columns, warnings
from curate.errors import PipelineError
from curate.pipeline import Check, Input, Output, Pipeline, Stage, Step
from curate.pipeline_graph import ordered, references
from curate.pipeline_validate import validate

FOLDER = Path(__file__).parent
RAW = {"raw": Input("raw/*.jsonl")}
DIGITS = Step("my_rules.py:DigitRatio")


def pipeline(stages: dict[str, Stage]) -> Pipeline:
    return Pipeline("demo", RAW, stages, folder=FOLDER)


def test_a_good_one() -> None:
    built = validate(pipeline({"clean": Stage("raw", operators=[DIGITS]), "marks": Stage("clean", use="my_rules.py:Marks")}))
    assert built.order == ["clean", "marks"]
    assert built.kinds == {"clean": "documents", "marks": "attributes"}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"clean": Stage("rwa", operators=[DIGITS])}, "stage clean: unknown input or stage `rwa`\nhint: did you mean `raw`?"),
        ({"clean": Stage("raw", operators=[DIGITS, Step("my_rules.py:Words", {"words": "the"})])},
         "stage clean, step 2 (Words): `words` of `my_rules.py:Words` must be a list of strings, found the string `the`\n"
         "hint: write `[the]`"),
        ({"clean": Stage("raw", operators=[Step("lenght", name="short")])},
         "stage clean, step 1 (short): unknown operator `lenght`\nhint: did you mean `length`?"),
        ({"clean": Stage("raw", operators=[Step("my_rules.py:Words", {"words": [Path("x")]})])},
         "stage clean, step 1 (Words): `words` of `my_rules.py:Words` must be plain data, found a list"),
        ({"clean": Stage("raw", operators=[DIGITS], max_errors=-1)}, "stage clean: `max_errors` must be at least 0, found the number -1"),
        ({"clean": Stage("raw", operators=[DIGITS], emits="attribute")},  # type: ignore[arg-type]
         "stage clean: `emits` must be `documents`, `attributes` or `artifact`, found the string `attribute`\n"
         "hint: did you mean `attributes`?"),
        ({"a": Stage("b", operators=[DIGITS]), "b": Stage("a", operators=[DIGITS])},
         "stage a: stages read each other in a circle: a → b → a\nhint: one of them must read something else"),
        ({}, "pipeline demo: `stages` must not be empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_in_words(stages: dict[str, Stage], message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        validate(pipeline(stages))
    assert str(caught.value) == message


def test_outputs_and_checks_are_named() -> None:
    stages = {"clean": Stage("raw", operators=[DIGITS])}
    wrong = Pipeline("demo", RAW, stages, {"corpus": Output("out")}, {"ok": Check("my_rules.py:Better", "claen")}, folder=FOLDER)
    with pytest.raises(PipelineError) as caught:
        validate(wrong)
    assert (
        caught.value.message
        == "output corpus: unknown stage `corpus` (there are: clean)\ncheck ok: unknown stage `claen` (did you mean `clean`?)"
    )


def test_columns_and_warnings_are_told_in_words() -> None:
    stages = {"clean": Stage("raw", operators=[Step("my_rules.py:FromHtml"), DIGITS])}
    built = validate(pipeline(stages))
    assert warnings(pipeline(stages), built)[0].startswith("stage clean, step 2 (DigitRatio): a change to the cheap")
    with pytest.raises(PipelineError, match=r"^stage clean, step 1 \(FromHtml\): `my_rules.py:FromHtml` reads the column `html`"):
        check_columns(pipeline(stages), built, {"raw": pa.schema([("id", pa.string())])})


def test_references_are_found_wherever_they_stand() -> None:
    steps = [Step("a", {"model": "stage:one", "more": {"x": ["stage:two", "stage", "xstage:no"]}}), Step("b", {"y": ("stage:three",)})]
    assert references(Stage("raw", operators=steps)) == {"one", "two", "three"}
    assert references(Check("c", "raw", {"z": "stage:four"})) == {"four"}


def test_order_follows_sources_and_references() -> None:
    stages = {
        "last": Stage(["middle", "marks"], apply=["marks"]),
        "marks": Stage("middle", use="my_rules.py:Marks"),
        "middle": Stage("raw", operators=[Step("my_rules.py:Lang", {"model": "stage:model"})], emits="documents"),
        "model": Stage("raw", use="my_rules.py:Train"),
    }
    assert ordered(pipeline(stages)) == ["model", "middle", "marks", "last"]
    with pytest.raises(PipelineError, match="pipeline demo: stage `a` reads itself"):
        ordered(pipeline({"a": Stage("a", operators=[DIGITS])}))
