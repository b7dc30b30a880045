"""The JSON Schema for editors agrees with what the loader takes and refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from curate.registry import find, packs
from curate.schema import describe, describe_text, json_schema

FOLDER = Path(__file__).parent
VALIDATOR = jsonschema.Draft202012Validator


def test_it_is_valid_draft_2020_12() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    VALIDATOR.check_schema(schema)


def test_it_takes_the_full_file() -> None:
    VALIDATOR(json_schema()).validate(yaml.safe_load((FOLDER / "full.yaml").read_text().replace("2026-10-01x", "x")))


def pipeline(**stage: Any) -> dict[str, Any]:
    return {"name": "x", "inputs": {"raw": {"path": "x"}}, "stages": {"clean": {"from": "raw"} | stage}}


@pytest.mark.parametrize(
    "good",
    [
        pipeline(operators=[{"use": "length", "params": {"min_chars": 200}}]),
        pipeline(operators=[{"use": "length", "params": {"min_chars": None}, "name": "short"}]),
        pipeline(operators=[{"use": "mine.py:Own", "params": {"anything": [1, {"x": 2}]}}]),
        pipeline(use="mine.py:Own", params={"x": 1}, resources={"memory": "2GB"}),
        pipeline(apply=["x"]),
        pipeline(use="mine.py:Own") | {"inputs": {"raw": {"path": "x"}, "last": {"artifact": "y"}, "none": {"artifact": ""}}},
    ],
)
def test_it_takes_good_pipelines(good: dict[str, Any]) -> None:
    VALIDATOR(json_schema()).validate(good)


@pytest.mark.parametrize(
    "bad",
    [
        pipeline(operators=[{"use": "lenght"}]),
        pipeline(operators=[{"use": "length", "params": {"min_char": 200}}]),
        pipeline(operators=[{"use": "length", "params": {"min_chars": "200"}}]),
        pipeline(operators=[{"use": "length", "min_chars": 200}]),
        pipeline(operators=[{"params": {}}]),
        pipeline(use="length"),
        pipeline(operators=[{"use": "mine.py:Own"}], use="mine.py:Own"),
        pipeline(resources={"memory": "2GB"}),
        pipeline(use="mine.py:Own", resources={"memory": "2G"}),
        pipeline(use="mine.py:Own") | {"stage": {}},
        pipeline(use="mine.py:Own") | {"inputs": {"raw": {"format": "jsonl"}}},
        pipeline(use="mine.py:Own") | {"inputs": {"raw": {"path": "x", "artifact": "y"}}},
        pipeline(use="mine.py:Own") | {"inputs": {"raw": {"artifact": "y", "text": "body"}}},
        pipeline(use="mine.py:Own") | {"outputs": {"a-b": {"path": "x"}}},
    ],
)
def test_it_refuses_bad_pipelines(bad: dict[str, Any]) -> None:
    assert not VALIDATOR(json_schema()).is_valid(bad)


def test_every_installed_operator_is_offered_with_its_parameters() -> None:
    definitions = json_schema()["$defs"]
    offered = {a["title"] for a in definitions["StepModel"]["oneOf"] if "title" in a}
    for model in ("StageModel", "CheckModel"):
        offered |= {name for choice in definitions[model]["properties"]["use"]["anyOf"] for name in choice.get("enum", [])}
    assert offered == set(packs())
    length = next(a for a in definitions["StepModel"]["oneOf"] if a.get("title") == "length")
    assert length["properties"]["params"]["properties"]["min_chars"]["default"] is None
    assert length["properties"]["use"]["description"].startswith("Drops documents")


def test_describe() -> None:
    about = describe(find("my_rules.py:Words", FOLDER)[0], "my_rules.py:Words")
    assert about["verb"] == "Filter"
    assert about["summary"] == "Drops documents without certain words."
    assert about["parameters"][:3] == [
        {"name": "words", "type": "a list of strings", "required": True, "default": None},
        {"name": "mode", "type": "one of `any`, `all`", "required": False, "default": "any"},
        {"name": "min_hits", "type": "an integer", "required": False, "default": 1},
    ]
    assert about["reads"] is None
    assert describe(find("my_rules.py:FromHtml", FOLDER)[0])["adds"] == {"text": "large_string"}
    assert describe(find("my_rules.py:Marks", FOLDER)[0])["emits"] == "attributes"


@pytest.mark.parametrize("use", sorted(packs()))
def test_every_installed_operator_is_described(use: str) -> None:
    cls = find(use)[0]
    text = describe_text(cls, use)
    assert text.startswith(f"{use}  ")
    assert describe(cls, use)["summary"]
    for parameter in describe(cls, use)["parameters"]:
        assert re.search(rf"^  {parameter['name']} +\S", text, flags=re.MULTILINE)


def test_checking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from curate.pipeline_yaml import load_pipeline; from curate.pipeline_validate import validate\n"
        "from curate.check import check_columns\n"
        f"loaded = load_pipeline({str(FOLDER / 'full.yaml')!r}); built = validate(loaded.pipeline, loaded.positions)\n"
        "check_columns(loaded.pipeline, built, {}, loaded.positions)\n"
        "print([m for m in ('ray', 'torch', 'numba', 'vllm', 'polars', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
