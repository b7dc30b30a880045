"""Real vLLM servers on this machine's processor: the protocol, load, a killed server, and the same model in the worker."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate import load, run_pipeline
from curate.errors import CurateError
from curate.llm import Llm, Prompt
from tests.conftest import ROOT
from tests.llm.environment import ENVIRONMENT, PYTHON, TINY
from tests.llm.servers import VllmProcess
from tests.llm.test_runs import Make, make  # noqa: F401 - a fixture

pytestmark = [pytest.mark.llm, pytest.mark.slow, pytest.mark.timeout(1800)]
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
    keys = [orjson.loads(line)["key"] for part in cache.rglob("*.jsonl") for line in part.read_bytes().splitlines()]
    assert len(keys) == len(set(keys)) == 80
    assert any("had died and is ready again" in line for line in tiny.log)


def _kill_when(server: VllmProcess, cache: Path, answers: int) -> None:
    while sum(part.read_bytes().count(b"\n") for part in cache.rglob("*.jsonl")) < answers:
        time.sleep(0.05)
    server.kill()


def test_the_model_runs_in_the_worker_too(real: None, make: Make) -> None:  # noqa: F811
    texts = [f"document {n}" for n in range(40)] + ["x" * 5000]
    settings: dict[str, Any] = {"model": str(TINY), "engine": "vllm", "max_tokens": 16, "body": {"top_k": 5}}
    path = make(texts, settings | {"arguments": {"enforce_eager": True, "max_model_len": 1024}}, max_errors=1)
    command = [
        str(PYTHON),
        "-m",
        "curate",
        "run",
        str(path),
        "--workspace",
        str(path.parent / "workspace"),
        "--on",
        "local",
        "--workers",
        "1",
    ]
    done = subprocess.run(
        command, cwd=path.parent, env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (dataset,) = (path.parent / "workspace" / "datasets").iterdir()
    manifest = load(str(dataset)).manifest
    counted = manifest.measured.models["Say"]["llm"]
    assert (manifest.counts.rows_out, manifest.counts.errored, counted["prompts"], counted["failed"]) == (40, 1, 41, 1)
    assert "vLLM refuses the prompt" in manifest.samples["errors"][0]["error"]
    assert 40 < counted["output_tokens"] <= 40 * 16


def test_a_small_model_knows_the_capital_of_france(smollm2: VllmProcess) -> None:
    (answer,) = Llm(smollm2.settings | {"max_tokens": 32}).ask([Prompt.user("What is the capital of France?")])
    assert "Paris" in answer.text and answer.finish == "stop"
