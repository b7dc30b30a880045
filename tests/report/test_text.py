"""The ending on the terminal, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from curate.report.text import WIDTH, funnel, summary


def _counts(rows_in: int, rows_out: int, dropped: dict[str, dict[str, int]], errored: int, text: tuple[int, int]) -> dict[str, Any]:
    rows = {"rows_in": rows_in, "rows_added": 0, "rows_out": rows_out, "merged": 0, "errored": errored}
    volume = {"bytes_in": 48_000_000, "bytes_out": 9_000_000, "text_bytes_in": text[0], "text_bytes_out": text[1]}
    return rows | volume | {"dropped": dropped, "edited": {}}


def _run() -> dict[str, Any]:
    clean_drops = {"language": {"not_english": 300}, "length": {"too_short": 120, "too_long": 4}}
    clean = {
        "name": "clean", "kind": "documents", "status": "done", "inputs": ["crawl"], "steps": ["extract_html", "language", "length"],
        "counts": _counts(1000, 574, clean_drops, 2, (0, 3_210_000)),
    }  # fmt: skip
    dedup = {"name": "dedup", "kind": "attributes", "status": "reused", "inputs": ["clean"], "counts": _counts(574, 574, {}, 0, (0, 0))}
    corpus = {
        "name": "corpus", "kind": "documents", "status": "done", "inputs": ["clean", "dedup"], "steps": ["dedup"],
        "counts": _counts(574, 500, {"dedup": {"exact_duplicate": 74}}, 0, (3_210_000, 2_900_000)),
    }  # fmt: skip
    return {
        "format": 1, "run_id": "20261007-142233-7f3a", "pipeline": "quickstart", "status": "done", "seconds": 12.4, "error": None,
        "stages": [clean, dedup, corpus],
        "outputs": [{"name": "corpus", "path": "out/corpus", "format": "parquet", "rows": 500, "bytes": 1_200_000}],
        "checks": [{"name": "enough", "passed": True, "message": "500 documents, at least 100 wanted", "measures": {}}],
    }  # fmt: skip


FUNNEL = """\
                          documents  share           text
in: crawl                     1,000         48.0 MB files
clean
  language: not_english        -300  30.0%
  length: too_short            -120  12.0%
  length: too_long               -4   0.4%
  quarantined                    -2   0.2%
corpus                          574               3.21 MB
  dedup: exact_duplicate        -74   7.4%
out: corpus                     500  50.0%        2.90 MB"""


def test_the_funnel_is_aligned_and_complete() -> None:
    assert "\n".join(funnel(_run())) == FUNNEL


def test_the_whole_ending() -> None:
    assert summary(_run()) == (
        "quickstart  done  12 s  3 of 3 stages  20261007-142233-7f3a\n"
        "\n"
        f"{FUNNEL}\n"
        "\n"
        "1,000 in + 0 added = 500 out + 498 dropped + 0 merged + 2 errored  ok\n"
        "\n"
        "check enough: passed: 500 documents, at least 100 wanted\n"
        "output corpus: out/corpus  (500 documents, 1.20 MB, parquet)\n"
    )


def test_a_verdict_is_printed_whole() -> None:
    run = _run()
    numbers = "clean is not told apart from raw: -0.0123 bits per byte, 95 % interval -0.0307 to +0.0061 (5 seeds, 12 sets)"
    run["checks"] = [{"name": "better", "passed": False, "message": numbers}]
    printed = summary(run)
    assert numbers in " ".join(printed.split()) and max(map(len, printed.splitlines())) <= 100


def test_a_failed_run_says_where_and_what_to_do() -> None:
    run = _run()
    run["status"], run["outputs"], run["checks"] = "failed", [], []
    run["stages"][2] |= {"status": "failed", "counts": None}
    run["error"] = {"message": "stage corpus, shard 0: no space left", "hint": "free some space and run again", "stage": "corpus"}
    assert summary(run) == (
        "quickstart  failed  12 s  2 of 3 stages  20261007-142233-7f3a\n"
        "\n"
        "                         documents  share           text\n"
        "in: crawl                    1,000         48.0 MB files\n"
        "clean\n"
        "  language: not_english       -300  30.0%\n"
        "  length: too_short           -120  12.0%\n"
        "  length: too_long              -4   0.4%\n"
        "  quarantined                   -2   0.2%\n"
        "corpus (failed)\n"
        "\n"
        "stage corpus: failed\n"
        "\n"
        "error: stage corpus, shard 0: no space left\n"
        "hint: free some space and run again\n"
    )


def test_lost_documents_are_called_out() -> None:
    run = _run()
    run["stages"][2]["counts"]["rows_out"] = 499
    assert "1,000 in + 0 added != 499 out + 498 dropped + 0 merged + 2 errored  NOT ACCOUNTED FOR\n" in summary(run)


def test_many_reasons_are_summed_up() -> None:
    run = _run()
    run["stages"][0]["counts"]["dropped"] = {"rules": {f"rule_{index:02d}": 50 - index for index in range(12)}}
    printed = funnel(run)
    assert [line.split()[1] for line in printed if "rules: rule" in line] == [f"rule_{index:02d}" for index in range(8)]
    assert any(line.startswith("  rules: 4 more reasons") and " -162 " in line for line in printed)


@pytest.mark.parametrize("long", ["x" * 300, "two words " * 40, "東" * 90, "\x1b[2J\n\r" * 60])
def test_no_line_is_wider_than_the_terminal_and_none_moves_the_cursor(long: str) -> None:
    run = _run()
    run["pipeline"] = run["run_id"] = long
    run["stages"][0] |= {"inputs": [long], "counts": _counts(10**12, 10**12 - 5, {long: {long: 5}}, 0, (10**15, 10**15))}
    run["checks"][0]["message"] = long
    printed = summary(run)
    assert max(map(len, printed.splitlines())) <= WIDTH
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert "1,000,000,000,000" in printed


def test_a_run_without_stages_has_no_funnel() -> None:
    assert (
        summary({"pipeline": "p", "status": "done", "run_id": "r", "seconds": 0.5, "stages": []}) == "p  done  0.50 s  0 of 0 stages  r\n"
    )


def test_an_attribute_of_another_stage_than_the_output_is_no_funnel() -> None:
    run = _run()
    run["stages"] = run["stages"][1:2]
    assert funnel(run) == []


def test_an_input_that_is_read_as_it_is_stands_once_in_every_line() -> None:
    run = _run()
    crawl = {
        "name": "crawl",
        "kind": "documents",
        "status": "done",
        "inputs": ["crawl"],
        "steps": [],
        "counts": _counts(9, 9, {}, 0, (0, 90)),
    }
    ends = [
        {"name": name, "kind": "documents", "status": "done", "inputs": ["crawl"], "steps": [], "counts": _counts(9, 9, {}, 0, (90, 90))}
        for name in ("long", "short")
    ]
    run["stages"], run["outputs"] = [crawl, *ends], []
    labels = [line.split("  ")[0] for line in funnel(run)]
    assert labels[1:] == ["in: crawl", "crawl", "long", "out: long", "in: crawl", "crawl", "short", "out: short"]
