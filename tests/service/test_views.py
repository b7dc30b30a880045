"""Read models: progress folded from events, work over time, limits behind reasons, pages of rows, graphs, hostile text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import pipeline_yaml
from curate.errors import DatasetError, PipelineError
from curate.pipeline import Pipeline, Stage, Step
from curate.pipeline_params import fields_of, find_class, verb_of
from curate.registry import packs
from curate.service.pages.hostile import found, visible
from curate.service.pages.layout import lay_out
from curate.service.views import rows
from curate.service.views.follow import Follower
from curate.service.views.limits import Limits
from curate.service.views.progress import Progress
from curate.service.views.pulse import MOST, Pulse
from curate.service.views.runs import open_run
from curate.service.views.words import words
from curate.storage import open_storage


def event(kind: str, at: float, **more: Any) -> dict[str, Any]:
    return {"event": kind, "elapsed_s": at, "time": "2026-11-29T02:40:43.030+00:00", **more}


def shard(at: float, stage: str = "clean", phase: str | None = None, seconds: float = 1.0) -> dict[str, Any]:
    counts = {"rows_in": 10, "rows_out": 7, "text_bytes_in": 1000, "bytes_in": 400, "peak_rss_bytes": 5_000_000}
    return event("shard_done", at, stage=stage, shard=0, phase=phase, seconds=seconds, **counts)


def test_events_tell_how_far_every_stage_is() -> None:
    progress = Progress()
    progress.add(event("run_started", 0.0, run_id="r", stages=["text", "clean", "dedup"]))
    progress.add(event("stage_reused", 0.1, stage="text", rows_out=30))
    progress.add(event("stage_started", 0.2, stage="clean", shards=4, done=1, bytes_in=1200, phase=None))
    progress.add(shard(1.2))
    progress.add(event("retry", 1.3, stage="clean", shard=1, cause="worker_died", attempt=1))
    progress.add(shard(2.2))
    clean = progress.stages["clean"]
    assert [stage.state for stage in progress.stages.values()] == ["reused", "running", "waiting"]
    assert (clean.done, clean.shards, clean.share, clean.rows_in, clean.rows_out, clean.retries) == (3, 4, 0.75, 20, 14, 1)
    assert clean.speed(2.2) == pytest.approx(1000.0) and clean.peak_rss == 5_000_000
    progress.add(event("stage_failed", 3.0, stage="clean", error="the disk is full"))
    progress.add(event("stage_failed", 3.0, stage="dedup", error="blocked: stage clean failed"))
    progress.add(event("run_done", 3.1, status="failed", seconds=3.1))
    assert [stage.state for stage in progress.stages.values()] == ["reused", "failed", "blocked"]
    assert progress.status == "failed"
    assert [(line.text, line.kind) for line in progress.log][-1] == ("run failed after 3.10 s", "bad")
    assert any(line.text == "clean, shard 1: tried again after worker_died" for line in progress.log)


def test_phases_of_a_dataset_operator_count_no_rows_twice_and_what_stops_is_interrupted() -> None:
    progress = Progress()
    progress.add(event("run_started", 0.0, run_id="r", stages=["dedup"]))
    for number, phase in enumerate(("hash", "mark")):
        progress.add(event("stage_started", float(number), stage="dedup", shards=2, done=0, bytes_in=0, phase=phase))
        progress.add(shard(number + 0.5, "dedup", phase))
    assert (progress.stages["dedup"].rows_in, progress.stages["dedup"].phase, progress.stages["dedup"].share) == (0, "mark", 0.5)
    progress.add(event("run_done", 3.0, status="interrupted", seconds=3.0))
    assert progress.stages["dedup"].state == "interrupted"


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e4), st.integers(0, 10**12)), max_size=60))
def test_work_over_time_loses_no_byte_and_stays_small(tasks: list[tuple[float, float, int]]) -> None:
    pulse = Pulse(0.0)
    for ended, seconds, size in sorted(tasks):
        pulse.add(ended, min(seconds, ended), size, size)
    assert len(pulse.buckets) <= MOST
    assert sum(bucket.bytes for bucket in pulse.buckets) == pytest.approx(sum(size for *_, size in tasks), rel=1e-6, abs=1e-3)
    assert max(pulse.peaks(), default=0) == max((size for *_, size in tasks), default=0)


def test_segments_are_read_once_and_another_attempt_begins_anew(tmp_path: Path) -> None:
    storage, follower = open_storage(str(tmp_path)), Follower()
    assert follower.progress(storage, "r").events == 0
    for number, each in enumerate([event("run_started", 0.0, run_id="r", stages=["a"]), event("stage_reused", 1.0, stage="a", rows_out=3)]):
        storage.write(f"runs/r/events/{number:05d}.jsonl", orjson.dumps(each))
        progress = follower.progress(storage, "r")
        assert progress.events == number + 1
    storage.delete("runs/r/events/00001.jsonl")
    storage.write("runs/r/events/00000.jsonl", orjson.dumps(event("run_started", 0.0, run_id="r", stages=["b", "c"])))
    assert list(follower.progress(storage, "r").stages) == ["b", "c"]
    storage.write("runs/r/events/00001.jsonl", b'{"event": "stage_done"')
    with pytest.raises(DatasetError, match="00001.jsonl: a damaged line"):
        follower.progress(storage, "r")


def test_a_report_that_grows_says_what_the_final_one_says(tmp_path: Path, quickstart: Path) -> None:
    loaded = pipeline_yaml.load_pipeline(quickstart)
    pipeline = Pipeline(loaded.pipeline.name, loaded.pipeline.inputs, loaded.pipeline.stages, folder=loaded.pipeline.folder)
    final = curate.run_pipeline(pipeline, workspace=str(tmp_path), workers=1)
    storage = open_storage(str(tmp_path))
    storage.delete(f"runs/{final['run_id']}/report.json")
    run = open_run(storage, final["run_id"], Follower())
    assert not run.ended and run.report["status"] == "done"
    for told, whole in zip(run.report["stages"], final["stages"], strict=True):
        for field in ("name", "kind", "status", "counts", "statistics", "samples", "notes", "inputs", "steps", "dataset", "shards"):
            assert told[field] == whole[field], field
    assert run.progress.stages["clean"].peak_rss == final["stages"][1]["peak_rss_bytes"] > 0
    with pytest.raises(DatasetError, match="has no stage `cleen`"):
        run.stage("cleen")


def limit_of(use: str, reason: str, **params: Any) -> tuple[str, Any] | None:
    pipeline = Pipeline("p", {}, {"s": Stage("x", operators=[Step(use, params)])})
    limit = Limits(pipeline).of("s", use, reason)
    return None if limit is None else (limit.parameter, limit.value)


def test_limits_behind_reasons() -> None:
    assert limit_of("length", "too_few_chars", min_chars=200) == ("min_chars", 200)
    assert limit_of("gopher_quality", "too_many_words") == ("max_words", 100_000)
    assert limit_of("gopher_quality", "words_too_short", min_mean_word_chars=4) == ("min_mean_word_chars", 4)
    assert limit_of("fineweb_quality", "too_few_lines_end_in_punctuation") == ("min_punctuated_line_ratio", 0.12)
    assert limit_of("where", "lang.code = 'en'", keep="lang.code = 'en'") is None
    assert limit_of("my_rules.py:DigitRatio", "too_many_digits", max_ratio=0.3) is None
    dedup = Pipeline(
        "p", {}, {"marks": Stage("x", use="minhash_dedup", params={"similarity": 0.7}), "s": Stage(["x", "marks"], apply=["marks"])}
    )
    limit = Limits(dedup).of("s", "marks", "near_duplicate")
    assert limit is not None and (limit.parameter, limit.value) == ("similarity", 0.7)


def test_every_documented_limit_is_found_and_is_a_parameter() -> None:
    """Rows of a docstring's table that name one limit for each reason are understood, whatever the operator."""
    understood = 0
    for use in sorted(packs()):
        cls, _ = find_class(use, Path())
        if verb_of(cls) != "Filter":
            continue
        for reasons, rule in re.findall(r"^ *\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", cls.__doc__ or "", re.MULTILINE):
            names, limits = re.findall(r"`(\w+)`", reasons), [name for name in re.findall(r"`(m\w\w_\w+)`", rule) if name in fields_of(cls)]
            if len(names) == len(limits):
                assert [(limit_of(use, name) or ("", None))[0] for name in names] == limits, use
                understood += len(names)
    assert understood > 30


