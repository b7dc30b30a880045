"""Whole runs that ask a model: answers are paid for once, rows that have none are quarantined, tokens are counted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate import load, load_pipeline, run_pipeline
from curate.cli import main
from curate.errors import PipelineError
from curate.launch import Request, launch, plan_for
from curate.llm import Asked
from curate.plan_tokens import Estimate, estimates
from curate.storage import open_storage
from tests.conftest import ROOT
from tests.llm.servers import StubProcess
from tests.s3_server import S3Server

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes documents, two shards of them, and a pipeline that asks about them."""

    def write(texts: Sequence[str], llm: Mapping[str, Any], use: str = "Say", **stage: Any) -> Path:
        shutil.copy(Path(__file__).with_name("asking.py"), tmp_path / "asking.py")
        half = (len(texts) + 1) // 2
        for number, part in enumerate((texts[:half], texts[half:])):
            lines = [orjson.dumps({"id": f"{number}-{n}", "text": text}) for n, text in enumerate(part)]
            (tmp_path / f"docs{number}.jsonl").write_bytes(b"\n".join([*lines, b""]))
        params = {"llm": dict(llm)} | ({"other": dict(llm)} if use == "Unsaid" else {})
        step = {"use": f"asking.py:{use}", "params": params}
        pipeline = {
            "name": "asking",
            "shard_bytes": (tmp_path / "docs0.jsonl").stat().st_size,
            "inputs": {"docs": {"path": "docs*.jsonl"}},
            "stages": {"said": {"from": "docs", "operators": [step], **stage}},
        }
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
        return path

    return write


def run(path: Path, workspace: str | None = None) -> dict[str, Any]:
    return run_pipeline(path, workspace or str(path.parent / "workspace"), on="local", workers=1)


def texts_of(report: Mapping[str, Any]) -> list[str]:
    return [row["text"] for row in load(report["stages"][0]["dataset"]).scan().collect().to_dicts()]


def counted(report: Mapping[str, Any]) -> dict[str, Any]:
    return dict(report["stages"][0]["notes"][0]["measures"])


def test_a_run_asks_once_and_a_rerun_with_another_chain_asks_nothing(stub: StubProcess, make: Make) -> None:
    texts = [f"once {n % 7}" for n in range(20)]
    report = run(make(texts, stub.settings | {"price": {"prompt": 1000, "output": 500000}}))
    assert texts_of(report) == [text.upper() for text in texts]
    asked = [text for text in stub.asked() if text.startswith("once")]
    assert sorted(asked) == sorted(set(texts))
    assert counted(report) | dict.fromkeys(("seconds", "cached_seconds", "dataset_seconds"), 0) == {
        "prompts": 14, "cached": 7, "failed": 0, "late": 0, "prompt_tokens": 14, "output_tokens": 14,
        "cached_prompt_tokens": 14, "cached_output_tokens": 14, "seconds": 0, "cached_seconds": 0, "dollars": 7.014,
        "dataset_prompts": 14, "dataset_prompt_tokens": 28, "dataset_output_tokens": 28, "dataset_seconds": 0, "dataset_dollars": 14.028,
    }  # fmt: skip
    message = report["stages"][0]["notes"][0]["message"]
    assert message.startswith("Say asked stub: 14 prompts, 7 answered before; 14 prompt tokens and 14 output tokens; ")
    assert message.endswith(
        " in each worker; 7.01 dollars; with what was asked before, at most 28 prompt tokens and 28 output tokens, 14.03 dollars"
    )
    again = run(make(texts, stub.settings, trace="documents"))
    assert again["stages"][0]["new_shards"] == 2 and texts_of(again) == texts_of(report)
    assert (counted(again)["cached"], counted(again)["prompt_tokens"]) == (14, 0)
    assert [text for text in stub.asked() if text.startswith("once")] == asked


def test_how_a_model_is_asked_is_no_part_of_identity_but_what_changes_answers_is(stub: StubProcess, make: Make) -> None:
    first = run(make(["identity"], stub.settings))
    with StubProcess() as other:
        same = run(make(["identity"], other.settings | {"concurrency": 2, "temperature": 0}))
        assert [stage["status"] for stage in same["stages"]] == ["reused"]
        assert other.asked() == []
    warmer = run(make(["identity"], stub.settings | {"temperature": 0.5}))
    assert warmer["stages"][0]["fingerprint"] != first["stages"][0]["fingerprint"]
    assert stub.asked().count("identity") == 2


