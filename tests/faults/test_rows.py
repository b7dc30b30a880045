"""Documents that break an operator, kill it or stall it cost themselves and nothing else."""

from __future__ import annotations

from pathlib import Path

import orjson
import psutil
import pytest

import curate
from tests.contracts.workspaces import run
from tests.faults.conftest import Make

TEXTS = [f"document number {n}" + (" poison" if n in (7, 23) else "") for n in range(40)]


def step(cls: str, **params: object) -> dict[str, object]:
    return {"use": f"rules.py:{cls}", "params": {"word": "poison", **params}}


@pytest.mark.parametrize(
    ("operator", "stage", "error"),
    [
        (step("Raises"), {}, "ValueError: cannot stand poison"),
        (step("Kills"), {}, "worker_died: the process ended while it worked on this document"),
        (step("Sleeps"), {"timeout_s": 0.5}, "timeout: no result after 0.5 s"),
    ],
    ids=["raises", "kills", "sleeps"],
)
def test_poison_is_quarantined(make: Make, tmp_path: Path, operator: dict[str, object], stage: dict[str, object], error: str) -> None:
    pipeline = make(TEXTS, [operator], max_errors=2, **stage)
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "--workers", "2", "--json", "-q")
    counts = orjson.loads(done.stdout)["stages"]["clean"]
    assert (counts["rows_in"], counts["rows_out"], counts["errored"]) == (40, 38, 2)
    dataset = curate.load(orjson.loads(done.stdout)["stages"]["clean"]["dataset"])
    errors = [row for batch in dataset.ledger("errors") for row in batch.to_pylist()]
    assert [row["id"] for row in errors] == ["d007", "d023"]
    assert {row["error"] for row in errors} == {error}


def test_what_operators_start_in_isolation_ends_with_it_and_may_chatter(make: Make, tmp_path: Path) -> None:
    (tmp_path / "started").mkdir()
    pipeline = make(TEXTS[:12], [step("Starts", folder=str(tmp_path / "started"))], max_errors=1, timeout_s=2)
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "--workers", "1", "--json", "-q")
    counts = orjson.loads(done.stdout)["stages"]["clean"]
    assert (counts["rows_out"], counts["errored"]) == (11, 1)
    started = [int(file.name) for file in (tmp_path / "started").iterdir()]
    assert len(started) >= 4 and not [pid for pid in started if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_without_a_budget_the_first_poison_fails_the_stage(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [step("Raises")])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "stage clean, shard 0: step `Raises` raised on document `d007`: ValueError: cannot stand poison" in done.stderr
    assert "hint: mend the operator or the document, or allow more than 0 quarantined rows with `max_errors`" in done.stderr
    assert 'raise ValueError(f"cannot stand {self.word}")' in done.stderr, "the operator's own line is shown"
    assert "site-packages" not in done.stderr
    assert not (tmp_path / "out").exists(), "nothing is published"


def test_a_killer_without_a_budget_fails_and_names_the_fault(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [step("Kills")])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "--workers", "2", "-q", code=1)
    assert "stage clean, shard 0: quarantined rows: 1, allowed: 0: document `d007`: worker_died" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_larger_budget_goes_on_from_finished_shards(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [step("Raises")])
    run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    pipeline.write_text(pipeline.read_text().replace("from: docs", "from: docs\n    max_errors: 2"))
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "--json", "-q")
    assert orjson.loads(done.stdout)["stages"]["clean"]["errored"] == 2


def test_null_text_is_an_error_that_normalize_heals(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [{"use": "length", "params": {"min_chars": 0}}])
    with open(tmp_path / "docs.jsonl", "ab") as docs:
        docs.write(b'{"id": "empty", "text": null}\n')
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "document `empty` has a null text" in done.stderr
    healed = make(TEXTS, [{"use": "normalize"}])
    with open(tmp_path / "docs.jsonl", "ab") as docs:
        docs.write(b'{"id": "empty", "text": null}\n')
    done = run("run", str(healed), "-w", str(tmp_path / "ws"), "--json", "-q")
    assert orjson.loads(done.stdout)["stages"]["clean"]["rows_out"] == 41


def test_repeated_ids_are_refused_with_both_places(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [{"use": "length"}])
    with open(tmp_path / "docs.jsonl", "ab") as docs:
        docs.write(b'{"id": "d005", "text": "again"}\n')
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=1)
    assert "id `d005` is in" in done.stderr and "name a column of unique ids" in done.stderr


def test_an_empty_input_is_an_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "name: empty\ninputs: {raw: {path: empty.jsonl}}\n"
        "stages:\n  clean: {from: raw, operators: [{use: normalize}, {use: language}, {use: gopher_quality}]}\n"
        "  dedup: {from: clean, use: exact_dedup}\n  corpus: {from: [clean, dedup], apply: [dedup]}\n"
        "outputs: {corpus: {path: out, format: jsonl}}\n"
    )
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q")
    assert "0 in + 0 added = 0 out + 0 dropped + 0 merged + 0 errored  ok" in done.stdout
    assert [path.name for path in (tmp_path / "out").rglob("part-*")] == ["part-00000.jsonl.zst"]


def test_mistakes_found_while_planning_name_file_and_line(make: Make, tmp_path: Path) -> None:
    pipeline = make(TEXTS, [{"use": "where", "params": {"keep": "sorce = 'x'"}}])
    done = run("run", str(pipeline), "-w", str(tmp_path / "ws"), "-q", code=2)
    assert f"{pipeline}:9: " in done.stderr
    assert "did you mean `source`?" in done.stderr
