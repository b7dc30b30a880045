"""Good pipeline files: what they mean, overrides and variables, and the way back to YAML."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.executors.base import Resources
from curate.pipeline import Check, Input, Output, Pipeline, Stage, Step
from curate.pipeline_data import known_keys, to_data
from curate.pipeline_models import (
    CheckModel,
    InputModel,
    OutputModel,
    PipelineModel,
    ResourcesModel,
    StageModel,
    StepModel,
)
from curate.pipeline_validate import validate
from curate.pipeline_yaml import load_pipeline, parse_pipeline, to_yaml
from curate.yaml_tree import read_tree

FOLDER = Path(__file__).parent
FULL = FOLDER / "full.yaml"


def test_a_full_file_says_what_python_says() -> None:
    loaded = load_pipeline(FULL)
    scores = Stage(
        "text",
        operators=[Step("my_rules.py:Letters", into="letters"), Step("my_rules.py:Lang", {"model": "stage:model"}, into="lang")],
        resources=Resources(cpus=2, memory=2_000_000_000, gpus=0.5),
    )
    words = {"words": ["no", "on", "1:30", "2026-10-01x", "${plain}", "1e5", "~", "<<"], "weights": {"the": 1, "no": 0.5}}
    assert loaded.pipeline == Pipeline(
        name="full",
        inputs={
            "crawl": Input("raw/2026-40/*.warc.gz", format="warc", max_record_bytes=16 << 20),
            "pages": Input(["a/*.jsonl", "b/{dump}/*.jsonl"], id="key", text="body", limit=1000),
            "earlier": Input(artifact="indexes/2026-35"),
        },
        stages={
            "text": Stage(
                "crawl", operators=[Step("my_rules.py:FromHtml", name="extract")], max_errors=5, trace="documents", timeout_s=1.5
            ),
            "scores": scores,
            "again": dataclasses.replace(scores, emits="documents"),
            "dedup": Stage("text", use="my_rules.py:Marks", params={"similarity": 0.1}),
            "model": Stage("pages", use="my_rules.py:Train"),
            "corpus": Stage(
                ["text", "dedup", "scores"],
                operators=[Step("my_rules.py:AtLeast", {"column": "scores.lang.confidence"}), Step("my_rules.py:Words", words)],
                apply=["dedup"],
            ),
        },
        outputs={
            "corpus": Output("out/corpus", format="jsonl", shard_bytes=100_000_000),
            "second": Output("out/second", stage="again"),
        },
        checks={"better": Check("my_rules.py:Better", ["corpus", "text"], {"seeds": 5})},
        shard_bytes=512 << 20,
        report_by=["source", "dump"],
        folder=FOLDER,
    )
    assert loaded.text == FULL.read_text()


def test_a_full_file_is_valid() -> None:
    loaded = load_pipeline(FULL)
    built = validate(loaded.pipeline, loaded.positions)
    assert sorted(built.order) == sorted(loaded.pipeline.stages)
    place = {name: i for i, name in enumerate(built.order)}
    for before, after in [("text", "scores"), ("model", "scores"), ("text", "dedup"), ("dedup", "corpus"), ("scores", "corpus")]:
        assert place[before] < place[after]
    assert built.kinds == {
        "earlier": "artifact",
        "text": "documents",
        "scores": "attributes",
        "again": "documents",
        "dedup": "attributes",
        "model": "artifact",
        "corpus": "documents",
    }
    assert built.aligned == {"scores": "text", "dedup": "text"}
    assert [type(operator).__name__ for operator in built.operators["corpus"]] == ["AtLeast", "Words"]
    assert built.operators["corpus"][1].words[0] == "no"  # type: ignore[attr-defined]
    code = (FOLDER / "my_rules.py").read_text()
    assert set(built.codes) == {
        *[("text", 0), ("scores", 0), ("scores", 1), ("again", 0), ("again", 1)],
        *[("dedup", 0), ("model", 0), ("corpus", 0), ("corpus", 1), ("checks.better", 0)],
    }
    assert set(built.codes.values()) == {code}
    assert built.checks["better"].seeds == 5  # type: ignore[attr-defined]


def test_yaml_and_back() -> None:
    first = load_pipeline(FULL).pipeline
    text = to_yaml(first)
    second = parse_pipeline(text, "again.yaml", FOLDER).pipeline
    assert second == first
    assert to_yaml(second) == text


def test_written_yaml_is_readable() -> None:
    pipeline = Pipeline(
        "web",
        {"raw": Input("raw/*.jsonl")},
        {"clean": Stage("raw", operators=[Step("length", {"min_chars": 200})]), "corpus": Stage(("clean", "d"), apply=("d",))},
        {"corpus": Output("out", shard_bytes=1 << 30)},
    )
    assert to_yaml(pipeline) == (
        "name: web\ninputs:\n  raw:\n    path: raw/*.jsonl\nstages:\n  clean:\n    from: raw\n    operators:\n"
        "      - use: length\n        params:\n          min_chars: 200\n  corpus:\n    from: [clean, d]\n    apply: [d]\n"
        "outputs:\n  corpus:\n    path: out\n    shard_bytes: 1GiB\n"
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200)
@given(params=st.dictionaries(st.text(min_size=1), PLAIN, max_size=4), name=st.text(), size=st.integers(1, 2**63))
def test_any_parameters_survive_yaml(params: dict[str, object], name: str, size: int) -> None:
    step = Step("op", params, name=name)
    pipeline = Pipeline("p", {"raw": Input(name)}, {"s": Stage("raw", operators=[step])}, shard_bytes=size, folder=FOLDER)
    assert parse_pipeline(to_yaml(pipeline), "p.yaml", FOLDER).pipeline == pipeline


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("no", "no"), ("Yes", "Yes"), ("on", "on"), ("y", "y"), ("true", True), ("FALSE", False), ("tRUE", "tRUE")],
        *[("1e-5", 1e-5), ("1.", 1.0), (".5", 0.5), ("-.inf", float("-inf")), ("1:30", "1:30"), ("1_000", "1_000")],
        *[("012", 12), ("0o17", 15), ("0x1F", 31), ("+7", 7), ("2026-10-01", "2026-10-01"), ("=", "="), ("~", None), ("", None)],
        *[("'1'", "1"), ("null", None), ("nUll", "nUll"), ("1.2.3", "1.2.3"), ("!!str 5", "5"), ("!!int '5'", 5)],
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    data, _ = read_tree(f"key: {text}\n", "x.yaml")
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: [4, 5]}\nc:\n  <<: [*a, *b]\n  x: 6\n"
    data, positions = read_tree(text, "x.yaml")
    assert data["c"] == {"x": 6, "y": 2, "z": [4, 5]}
    assert [positions.mark(("c", key)).line for key in "xyz"] == [5, 1, 2]
    data["c"]["z"].append(7)
    assert data["b"]["z"] == [4, 5]


def test_positions_know_line_and_column() -> None:
    _, positions = read_tree("a:\n  - b: 1\n    c: |\n      text\n  - d\n", "x.yaml")
    marks = {place: (mark.line, mark.column) for place, mark in positions.marks.items()}
    assert marks == {("a",): (1, 1), ("a", 0): (2, 5), ("a", 0, "b"): (2, 5), ("a", 0, "c"): (3, 5), ("a", 1): (5, 5)}
    assert positions.where(("a", 0, "c", "deeper")) == "x.yaml:3"


@pytest.mark.parametrize(
    ("model", "cls"),
    [
        *[(PipelineModel, Pipeline), (InputModel, Input), (StageModel, Stage), (StepModel, Step)],
        *[(OutputModel, Output), (CheckModel, Check), (ResourcesModel, Resources)],
    ],
)
def test_the_file_has_the_keys_of_the_dataclasses(model: type, cls: type) -> None:
    names = {f.name.rstrip("_") for f in dataclasses.fields(cls)} - {"folder"}
    assert set(known_keys(model)) - {"vars"} == names


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("corpus.AtLeast.minimum=0.75", ("stages", "corpus", "operators", 0, "params", "minimum"), 0.75),
        ("corpus.Words.words=[a, b]", ("stages", "corpus", "operators", 1, "params", "words"), ["a", "b"]),
        ("corpus.Words.mode=", ("stages", "corpus", "operators", 1, "params", "mode"), None),
        ("dedup.similarity=0.5", ("stages", "dedup", "params", "similarity"), 0.5),
        ("model.classes=3", ("stages", "model", "params", "classes"), 3),
        ("vars.dump=2026", ("inputs", "crawl", "path"), "raw/2026/*.warc.gz"),
        ("inputs.crawl.limit=10", ("inputs", "crawl", "limit"), 10),
        ("inputs.crawl.path=x/${dump}", ("inputs", "crawl", "path"), "x/2026-40"),
        ("inputs.crawl.max_record_bytes=1MB", ("inputs", "crawl", "max_record_bytes"), "1MB"),
        ("outputs.corpus.path=/tmp/a=b", ("outputs", "corpus", "path"), "/tmp/a=b"),
        ("checks.better.seeds=9", ("checks", "better", "params", "seeds"), 9),
        ("dedup.resources.gpus=1", ("stages", "dedup", "resources", "gpus"), 1),
        ("corpus.resources.memory=2GB", ("stages", "corpus", "resources", "memory"), "2GB"),
    ],
)
def test_an_override_changes_one_value(override: str, place: tuple[str | int, ...], value: object) -> None:
    expected = to_data(load_pipeline(FULL).pipeline)
    spot = expected
    for part in place[:-1]:
        spot = spot[part] if isinstance(spot, list) else spot.setdefault(part, {})  # type: ignore[index]
    spot[place[-1]] = value
    assert to_data(load_pipeline(FULL, [override]).pipeline) == expected


def test_an_override_reaches_into_a_parameter_that_is_a_mapping() -> None:
    text = (
        "name: p\ninputs: {crawl: {path: x}}\nstages:\n"
        "  asked: {from: crawl, operators: [{use: rewrite, params: {llm: &llm {model: a, endpoint: e}}}]}\n"
        "  judged: {from: asked, operators: [{use: llm_judge, params: {llm: *llm}}]}\n"
        "  marked: {from: judged, use: minhash_dedup, params: {prefer: {column: x}}}\n"
        "checks: {gate: {use: expect, from: judged, params: {limits: {rows: 1}}}}\n"
    )
    sets = ["asked.rewrite.llm.model=b", "judged.llm_judge.llm.body.top_k=1", "marked.prefer.column=y", "checks.gate.limits.rows=2"]
    built = parse_pipeline(text, "p.yaml", FOLDER, sets).pipeline
    params = [step.params for stage in built.stages.values() for step in stage.operators]
    assert params == [
        {"llm": {"model": "b", "endpoint": "e"}},
        {"llm": {"model": "a", "endpoint": "e", "body": {"top_k": 1}}},
    ], "an alias is a copy"
    assert built.stages["marked"].params == {"prefer": {"column": "y"}} and built.checks["gate"].params == {"limits": {"rows": 2}}
    with pytest.raises(PipelineError, match="`endpoint` is not a mapping in the file"):
        parse_pipeline(text, "p.yaml", FOLDER, ["asked.rewrite.llm.endpoint.port=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dedup", "--set dedup: not an override\nhint: write STAGE.STEP.PARAM=VALUE, STAGE.PARAM=VALUE, vars.NAME=VALUE or "
                  "inputs.NAME.FIELD=VALUE"),
        ("dedupe.similarity=1", "--set dedupe.similarity=1: there is no stage `dedupe`\nhint: did you mean `dedup`?"),
        ("dedup.Marks.similarity=1", "--set dedup.Marks.similarity=1: stage `dedup` is a dataset operator and has no steps\n"
                                     "hint: write dedup.similarity=VALUE"),
        ("corpus.minimum=1", "--set corpus.minimum=1: stage `corpus` is a chain: name the step too\n"
                             "hint: write corpus.STEP.PARAM=VALUE; its steps are: AtLeast, Words"),
        ("corpus.Wodrs.mode=all", "--set corpus.Wodrs.mode=all: stage `corpus` has no step `Wodrs`\nhint: did you mean `Words`?"),
        ("inputs.craw.limit=1", "--set inputs.craw.limit=1: there is no input `craw`\nhint: did you mean `crawl`?"),
        ("inputs.crawl.limti=1", "--set inputs.crawl.limti=1: unknown key `limti` in input `crawl`\nhint: did you mean `limit`?"),
        ("inputs.crawl.limit=many", "--set inputs.crawl.limit=many: `limit` must be an integer, found the string `many`"),
        ("dedup.similarity=[", "--set dedup.similarity=[: the value is not valid YAML: what opens here is never closed\n"
                               "hint: quote it for YAML: NAME='\"text\"'"),
        ("dedup.similarty=0.5", "--set dedup.similarty=0.5: unknown parameter `similarty` of `my_rules.py:Marks`\n"
                                "hint: did you mean `similarity`?"),
        ("dedup.similarity=high", "--set dedup.similarity=high: `similarity` of `my_rules.py:Marks` must be a number, "
                                  "found the string `high`"),
        ("inputs.limit=1", "--set inputs.limit=1: not the name of something to set: inputs.limit\nhint: write STAGE.STEP.PARAM=VALUE, "
                           "STAGE.PARAM=VALUE, vars.NAME=VALUE or inputs.NAME.FIELD=VALUE"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_explained(override: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        loaded = load_pipeline(FULL, [override])
        validate(loaded.pipeline, loaded.positions)
    assert str(caught.value) == message


FRAGMENT_TEXTS = [
    "name: ", "inputs:", "stages:", "  ", "    ", "\n", "\n  ", "- ", "use: ", "from: ", "raw", "clean", "{", "}", "[", "]",
    "&a ", "*a", "<<: ", "!!int ", "? ", ": ", "|\n", ">\n", '"', "'", "#", "---\n", "path: x", "operators:", "params: ", "${x}",
    "$", "vars:", "\t", "1e5", "~", '"\\U00110000"', '"\\xZZ"', "%YAML 1.1\n", "%TAG ! x\n", "apply: ", "my_rules.py:Words",
    "a.py:B", ":", "..:x", "stage:x", "-0x", "0o9",
]  # fmt: skip
FRAGMENTS = st.sampled_from(FRAGMENT_TEXTS)


@settings(max_examples=600)
@given(text=st.lists(FRAGMENTS | st.text(max_size=3), max_size=30).map("".join))
def test_no_text_gives_anything_but_a_pipeline_error(text: str) -> None:
    check_only_pipeline_errors(text)


VALID = FULL.read_text().splitlines(keepends=True)


@settings(max_examples=250)
@given(line=st.integers(0, len(VALID) - 1), column=st.integers(0, 40), insert=FRAGMENTS | st.just(""), cut=st.integers(0, 6))
def test_no_damage_to_a_good_file_gives_anything_but_a_pipeline_error(line: int, column: int, insert: str, cut: int) -> None:
    damaged = list(VALID)
    damaged[line] = damaged[line][:column] + insert + damaged[line][column + cut :]
    check_only_pipeline_errors("".join(damaged))


def check_only_pipeline_errors(text: str) -> None:
    try:
        loaded = parse_pipeline(text, "p.yaml", FOLDER, ["clean.x.y=1"])
        validate(loaded.pipeline, loaded.positions)
    except PipelineError as error:
        assert error.message.startswith(("p.yaml:", "--set "))