def test_a_row_without_answer_is_quarantined_and_no_other_is_asked_again(stub: StubProcess, make: Make) -> None:
    texts = [f"good {n}" for n in range(30)]
    texts[11] = "bad [fault 400 99]"
    path = make(texts, stub.settings, max_errors=1)
    report = run(path)
    assert report["status"] == "done" and report["stages"][0]["counts"]["errored"] == 1
    (error,) = report["stages"][0]["samples"]["errors"]
    assert (error["id"], error["error"]) == ("0-11", "Unanswered: the server refuses the prompt: 400 fault 400")
    assert sorted(text for text in stub.asked() if text.startswith(("good", "bad"))) == sorted(texts)  # bisecting asked nothing twice
    assert (counted(report)["prompts"], counted(report)["failed"]) == (30, 1)


def test_requests_that_the_deadline_ended_are_told(stub: StubProcess, make: Make) -> None:
    report = run(make(["deadline 1 [fault hang 2]", "deadline 2"], stub.settings | {"deadline_s": 0.3, "attempts": 3}))
    (note,) = report["stages"][0]["notes"]
    assert (note["measures"]["late"], note["measures"]["failed"]) == (2, 0)
    assert "; 2 requests ended by `deadline_s` (0.3 s), for nothing; " in note["message"]


def test_in_isolation_nothing_is_asked_twice_either(stub: StubProcess, make: Make) -> None:
    texts = [f"apart {n}" for n in range(8)] + ["apart bad [fault 400 99]"]
    report = run(make(texts, stub.settings, max_errors=1, timeout_s=30))
    assert report["stages"][0]["counts"]["errored"] == 1
    assert sorted(text for text in stub.asked() if text.startswith("apart")) == sorted(texts)
    assert counted(report)["prompts"] == 9


def test_each_model_of_a_step_is_counted_for_itself(stub: StubProcess, make: Make) -> None:
    path = make(["two 1", "two 2", "two [fault 400 99]"], stub.settings, use="Unsaid")
    (stage,) = run(path)["stages"]
    assert stage["counts"]["dropped"] == {"Unsaid": {"no_answer": 1}}
    assert [note["measures"]["prompts"] for note in stage["notes"]] == [3, 2]  # of `llm`, of `other` in each of two shards


def test_a_dead_server_ends_the_stage_and_a_rerun_goes_on_from_what_was_answered(make: Make) -> None:
    texts = [f"[slow] {n}" for n in range(20)] + ["[fault die 99]"]
    with StubProcess() as stub:
        path = make(texts, stub.settings | {"patience_s": 0.5, "concurrency": 4}, max_errors=99)
        report = run(path)
    assert report["status"] == "failed" and "no answer for 0.5 s" in report["error"]["message"]
    kept = b"".join(file.read_bytes() for file in (path.parent / "workspace/cache/llm").rglob("*.jsonl"))
    assert b"FAULT" not in kept and 8 <= kept.count(b"\n") <= 20
    with StubProcess() as stub:
        again = run(make(texts[:20], stub.settings))
        assert again["status"] == "done" and texts_of(again) == [text.upper() for text in texts[:20]]
        assert len(stub.asked()) == 20 - kept.count(b"\n")
    assert counted(again)["prompt_tokens"] == 2 * (20 - kept.count(b"\n"))
    assert counted(again)["dataset_prompt_tokens"] == 2 * 20
    assert counted(again)["dataset_seconds"] >= 20 * 0.2 / 4  # four at a time


def test_what_a_stopped_run_paid_is_told_by_it_and_by_the_one_that_goes_on(make: Make, tmp_path: Path) -> None:
    price = {"price": {"gpu_hour": 3600}, "concurrency": 1, "patience_s": 0.5}
    texts = [*(f"[slow] {n}" for n in range(7)), "[fault die 1]"]
    memory = tmp_path / "faults"
    with StubProcess(memory) as stub:
        first = run(make(texts, stub.settings | price))
    assert first["status"] == "failed" and counted(first)["prompt_tokens"] == 8
    assert first["stages"][0]["notes"][0]["message"].endswith("; shards that did not end are not counted")
    with StubProcess(memory) as stub:
        again = run(make(texts, stub.settings | price))
    told = counted(again)
    assert (told["prompts"], told["cached"]) == (4, 3)  # of the second shard
    assert (told["dataset_prompts"], told["dataset_prompt_tokens"]) == (8, 7 * 2 + 3)
    assert told["dataset_seconds"] >= 7 * 0.2 > told["seconds"]
    assert told["dataset_dollars"] >= told["dollars"] + 7 * 0.2


