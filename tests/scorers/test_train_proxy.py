"""`train_proxy` in a pipeline: workers and drivers that are killed, the artifact, what the report says, who else reads the model."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from curate.errors import CurateError, PipelineError
from curate.executors.local import LocalExecutor
from curate.pipeline import Pipeline, Stage
from curate.plan import Plan
from curate.run import Run, RunResult
from curate.testing import check_operator
from curate_scorers.lm_loss import LmLoss
from curate_scorers.proxy.proxy_trials import ProxyTrials
from curate_scorers.proxy.recipe import Recipe
from curate_scorers.proxy.sizes import shape
from curate_scorers.proxy.train_proxy import POINTS, TrainProxy, points
from tests.engine import small
from tests.scorers import proxy_corpora
from tests.scorers.proxy_corpora import TINY, Files

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from curate_scorers.proxy.checkpoint import told_in  # noqa: E402
from curate_scorers.proxy.train import train  # noqa: E402

PARAMS: dict[str, Any] = {"size": TINY, "tokens": 30_000, "batch_tokens": 128, "snapshots": 1}


def pipeline(folder: Path, planted: Mapping[str, Any], **params: Any) -> Pipeline:
    """Return a pipeline that trains on a planted corpus."""
    source = small.write_jsonl(folder / "docs.jsonl", small.documents(1))
    stages = {
        "packed": Stage("crawl", use="proxy_packer.py:Plant", params=dict(planted)),
        "proxy": Stage("packed", use="train_proxy", params=params),
    }
    return small.pipeline(source, stages, folder=Path(__file__).parent)


def killed(planned: Plan) -> bytes:
    """Run the plan until a checkpoint is there, kill the worker with the driver at once, and return the checkpoint."""
    prefix = Path(planned.storage.url, planned.stages["proxy"].folder, ".scratch", "train")
    with LocalExecutor(2) as executor:

        def kill() -> None:
            while not list(prefix.glob("*.checkpoint")):
                time.sleep(0.05)
            for worker in tuple(executor._all):
                os.kill(worker.pid, signal.SIGKILL)

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "retry":
                raise KeyboardInterrupt

        threading.Thread(target=kill, daemon=True).start()
        assert Run(planned, executor, "killed", on_event).execute().status == "interrupted"
    [path] = prefix.glob("*.checkpoint")
    return path.read_bytes()


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plan, RunResult, list[Mapping[str, Any]], int]]:
    """Train, dying once on the way: the plan, its result, its events after the death, and the step of the checkpoint."""
    folder = tmp_path_factory.mktemp("proxy")
    planned = small.plan(pipeline(folder, {"documents": 600}, **PARAMS), folder / "ws")
    step = orjson.loads(told_in(killed(planned)))["step"]
    events: list[Mapping[str, Any]] = []
    result = small.execute(planned, 2, events)
    if result.error is not None:
        raise result.error
    yield planned, result, events, step


@pytest.mark.slow
def test_a_killed_training_gives_the_bytes_of_one_that_was_not(resumed: Any) -> None:
    planned, _, events, step = resumed
    made = planned.dataset("proxy")
    told = [event["said"] for event in events if event["event"] == "task_told"]
    first = int(told[0].split()[1].replace(",", ""))
    assert 0 < step < first and "loss" in told[0]
    threads, files = torch.get_num_threads(), Files()
    torch.set_num_threads(1)
    packed = proxy_corpora.corpus(600)
    whole = train(type(packed)(300, packed.length, packed.tokens, packed.eos, packed.parts, []), Recipe(**PARAMS), files)
    torch.set_num_threads(threads)
    for name in whole.files:
        assert Path(made.url, name).read_bytes() == files[name], name
    assert [row["loss"] for row in small.rows(made)] == [point["loss"] for point in points(whole.losses, 1.0, lambda step: 1.0)]


@pytest.mark.slow
def test_the_artifact_tells_what_was_made(resumed: Any) -> None:
    planned, result, _, _ = resumed
    made = planned.dataset("proxy")
    rows, told = small.rows(made), orjson.loads(Path(made.url, "training.json").read_bytes())
    assert told["curve"] == [{name: value for name, value in row.items() if name != "id"} for row in rows]
    assert told["tokens"] == rows[-1]["tokens"] == pytest.approx(30_000, rel=0.02) and told["steps"] == rows[-1]["step"]
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["id"] == f"step-{told['steps']:07d}"
    assert told["parameters"] == shape(TINY).parameters and told["vocabulary"] == 320
    assert told["total_parameters"] == told["parameters"] + 320 * 32
    notes = {note["name"]: note for note in made.manifest.notes}
    assert f"{TINY}, {told['parameters']:,} parameters" in notes["training"]["message"]
    curve = notes["training"]["curve"]
    assert len(curve["lines"]["loss"]) == len(rows) and 0 < curve["lines"]["loss"][-1][1] < curve["lines"]["loss"][0][1] < 1.1
    assert not notes["epochs"]["passed"] and "each is read" in notes["epochs"]["message"]
    assert result.stages["proxy"].status == "done"


@pytest.mark.slow
def test_lm_loss_reads_the_model(resumed: Any) -> None:
    planned, _, _, _ = resumed
    operator = LmLoss(planned.dataset("proxy").url)
    docs = pa.RecordBatch.from_pydict({"id": ["a"], "text": pa.array(["The cat sat on the mat."], pa.large_string())})
    [found] = operator.score(docs).to_pylist()
    assert 0 < found["bits_per_byte"] < 20 and found["tokens"] > 3


def test_the_battery() -> None:
    check_operator(TrainProxy())


@pytest.mark.parametrize(
    ("planted", "params", "told"),
    [
        ({"as_pack": False}, {}, "`packed` is no packed corpus: it has no pack.json"),
        ({}, {"tokens": 1_000_000}, "a budget of 1,000,000 tokens reads a corpus of"),
    ],
)
def test_corpora_that_cannot_be_trained_on_are_told(tmp_path: Path, planted: dict[str, Any], params: dict[str, Any], told: str) -> None:
    result = small.execute(small.plan(pipeline(tmp_path, planted, **params), tmp_path / "ws"))
    assert result.error is not None and told in str(result.error)
    assert isinstance(result.error, CurateError) and result.error.hint


def test_sources_that_are_no_artifact_are_told_at_check(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "docs.jsonl", small.documents(1))
    with pytest.raises(PipelineError, match="reads one packed corpus, not `crawl`"):
        small.plan(small.pipeline(source, {"proxy": Stage("crawl", use="train_proxy")}), tmp_path / "ws")


def test_a_stage_that_keeps_no_base_is_told_at_check(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "docs.jsonl", small.documents(1))
    stages = {"packed": Stage("crawl", use="proxy_packer.py:Plant"), "plain": Stage("packed", use="train_proxy", params={"size": TINY})}
    with pytest.raises(PipelineError, match="anneal: `plain` keeps no stable"):
        ProxyTrials(anneal="stage:plain").verify_stages({"plain": [TrainProxy()]})
    for name in ("packed", "plain"):
        annealed = Stage("packed", use="train_proxy", params={"size": TINY, "anneal": f"stage:{name}"})
        with pytest.raises(PipelineError, match=rf"anneal: `{name}` keeps no stable\.safetensors"):
            small.plan(small.pipeline(source, stages | {"annealed": annealed}, folder=Path(__file__).parent), tmp_path / "ws")


@pytest.mark.slow
def test_a_base_is_annealed_in_a_fraction_of_its_time(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path, {}, size=TINY, tokens=4000, batch_tokens=256, keep_stable=True)
    annealed = Stage("packed", use="train_proxy", params={"size": TINY, "batch_tokens": 256, "anneal": "stage:proxy"})
    planned = small.plan(dataclasses.replace(pipe, stages={**pipe.stages, "annealed": annealed}), tmp_path / "ws")
    assert str(planned.announced("annealed")).startswith("1 training of 32x2 on 800 tokens: about ")
    result = small.execute(planned, 2)
    if result.error is not None:
        raise result.error
    base, made = (planned.dataset(name).manifest.about for name in ("proxy", "annealed"))
    assert made["tokens"] == pytest.approx(0.2 * base["tokens"], rel=0.2) and made["decay_from_tokens"] == 0


def test_annealing_keeps_no_stable_state() -> None:
    with pytest.raises(PipelineError, match="annealing has no stable part"):
        TrainProxy(anneal="base", keep_stable=True)


def test_a_curve_has_every_step_once() -> None:
    losses = [float(k) for k in range(1003)]
    found = points(losses, 10.0, lambda step: step / 1003)
    assert len(found) == POINTS and found[-1]["step"] == 1003 and found[-1]["tokens"] == 10_030
    begins = [0, *(point["step"] for point in found)]
    assert sum(point["loss"] * (stop - start) for point, start, stop in zip(found, begins, begins[1:], strict=False)) == sum(losses)


def test_trials_train_as_they_are_told() -> None:
    told = {"size": "5M", "tokens": 7, "batch_tokens": 8, "max_epochs": 9.0, "matrix_rate": 0.1, "other_rate": 0.2}
    recipe = ProxyTrials(**told, precision="bfloat16", snapshots=3, seed=4)._recipe(6)
    assert recipe == Recipe(**told, precision="bfloat16", snapshots=3, seed=6)


@pytest.mark.parametrize("operator", [TrainProxy, ProxyTrials])
def test_defaults_are_those_of_the_recipe(operator: type[TrainProxy | ProxyTrials]) -> None:
    declared = {field.name: field.default for field in dataclasses.fields(Recipe)}
    same = {field.name: field.default for field in dataclasses.fields(operator) if field.name in declared}
    assert same == {name: declared[name] for name in same} and {"size", "max_epochs", "matrix_rate", "seed"} <= set(same)