def test_places_are_read_back_and_others_refused() -> None:
    assert rows.place(str(rows.Place(3, 70))) == rows.Place(3, 70) and rows.place("") == rows.Place()
    for wrong in ("x", "1", "1.-2", "1.2.3", "9" * 41):
        with pytest.raises(PipelineError, match="not a place in a dataset"):
            rows.place(wrong)


def test_a_search_stops_at_its_limit_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [orjson.dumps({"id": f"d{i:04d}", "text": ("needle " if i in (5, 900) else "hay ") * 200}) for i in range(1000)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    pipeline = Pipeline("p", {"x": curate.Input(str(tmp_path / "in.jsonl"))}, {"s": Stage("x", operators=[Step("normalize")])})
    report = curate.run_pipeline(pipeline, workspace=str(tmp_path / "ws"), workers=1)
    dataset = curate.load(report["stages"][0]["dataset"])
    monkeypatch.setattr(rows, "SCAN_BYTES", 100_000)
    monkeypatch.setattr(rows, "BATCH_BYTES", 40_000)
    seen, place, pages = [], rows.Place(), 0
    while place is not None:
        page = rows.documents(dataset, "NEEDLE", place)
        seen, place, pages = seen + [row["id"] for row in page.rows], page.next, pages + 1
        assert page.stopped == (page.next is not None)
    assert seen == ["d0005", "d0900"] and pages > 4


@given(st.integers(1, 12), st.data())
def test_graphs_are_laid_out_in_order_and_nothing_overlaps(size: int, data: st.DataObject) -> None:
    names = [f"n{i}" for i in range(size)]
    pairs = [(names[a], names[b]) for b in range(size) for a in range(b)]
    edges = data.draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    layout = lay_out(names, edges)
    assert len(set(layout.spots.values())) == size
    assert all(layout.spots[a][0] < layout.spots[b][0] for a, b in edges)
    assert all(0 <= place <= layout.breadth - 1 for _, place in layout.spots.values())
    for (source, target), path in layout.paths.items():
        assert path[0] == layout.spots[source] and path[-1] == layout.spots[target]
        assert not set(path[1:-1]) & set(layout.spots.values())


@given(st.text())
def test_visible_text_is_escaped_and_keeps_every_visible_character(text: str) -> None:
    html = visible(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", html)
    bare = re.sub(r"<b class=\"control\" title=\"[^\"<>]*\">U\+[0-9A-F]+</b>", "", html)
    assert "<" not in bare and ">" not in bare


def test_long_lines_are_cut_with_a_note_and_places_are_marked() -> None:
    assert visible("a" * 10_000_000).endswith('<i class="cut"> … 9,996,000 characters more in this line</i>')
    marked = found("before <b> Needle after", "needle")
    assert "before &lt;b&gt; <mark>Needle</mark> after" in marked
    assert found("nothing", "needle") == "" and found("a.c abc", "A.C").count("<mark>") == 1


def test_the_editor_offers_keys_operators_and_parameters() -> None:
    offered = words()
    assert set(offered["keys"]["step"]) >= {"use", "params", "into", "name"}
    assert offered["operators"]["length"]["params"]["min_chars"] == "null" and offered["operators"]["length"]["of"] == "step"
    assert offered["operators"]["minhash_dedup"]["of"] == "stage" and offered["operators"]["proxy_compare"]["of"] == "check"
    assert all(operator["is"] for operator in offered["operators"].values())
    assert len(orjson.dumps(offered)) < 64_000