@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_what_was_answered_before_a_kill_is_not_asked_again(stub: StubProcess, make: Make, victim: str) -> None:
    texts = [f"[slow] {victim} {n}" for n in range(40)]
    path = make(texts, stub.settings | {"concurrency": 4})
    command = [sys.executable, "-m", "curate", "run", str(path), "--workspace", str(path.parent / "workspace"), "--on", "local"]
    process = subprocess.Popen([*command, "--workers", "2"], cwd=ROOT, stderr=subprocess.PIPE)
    while sum(victim in text for text in stub.asked()) < 12:
        time.sleep(0.02)
    _kill(process, victim)
    process.communicate()
    if victim == "driver":
        time.sleep(0.5)  # for requests that were under way
        assert subprocess.run([*command, "--workers", "1"], cwd=ROOT, capture_output=True).returncode == 0
    assert process.returncode == (-9 if victim == "driver" else 0)
    asked = [text for text in stub.asked() if victim in text]
    assert set(asked) == set(texts)
    assert len(asked) <= len(texts) + 8  # those under way when it was killed: 4 in each of 2 workers


def _kill(process: subprocess.Popen[bytes], victim: str) -> None:
    import psutil

    if victim == "driver":
        process.send_signal(signal.SIGKILL)
        return
    worker = next(child for child in psutil.Process(process.pid).children() if "curate.executors.worker" in " ".join(child.cmdline()))
    worker.kill()


@pytest.mark.s3
def test_an_object_store_keeps_answers_too(stub: StubProcess, make: Make, s3: S3Server) -> None:
    workspace = f"s3://{s3.new_bucket()}/workspace"
    for trace in (None, "documents"):
        report = run(make([f"stored {n}" for n in range(6)], stub.settings, trace=trace), workspace)
        assert report["status"] == "done"
    assert counted(report)["cached"] == 6
    assert len([text for text in stub.asked() if text.startswith("stored")]) == 6


def test_a_wrong_setting_is_told_by_check_at_its_place(make: Make) -> None:
    path = make(["x"], {"model": "small", "endpont": "http://127.0.0.1:1/v1"})
    with pytest.raises(PipelineError, match=r"pipeline\.yaml:\d+.*unknown setting `endpont`") as told:
        run(path)
    assert "did you mean `endpoint`?" in str(told.value)


