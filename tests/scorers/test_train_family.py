"""`train_family` in a pipeline: its order, who reads the models, what is held back, kills, stores, and mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from curate.dataset import Dataset
from curate.errors import CurateError, DatasetError, PipelineError
from curate.executors.local import LocalExecutor
from curate.files import local_file, local_folder
from curate.launch import plan_for
from curate.pipeline import Input, Output, Pipeline, Stage, Step
from curate.run import Run
from curate.storage import open_storage
from curate.testing import check_operator
from curate_scorers.train_family import TrainFamily
from curate_scorers.train_family_phases import OTHERS, grouped
from tests.engine import small
from tests.s3_server import S3Server
from tests.scorers.test_model_family import sentences

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from curate_scorers.make_model_family_training import Recipe

KINDS = ("trees", "metals")
FAST: Mapping[str, Any] = {"width": 32, "layers": 1, "vocabulary": 300, "window": 64, "tokens": 60_000, "members": 3, "by": "kind"}
SHORT = FAST | {"tokens": 4000}
ROWS = [{"id": f"{kind}-{i}", "text": text, "kind": kind} for kind in KINDS for i, text in enumerate(sentences(kind, 100, 1))]
TARGET = [{"id": f"t{i}", "text": text} for i, text in enumerate(sentences("metals", 20, 2))]


pytestmark = pytest.mark.usefixtures("one_thread")


def pipeline(
    folder: Path, rows: Sequence[Mapping[str, Any]] = ROWS, target: Sequence[Mapping[str, Any]] = TARGET, **params: Any
) -> Pipeline:
    """Return a pipeline that makes a family, measures the text by each model, and finds which documents foretell their order."""
    text, aim = small.write_jsonl(folder / "text.jsonl", rows), small.write_jsonl(folder / "aim.jsonl", target)
    members = params.get("members", 3)
    losses = [Step("lm_loss", {"model": f"stage:family/{rank}"}, name=f"m{rank}", into=f"m{rank}") for rank in range(1, members + 1)]
    told = {"losses": [f"losses.m{rank}.bits_per_byte" for rank in range(1, members + 1)], "family": "stage:family/family.json"}
    stages = {
        "family": Stage(("text", "aim"), use="train_family", params=params),
        "losses": Stage("text", losses),
        "strengths": Stage(("text", "losses"), [Step("predictive_strength", told, into="strength")]),
    }
    return small.pipeline(text, stages, inputs={"text": Input(str(text)), "aim": Input(str(aim))})


def family_alone(folder: Path, *args: Any, **params: Any) -> Pipeline:
    made = pipeline(folder, *args, **params)
    return dataclasses.replace(made, stages={"family": made.stages["family"]})


def weights(dataset: Dataset) -> dict[str, bytes]:
    """Return the bytes of all files that an artifact keeps."""
    return {file.name: local_file(f"{dataset.url}/{file.name}").read_bytes() for file in dataset.manifest.files}


def notes(dataset: Dataset) -> dict[str, Any]:
    return {note["name"]: note for note in dataset.manifest.notes}


@pytest.fixture(scope="module")
def made(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("family")
    planned, _ = small.run(pipeline(folder, **FAST), folder / "ws")
    return {name: planned.dataset(name) for name in planned.stages}


def test_models_stand_in_the_order_of_their_scores(made: dict[str, Dataset]) -> None:
    rows, family = small.rows(made["family"]), orjson.loads(Path(made["family"].url, "family.json").read_bytes())
    assert [row["id"] for row in rows] == [str(row["rank"]) for row in rows] == ["1", "2", "3"]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores) == [model["scores"]["aim"] for model in family["models"]] and len(set(scores)) == 3
    shares = [model["mixture"]["metals"] for model in family["models"]]
    assert shares == sorted(shares), "who read more of metals knows more of metals"
    assert sum(family["strengths"].values()) == 10, "a twentieth of each group is held out"
    for rank in "123":
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in Path(made["family"].url, rank).iterdir()}
    assert made["family"].manifest.about["models"] == family["models"]


def test_documents_like_the_target_are_those_that_foretell(made: dict[str, Dataset]) -> None:
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for row in small.rows(made["strengths"]):
        found[row["id"].partition("-")[0]].append(row["strength"]["score"])
    assert np.mean(found["metals"]) > 0.8 > 0.3 > np.mean(found["trees"])


def test_notes_tell_scores_and_strengths(made: dict[str, Dataset]) -> None:
    told = notes(made["family"])
    assert "3 models on mixtures of 2 groups" in told["family"]["message"] and set(told["family"]["measures"]) == {"1", "2", "3"}
    assert told["text"]["measures"]["trees"]["documents"] == 95
    assert told["strengths"]["passed"] and "10 held-out documents" in told["strengths"]["message"]
    assert not told["epochs"]["passed"] and "times" in told["epochs"]["message"]


def test_a_family_that_tells_nothing_apart_is_warned_of(tmp_path: Path) -> None:
    planned, _ = small.run(family_alone(tmp_path, **FAST | {"vary": "tokens", "by": None, "members": 2, "tokens": 20_000}), tmp_path / "ws")
    told = notes(planned.dataset("family"))["strengths"]
    assert not told["passed"] and "10 have the predictive strength 1.0: these models tell hardly any apart" in told["message"]
    assert [row["tokens"] for row in small.rows(planned.dataset("family"))] == [9216, 19456]


def test_texts_of_the_target_are_not_trained_on(tmp_path: Path) -> None:
    stolen = [{"id": f"s{i}", "text": row["text"], "kind": "metals"} for i, row in enumerate(TARGET)]
    planned, _ = small.run(family_alone(tmp_path / "a", [*ROWS, *stolen], **SHORT), tmp_path / "ws")
    found = planned.dataset("family")
    assert found.manifest.about["groups"]["metals"]["documents"] == 95
    assert "20 left out" in notes(found)["text"]["message"]


def test_a_target_unlike_the_text_is_measured_all_the_same(tmp_path: Path) -> None:
    planned, _ = small.run(family_alone(tmp_path, ROWS, [{"id": "t", "text": "港は静かだ"}], **SHORT), tmp_path / "ws")
    assert [row["rank"] for row in small.rows(planned.dataset("family"))] == [1, 2, 3]


def test_several_targets(tmp_path: Path) -> None:
    aims = [{"id": f"{kind}{i}", "text": text, "of": kind} for kind in KINDS for i, text in enumerate(sentences(kind, 5, 4))]
    planned, _ = small.run(family_alone(tmp_path, ROWS, aims, **SHORT, target_by="of"), tmp_path / "ws")
    model = planned.dataset("family").manifest.about["models"][0]
    assert set(model["scores"]) == {"metals", "trees"}
    assert small.rows(planned.dataset("family"))[0]["score"] == pytest.approx(np.mean(list(model["scores"].values())))


def test_a_killed_family_repeats_only_what_was_not_finished(tmp_path: Path) -> None:
    whole, _ = small.run(family_alone(tmp_path / "a", **SHORT), tmp_path / "whole")
    planned = small.plan(family_alone(tmp_path / "a", **SHORT), tmp_path / "killed")

    def on_event(event: Mapping[str, Any]) -> None:
        if event["event"] == "shard_done" and event["phase"] == "train":
            raise KeyboardInterrupt

    with LocalExecutor(1) as executor:
        assert Run(planned, executor, "killed", on_event).execute().status == "interrupted"
    events: list[Mapping[str, Any]] = []
    assert small.execute(planned, events=events).status == "done"
    [again] = [event for event in events if event["event"] == "stage_started" and event["phase"] == "train"]
    assert (again["done"], again["shards"]) == (1, 3)
    assert weights(planned.dataset("family")) == weights(whole.dataset("family"))
    assert small.rows(planned.dataset("family")) == small.rows(whole.dataset("family"))


def test_shards_make_no_difference(tmp_path: Path) -> None:
    found = []
    for shard_bytes in (1 << 20, 2000):
        pipe = dataclasses.replace(family_alone(tmp_path, **SHORT, max_bytes=15_000), shard_bytes=shard_bytes)
        planned, _ = small.run(pipe, tmp_path / "ws")
        found.append(planned.dataset("family"))
    assert weights(found[0]) == weights(found[1])
    assert 60 < sum(group["documents"] for group in found[0].manifest.about["groups"].values()) < 110, "of 200, by their hash"


@pytest.mark.s3
def test_in_an_object_store(made: dict[str, Dataset], tmp_path: Path, s3: S3Server) -> None:
    workspace = f"s3://{s3.new_bucket()}/ws"
    planned = plan_for(pipeline(tmp_path, **FAST), None, open_storage(workspace))
    result = small.execute(planned)
    assert result.status == "done", result.error
    assert small.rows(planned.dataset("losses")) == small.rows(made["losses"])
    url = planned.dataset("family").url
    assert sorted(path.name for path in local_folder(f"{url}/2").iterdir()) == sorted(
        p.name for p in Path(made["family"].url, "2").iterdir()
    )
    assert (local_folder(url) / "2/config.json").read_bytes() == local_file(f"{url}/2/config.json").read_bytes()
    with pytest.raises(DatasetError, match="keeps no folder `4`") as error:
        local_folder(f"{url}/4")
    assert error.value.hint == "its folders: 1, 2, 3"
    with pytest.raises(DatasetError, match="is no artifact"):
        local_folder(f"{workspace}/none")


def test_a_family_of_an_earlier_run_is_an_input(made: dict[str, Dataset], tmp_path: Path) -> None:
    published = dataclasses.replace(family_alone(tmp_path, **SHORT), outputs={"family": Output(str(tmp_path / "out"))})
    small.run(published, tmp_path / "ws")
    for place in (made["family"].url, str(tmp_path / "out")):
        inputs = {"text": Input(str(tmp_path / "text.jsonl")), "kept": Input(artifact=place)}
        stages = {"losses": Stage("text", [Step("lm_loss", {"model": "stage:kept/2"}, into="m")])}
        planned, _ = small.run(small.pipeline(tmp_path, stages, inputs=inputs), tmp_path / "later")
        assert all(row["m"]["bits_per_byte"] > 0 for row in small.rows(planned.dataset("losses")))
        wrong = {"losses": Stage("text", [Step("lm_loss", {"model": "stage:kept/9"}, into="m")])}
        with pytest.raises(PipelineError, match="keeps no folder `9`"):
            small.plan(small.pipeline(tmp_path, wrong, inputs=inputs), tmp_path / "later")


def test_a_model_that_the_family_will_not_have_is_told_at_check(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, **FAST)
    for model, told in (("stage:family/4", "`family` keeps no `4`"), ("stage:famly/1", "unknown stage `famly`")):
        wrong = Stage("text", [Step("lm_loss", {"model": model}, into="m")])
        with pytest.raises(PipelineError, match=told) as error:
            small.plan(dataclasses.replace(pipe, stages={"family": pipe.stages["family"], "losses": wrong}), tmp_path / "ws")
        assert error.value.hint in ("it keeps: family.json, 1, 2, 3", "did you mean `family`?")


def test_the_whole_family_is_no_model(made: dict[str, Dataset], tmp_path: Path) -> None:
    inputs = {"text": Input(str(small.write_jsonl(tmp_path / "text.jsonl", ROWS))), "kept": Input(artifact=made["family"].url)}
    stages = {"losses": Stage("text", [Step("lm_loss", {"model": "stage:kept"}, into="m")])}
    with pytest.raises(PipelineError, match=r"there is no folder with a config\.json") as error:
        small.plan(small.pipeline(tmp_path, stages, inputs=inputs), tmp_path / "ws")
    assert error.value.hint == "name one of its folders: 1, 2, 3"


def test_the_battery() -> None:
    check_operator(TrainFamily())
    check_operator(TrainFamily(vary="size", by=None, target_by="lang.code", members=2))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"members": 1}, "train_family: no family: two models at least"),
        ({"width": 40}, "a width that is a multiple of 32, not 40"),
        ({"layers": 0}, "tokens, layers and window are 1 at least"),
        ({"vocabulary": 200}, "no room for 256 bytes"),
        ({"by": None}, "one group of text makes no mixtures"),
        ({"max_groups": 1}, "one group of text makes no mixtures"),
        ({"max_bytes": 0}, "max_bytes is less than 1"),
    ],
)
def test_bad_parameters(params: dict[str, Any], told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        TrainFamily(**params)


@pytest.mark.parametrize(
    ("sources", "params", "told"),
    [
        (("text",), {}, r"reads two sets of documents, not `text` \(documents\)"),
        (("text", "aim", "third"), {}, "reads two sets of documents"),
        (("text", "aim"), {"by": "kin"}, "reads the column `kin`, which is not there"),
        (("text", "aim"), {"target_by": "of"}, "reads the column `of`, which is not there"),
    ],
)
def test_mistakes_are_told_at_check(tmp_path: Path, sources: tuple[str, ...], params: dict[str, Any], told: str) -> None:
    pipe = family_alone(tmp_path, **FAST)
    inputs = {**pipe.inputs, "third": pipe.inputs["text"]}
    stages = {"family": Stage(sources, use="train_family", params={**FAST, **params})}
    with pytest.raises(PipelineError, match=told):
        small.plan(dataclasses.replace(pipe, inputs=inputs, stages=stages), tmp_path / "ws")


@pytest.mark.parametrize(
    ("rows", "target", "told"),
    [
        ([row for row in ROWS if row["kind"] == "trees"], TARGET, "one group of text makes no mixtures"),
        (ROWS, [{"id": "t", "text": " "}], "the target has no text"),
        ([{"id": "a", "text": " ", "kind": "a"}], TARGET, "0 documents to train on"),
        (ROWS[:1], TARGET, "1 document to train on, less text than a window of 64 tokens"),
        (
            [row | {"kind": "metals"} for row in TARGET],
            TARGET,
            "0 documents to train on, less text than a window of 64 tokens; 20 are left out, whose text is in the target",
        ),
    ],
)
def test_texts_that_make_no_family_are_told(tmp_path: Path, rows: list[dict[str, Any]], target: list[dict[str, Any]], told: str) -> None:
    result = small.execute(small.plan(family_alone(tmp_path, rows, target, **FAST), tmp_path / "ws"))
    assert isinstance(result.error, CurateError) and told in str(result.error) and result.error.hint


def test_small_groups_are_one_together() -> None:
    recipe = Recipe(window=8)
    long, short = ["word " * 40] * 4, ["few words"] * 4
    text = {"a": long * 3, "b": long * 2, "c": long, "d": short, "alone": long[:1], "other": long[:1]}
    trained, held_out = grouped(text, 9, recipe)
    assert list(trained) == list(held_out) == ["a", "b", "c", OTHERS]
    assert len(trained[OTHERS]) + len(held_out[OTHERS]) == 6
    assert list(grouped(text, 3, recipe)[0]) == ["a", "b", OTHERS]
    assert list(grouped(text, 1, recipe)[0]) == [OTHERS]
    assert list(grouped({"a": long, "d": short}, 9, recipe)[0]) == ["a"], "too little for a group of its own"
