"""The page: everything accounted for, hostile data harmless, nothing loaded, and a size that a browser takes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from curate.report.html import MAX_BYTES, render

Report = dict[str, Any]

VOID = {"meta", "rect", "path", "line"}
HOSTILE = "</pre></details><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\"'&\x00\x1b[31m\u202e"


class Page(HTMLParser):
    """Parses a page strictly: every element closed in order; collects text, elements and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID or tag == "rect":
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.stack and self.stack[-1] == tag:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def poisoned(value: Any) -> Any:
    """Return the report with every string, keys included, made hostile where that leaves its structure as it is."""
    structural = {"done", "reused", "documents", "attributes"}
    if isinstance(value, dict):
        fixed = {"counts", "statistics", "samples", "measures"}
        return {key: poisoned_node(item) if key in fixed else poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + HOSTILE if isinstance(value, str) and value not in structural else value


def poisoned_node(value: Any) -> Any:
    known = {"rows_in", "rows_out", "rows_added", "merged", "errored", "dropped", "edited", "bytes_in", "bytes_out", "text_bytes_in"}
    known |= {"text_bytes_out", "length", "scores", "groups", "kept", "errors", "id", "value", "kept_id", "similarity", "excerpt", "error"}
    known |= {"rows", "bytes_removed", "bytes_added", "step", "url"}
    if isinstance(value, dict):
        plain = all(re.fullmatch(r"[-0-9.e+]+|nan|inf|-inf", key) for key in value)
        return {key if key in known or plain else key + HOSTILE: poisoned_node(item) for key, item in value.items()}
    return [poisoned_node(item) for item in value] if isinstance(value, list) else value + HOSTILE if isinstance(value, str) else value


def test_the_headline_and_the_account_say_what_happened(web: Report) -> None:
    page = Page(render(web))
    corpus = web["stages"][-1]["counts"]
    assert f"web_english kept {corpus['rows_out']:,} of 20,000 documents" in page.text
    dropped = sum(n for s in web["stages"] for reasons in s["counts"]["dropped"].values() for n in reasons.values())
    assert f"20,000 in + 0 added = {corpus['rows_out']:,} out + {dropped:,} dropped + 0 merged + 4 errored ✓" in page.text
    assert "✗" not in page.text


def test_every_drop_reason_stands_with_its_count_and_share(web: Report) -> None:
    text = Page(render(web)).text
    for each in web["stages"]:
        entered = each["counts"]["rows_in"]
        for reasons in each["counts"]["dropped"].values():
            for reason, rows in reasons.items():
                assert f"{reason}{rows:,}{100 * rows / entered:.1f}%" in text


def test_a_duplicate_shows_what_was_kept_and_how_alike_they_are(web: Report) -> None:
    assert "kept crawl/original-2similarity 0.85" in Page(render(web)).text


def test_what_has_no_text_is_not_called_empty(web: Report, simulated: Any) -> None:
    """Attributes have no text, and what a reader refuses has none yet; a document whose text is empty is called so."""
    stage = web["stages"][0]
    measures = simulated.attributes("scored", stage) | {"samples": {"kept": [{"id": "a"}, {"id": "b"}]}}
    page = Page(render(simulated.report([measures]))).text
    assert "that stayed" not in page and "empty text" not in page
    stage["counts"]["dropped"]["read"] = {"not_html": 1}
    stage["samples"]["dropped"]["read"] = {"not_html": [{"id": "image"}]}
    assert "empty text" not in Page(render(web)).text
    stage["samples"]["kept"][0]["excerpt"] = ""
    assert "empty text" in Page(render(web)).text


def test_edits_paths_checks_retries_and_quarantined_rows_are_there(web: Report) -> None:
    text = Page(render(web)).text
    for words in ("normalize–6,666", "s3://corpora/web_english/corpus/", "✓ passed", "difference 0.0412", "Retries1", "2 rows quarantined"):
        assert words in text
    assert "crawl/broken-0normalizeUnicodeDecodeError: 'utf-8' codec can't decode byte 0x9c" in text


def test_a_stage_that_loses_a_document_is_called_out(web: Report) -> None:
    web["stages"][1]["counts"]["rows_out"] -= 1
    text = Page(render(web)).text
    assert "✗ 1 unaccounted for" in text
    assert "Documents do not add up in: clean." in text


def test_documents_lost_between_two_stages_do_not_add_up(web: Report) -> None:
    for side in ("rows_in", "rows_out"):
        web["stages"][-1]["counts"][side] -= 3
    assert "✗ 3 unaccounted for" in Page(render(web)).text


def test_documents_that_join_from_another_stage_are_counted(simulated: Any) -> None:
    first, second = simulated.stage("news", 3000, ["a"], seed=1), simulated.stage("books", 2000, ["b"], seed=2)
    rows = first["counts"]["rows_out"] + second["counts"]["rows_out"]
    both = simulated.stage("all", rows, ["news", "books"], seed=3, decisions=0)
    text = Page(render(simulated.report([first, second, both]))).text
    assert f"joined from elsewhere+{second['counts']['rows_out']:,}" in text
    assert "✗" not in text


@pytest.mark.parametrize("hostile", [poisoned, lambda value: value])
def test_a_page_loads_nothing_and_runs_nothing(web: Report, hostile: Any) -> None:
    written = render(hostile(web))
    page = Page(written)
    assert not {"script", "img", "link", "iframe", "object", "embed", "audio", "video", "base", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in {"src", "srcset", "background", "data"}]
    assert all(str(value).startswith("#") for _, name, value in page.attributes if name == "href")
    style = written.partition("<style>")[2].partition("</style>")[0]
    assert style
    assert not re.search(r"url\(|@import|http", style)
    assert any(
        name == "content" and str(value).startswith("default-src 'none'; style-src 'unsafe-inline';") for _, name, value in page.attributes
    )


def test_hostile_strings_stay_text(web: Report) -> None:
    written = render(poisoned(web))
    text = Page(written).text
    assert "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>" in text
    assert not re.search("[\x00\x1b\u202e]", written)
    assert written.count("<script") == 0


def test_every_link_has_a_target(web: Report) -> None:
    page = Page(render(web))
    targets = {value for _, name, value in page.attributes if name == "id"}
    links = {str(value)[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"}
    assert links == {f"stage-{name}" for name in ("text", "clean", "dedup", "corpus")}
    assert links <= targets


def test_charts_and_tables_speak_to_a_screen_reader(web: Report) -> None:
    written = render(web)
    page = Page(written)
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert any(
        re.match(r"Histogram of Length\. [\d,]+ documents kept, median [\d,]+; [\d,]+ documents dropped, median", str(v)) for v in labels
    )
    assert page.tags.count("svg") == len(labels) + sum(1 for tag, name, _ in page.attributes if tag == "svg" and name == "aria-hidden")
    assert page.tags.count("caption") == page.tags.count("table") > 10


def test_nothing_ran(simulated: Any) -> None:
    text = Page(render(simulated.report([]))).text
    assert "web_english finished" in text
    assert "0 of 0 stages complete" in text


def test_a_run_over_nothing(simulated: Any) -> None:
    empty = simulated.stage("clean", 0, ["crawl"])
    text = Page(render(simulated.report([empty]))).text
    assert "kept 0 of 0 documents" in text
    assert "0 in + 0 added = 0 out + 0 dropped + 0 merged + 0 errored ✓" in text


def test_a_failed_run_names_the_stage_the_error_and_the_hint(simulated: Any) -> None:
    clean = simulated.stage("clean", 4000, ["crawl"])
    gone: dict[str, Any] = {"counts": None, "statistics": {}, "samples": {}, "seconds": 0, "cpu_seconds": 0}
    failed = simulated.report(
        [
            clean,
            simulated.deduplicated("corpus", clean) | gone | {"status": "failed"},
            simulated.attributes("s", clean) | gone | {"status": "blocked"},
        ],
        "failed",
    )
    failed["error"] = {"message": "stage corpus, shard 3: the disk is full", "hint": "free 2.1 GB and run again", "stage": "corpus"}
    text = Page(render(failed)).text
    for words in (
        "web_english failed in stage corpus",
        "shard 3: the disk is full",
        "hint: free 2.1 GB",
        "1 of 3 stages complete",
        "○ blocked",
        "✗ failed",
    ):
        assert words in text
    assert "Not every stage of this line ran to its end." in text
    assert "unaccounted" not in text


def test_a_gated_run_names_the_check(web: Report) -> None:
    web["status"], web["outputs"] = "gated", []
    web["checks"][0] |= {"passed": False, "message": "no better: 0.1% (interval -0.4% to 0.6%)"}
    text = Page(render(web)).text
    assert "web_english was held back by better_than_raw" in text
    assert "✗ failed" in text
    assert "What came out" not in text


def test_an_interrupted_run(web: Report) -> None:
    web["status"] = "interrupted"
    web["stages"][-1] |= {"status": "interrupted", "counts": None}
    assert "web_english was interrupted" in Page(render(web)).text


def test_missing_and_null_values_are_left_out(web: Report) -> None:
    bare = {"format": 1, "run_id": "r", "pipeline": "p", "status": "done", "stages": [{"name": "s", "kind": "documents", "status": "done"}]}
    assert "p kept 0 of 0 documents" in Page(render(bare)).text
    web["stages"][0] |= {"statistics": None, "samples": None, "step_seconds": None, "dataset": None, "seconds": None, "inputs": None}
    assert "kept" in Page(render(web)).text


def test_time_that_an_earlier_run_took_makes_no_speed(web: Report) -> None:
    web["stages"][0] |= {"status": "reused", "seconds": 0.0004, "new_shards": 0}
    web["stages"][1] |= {"shards": 10, "new_shards": 3, "seconds": 0.5}
    text = Page(render(web)).text
    assert re.search(r"textdocuments↺ reused20,000\S+?\d–+313 MB1", text)
    assert "Shards10, 3 new" in text
    speeds = [float(value) for value in re.findall(r"Speed, \w+([\d.]+) MB/s", text)]
    assert len(speeds) == 1
    assert speeds[0] < 100


def test_a_dataset_operator_shows_where_its_time_went(web: Report, simulated: Any) -> None:
    found = simulated.attributes("dedup", web["stages"][0]) | {"step_seconds": {"sign": 9.0, "write": 3.0}}
    text = Page(render(simulated.report([found]))).text
    assert "Phases of dedup: time of all tasksPhaseTimeShare of timesign9.00 s75.0%write3.00 s25.0%" in text and "Bytes removed" not in text


def test_a_group_known_only_on_the_way_out_has_no_drop_share(web: Report) -> None:
    web["stages"][0]["statistics"]["groups"] = {"lang.code": {"en": {"rows_out": 412, "text_bytes_out": 1000}}}
    assert "en–412––1.00 kB" in Page(render(web)).text


def test_forty_stages_with_all_their_evidence_fit(simulated: Any) -> None:
    stages = [simulated.stage("s00", 50_000, ["crawl"])]
    for index in range(1, 40):
        stages.append(
            simulated.stage(
                f"s{index:02d}", max(stages[-1]["counts"]["rows_out"], 500), [stages[-1]["name"]], seed=index, decisions=index % 2
            )
        )
    for each in stages:
        for reasons in each["samples"]["dropped"].values():
            for samples in reasons.values():
                samples[:] = [{"id": f"{i}", "excerpt": "<&>" * 400} for i in range(20)]
    written = render(simulated.report(stages))
    assert len(written.encode()) <= MAX_BYTES
    assert all(f'id="stage-s{index:02d}"' in written for index in range(40))
    assert written.count("sample document") > 40


def test_a_thousand_reasons_all_show_and_fit(simulated: Any) -> None:
    clean = simulated.stage("clean", 20_000, ["crawl"])
    clean["counts"]["dropped"] = {"rules": {f"rule_{index:04d}": 3 for index in range(1000)}}
    clean["samples"]["dropped"] = {
        "rules": {f"rule_{i:04d}": [{"id": f"d{i}-{j}", "excerpt": "€" * 2000} for j in range(5)] for i in range(1000)}
    }
    written = render(simulated.report([clean]))
    assert len(written.encode()) <= MAX_BYTES
    text = Page(written).text
    assert all(f"rule_{index:04d}3<0.1%" in text for index in (0, 500, 999))


def test_more_reasons_than_fit_are_summed_up(simulated: Any) -> None:
    clean = simulated.stage("clean", 20_000, ["crawl"])
    clean["counts"]["dropped"] = {"rules": {f"rule_{index:05d}": 1 + (index == 7) for index in range(12_000)}}
    written = render(simulated.report([clean]))
    assert len(written.encode()) <= MAX_BYTES
    text = Page(written).text
    assert "rule_00007" in text
    assert "10,000 further reasons" in text


@pytest.mark.parametrize(
    ("kept", "dropped", "words"), [(100_000, 90, "dropped drawn at"), (80, 100_000, "kept drawn at"), (1000, 700, None)]
)
def test_a_side_that_would_vanish_is_enlarged_and_says_so(simulated: Any, kept: int, dropped: int, words: str | None) -> None:
    lone = simulated.stage("clean", 100, ["crawl"])
    lone["statistics"] = {"scores": {"q": {"kept": {"0.7": kept}, "dropped": {"0.1": dropped}}}}
    text = Page(render(simulated.report([lone]))).text
    assert (words in text) if words else ("drawn at" not in text)


def test_equal_reports_give_equal_pages(simulated: Any) -> None:
    assert render(simulated.web_report(3000)) == render(simulated.web_report(3000))