def test_a_plan_estimates_what_it_would_ask(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(
        ["a text of forty bytes, more or less, yes"] * 8, {"model": "small", "endpoint": "http://127.0.0.1:1/v1", "price": {"prompt": 1e6}}
    )
    main(["plan", str(path), "--workspace", str(path.parent / "workspace")])
    files = sum(file.stat().st_size for file in path.parent.glob("docs*.jsonl"))
    said = f"Say asks small: about 1 prompt of {files // 4} tokens and at most 1,024 output tokens, at most {files // 4:,.2f} dollars"
    basis = f"{files} B of files, as documents of 4.00 kB, 4 bytes a token; what was answered before is not taken off"
    assert f"llm    said           {said} (estimate: {basis})" in capsys.readouterr().out


def test_a_price_by_the_hour_is_told_where_an_earlier_run_knows_the_pace(
    stub: StubProcess, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = stub.settings | {"price": {"gpu_hour": 3600}, "concurrency": 1}
    path = make([f"[slow] hourly {n}" for n in range(4)], settings)
    workspace = str(path.parent / "workspace")
    main(["plan", str(path), "--workspace", workspace])
    assert "output tokens, paid by the hour: no earlier run tells how long it takes (estimate: " in capsys.readouterr().out
    run(path)
    loaded = load_pipeline(make([f"[slow] hourly {n}" for n in range(8)], settings))
    [found] = estimates(plan_for(loaded.pipeline, None, open_storage(workspace)))
    assert found.hours and found.dollars == pytest.approx(found.hours * 3600)
    assert 0.2 <= found.dollars / found.asked.prompts < 2  # seconds that the stub takes for one
    main(["plan", str(path), "--workspace", workspace])
    assert "hours of one worker at the pace of an earlier run (estimate: " in capsys.readouterr().out


def test_what_is_read_is_known_exactly_once_it_is_there(stub: StubProcess, make: Make) -> None:
    path = make(["12345678"] * 8, stub.settings | {"max_tokens": 1})
    told = yaml.safe_load(path.read_text())
    told["stages"] = {"clean": {"from": "docs", "operators": [{"use": "normalize"}]}} | told["stages"]
    told["stages"]["said"]["from"] = "clean"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    loaded = load_pipeline(path)
    launch(loaded.pipeline, None, Request(str(path.parent / "workspace"), until="clean", on="local", workers=1), lambda event: None)
    made = plan_for(loaded.pipeline, None, open_storage(str(path.parent / "workspace")))
    assert list(estimates(made)) == [Estimate("said", "Say", "stub", 64, 8, "text", Asked(8, 16, 8), False, None, None)]
    assert stub.asked().count("12345678") == 0


HUGE = "The harbour of a small town in the north was built of grey stone. " * 400
SHORT = "\n".join(["Menu", "a b"] * 400)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize(
    ("text", "step"),
    [
        (HUGE, {"use": "prox_chunk"}),  # a line that no window shows
        (SHORT, {"use": "prox_chunk"}),  # as much of numbers as of lines
        (HUGE, {"use": "rewrite", "params": {"prompt_set": "nemotron_cc", "styles": {"distill": {}}, "originals": "drop"}}),
    ],
)
def test_a_plan_looks_at_a_few_documents(stub: StubProcess, make: Make, text: str, step: dict[str, Any], done: bool) -> None:
    path = make([text.replace("a", f"a{n}") for n in range(6)], {})
    told = yaml.safe_load(path.read_text())
    asking = {"use": step["use"], "params": {"llm": stub.settings} | step.get("params", {})}
    told["stages"] = {"clean": {"from": "docs", "operators": [{"use": "normalize"}]}, "said": {"from": "clean", "operators": [asking]}}
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    pipeline, workspace = load_pipeline(path).pipeline, str(path.parent / "workspace")
    if done:
        launch(pipeline, None, Request(workspace, until="clean", on="local", workers=1), lambda event: None)
    [found] = estimates(plan_for(pipeline, None, open_storage(workspace)))
    report = run(path)
    counted_all = dict(next((note["measures"] for stage in report["stages"] for note in stage["notes"]), {"dataset_prompts": 0}))
    assert found.asked.prompts == pytest.approx(counted_all["dataset_prompts"], rel=0.0 if done else 0.4)  # of files nobody knows rows
    assert (found.asked.prompts == 0) == (text == HUGE)


def test_parquet_is_reckoned_unpacked(make: Make) -> None:
    path = make(["x"], {"model": "small", "endpoint": "http://127.0.0.1:1/v1"})
    told = yaml.safe_load(path.read_text())
    told["inputs"]["docs"]["path"] = "docs*.parquet"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    for number in range(40):
        table = pa.table({"id": [f"{number}"], "text": pa.array(["the same words " * 1000], pa.large_string())})
        pq.write_table(table, path.parent / f"docs{number:02d}.parquet", compression="zstd", use_dictionary=False)
    loaded = load_pipeline(path)
    [found] = estimates(plan_for(loaded.pipeline, None, open_storage(str(path.parent / "workspace"))))
    assert found.basis == "reckoned" and found.text_bytes == pytest.approx(40 * 15_000, rel=0.02)
    assert found.documents == pytest.approx(40, abs=1)


def test_an_earlier_dataset_tells_how_much_text_a_stage_makes(stub: StubProcess, make: Make) -> None:
    path = make(["keep this text"] * 6 + ["drop " * 100] * 2, stub.settings)
    told = yaml.safe_load(path.read_text())
    steps = [{"use": "where", "params": {"keep": "text like 'keep%'"}}]
    told["stages"] = {"clean": {"from": "docs", "operators": steps}} | told["stages"]
    told["stages"]["said"]["from"] = "clean"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    workspace = str(path.parent / "workspace")
    loaded = load_pipeline(path)
    [before] = estimates(plan_for(loaded.pipeline, None, open_storage(workspace)))
    files = sum(file.stat().st_size for file in path.parent.glob("docs*.jsonl"))
    assert (before.basis, before.text_bytes) == ("files", files)
    launch(loaded.pipeline, None, Request(workspace, until="clean", on="local", workers=1), lambda event: None)
    (path.parent / "docs2.jsonl").write_bytes((path.parent / "docs0.jsonl").read_bytes() + (path.parent / "docs1.jsonl").read_bytes())
    [after] = estimates(plan_for(load_pipeline(path).pipeline, None, open_storage(workspace)))
    assert after.basis == "reckoned" and after.text_bytes == pytest.approx(2 * 6 * len("keep this text"), abs=2)
    assert after.documents == pytest.approx(12, abs=1)
