"""Scores by source and documents at both ends: gathered the same for any batches and shards, and shown behind a click."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.histogram import SCORE_EDGES, score_histogram
from curate.manifest import add_nested
from curate.report.html import render
from curate.report.scores import quantile
from curate.scored import GROUPS, KEPT, OTHER, Scored, fold_scores, merge_tails
from tests.report.test_html import HOSTILE, Page

Report = dict[str, Any]


def documents(count: int = 400, sources: int = 3) -> pa.RecordBatch:
    """Return documents with scores of every kind: within 0 to 1, at edges, far beyond, tied, null and not finite."""
    dice = np.random.default_rng(8)
    quality = np.round(dice.beta(3, 2, count), 2)
    quality[:4] = [1.0, 0.0, np.nan, np.inf]
    lengths = pa.array([None if n % 9 == 0 else int(size) for n, size in enumerate(np.exp(dice.normal(6, 2, count)))], pa.int64())
    ids = [f"d{n}" for n in range(count)]
    columns = {
        "id": ids,
        "text": [f"text of {one} " * 60 for one in ids],
        "source": [None if n % 50 == 7 else f"s{n % sources}" for n in range(count)],
        "quality": quality,
        "size": pa.StructArray.from_arrays([lengths], ["words"]),
    }
    return pa.RecordBatch.from_pydict(columns)


def gathered(docs: pa.RecordBatch, batch: int) -> Scored:
    scored = Scored(["quality", "size.words", "absent"], ["source", "absent.code"])
    for begin in range(0, docs.num_rows, batch):
        scored.add(docs.slice(begin, batch))
    return scored


def test_each_source_has_the_histogram_of_its_documents() -> None:
    docs = documents()
    told = gathered(docs, 64).statistics()["scores_by"]["source"]
    sources = np.array([one or "" for one in docs.column("source").to_pylist()])
    quality = docs.column("quality").to_numpy()
    words = np.array([np.nan if one["words"] is None else one["words"] for one in docs.column("size").to_pylist()])
    for name in ("", "s0", "s1", "s2"):
        for score, values in (("quality", quality), ("size.words", words)):
            mine = values[sources == name]
            assert told[score][name] == score_histogram(mine[np.isfinite(mine)])


def test_bins_are_those_of_score_histogram_at_every_edge() -> None:
    edges = np.array(SCORE_EDGES)
    for values in (edges, edges[np.abs(edges) <= 1], np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), edges * 1.01, -edges):
        scored = Scored(["x"], ["of"])
        scored.add(pa.RecordBatch.from_pydict({"id": [str(n) for n in range(len(values))], "of": ["a"] * len(values), "x": values}))
        assert scored.statistics()["scores_by"]["of"]["x"]["a"] == score_histogram(values)


def test_ends_are_the_utmost_documents() -> None:
    docs = documents()
    told = gathered(docs, 64).samples()["tails"]["quality"]
    quality = docs.column("quality").to_numpy()
    finite = np.sort(quality[np.isfinite(quality)])
    assert [one["value"] for one in told["lowest"]] == finite[:KEPT].tolist()
    assert [one["value"] for one in told["highest"]] == finite[::-1][:KEPT].tolist()
    for one in (*told["lowest"], *told["highest"]):
        assert (
            quality[int(one["id"][1:])] == one["value"]
            and one["excerpt"].startswith(f"text of {one['id']} ")
            and len(one["excerpt"]) == 300
        )


@pytest.mark.parametrize("ties", [False, True])
def test_batches_and_their_order_do_not_matter(ties: bool) -> None:
    docs = documents()
    if ties:
        docs = docs.set_column(3, "quality", pa.array(np.arange(400) % 2, pa.float64()))
    whole = gathered(docs, 400)
    for batch in (1, 7, 64):
        again = gathered(docs, batch)
        assert again.samples() == whole.samples() and again.statistics() == whole.statistics()
    backwards = gathered(docs.take(pa.array(range(399, -1, -1))), 31)
    assert backwards.samples() == whole.samples() and backwards.statistics() == whole.statistics()


def test_shards_are_added_up() -> None:
    docs = documents()
    statistics: dict[str, Any] = {}
    tails: dict[str, Any] = {}
    for begin in range(0, 400, 100):
        part = gathered(docs.slice(begin, 100), 30)
        add_nested(statistics, part.statistics())
        merge_tails(tails, part.samples()["tails"])
    whole = gathered(docs, 400)
    assert statistics == whole.statistics()
    for score, sides in whole.samples()["tails"].items():
        for side, entries in sides.items():
            assert [one["value"] for one in tails[score][side]] == [one["value"] for one in entries]


def test_many_sources_are_folded_and_none_is_lost() -> None:
    docs = documents(400, sources=300)
    found = gathered(docs, 50).statistics()["scores_by"]["source"]["quality"]
    assert len(found) == GROUPS and OTHER in found
    assert sum(sum(one.values()) for one in found.values()) == 398
    assert all(gathered(docs, batch).statistics()["scores_by"]["source"]["quality"] == found for batch in (1, 7, 400))


def test_shards_choose_the_same_sources() -> None:
    docs = documents(400, sources=300)
    statistics: dict[str, Any] = {}
    for begin in range(0, 400, 80):
        add_nested(statistics, gathered(docs.slice(begin, 80), 30).statistics())
        fold_scores(statistics)
    assert statistics == gathered(docs, 400).statistics()


def test_no_documents_and_no_scores_tell_nothing() -> None:
    assert gathered(documents().slice(0, 0), 10).statistics().get("scores_by", {}).get("source", {}).get("quality", {}) == {}
    bare = Scored([], ["source"])
    bare.add(documents())
    assert bare.statistics() == {} and bare.samples() == {}


def test_quantiles_are_within_a_bin() -> None:
    values = np.random.default_rng(2).random(5000)
    for share in (0.1, 0.5, 0.9):
        assert quantile(score_histogram(values), share) == pytest.approx(np.quantile(values, share), abs=0.02)
    assert quantile({}, 0.5) is None


def shown(web: Report, scored: Scored) -> str:
    stage = web["stages"][1]
    stage["statistics"] |= scored.statistics()
    stage["samples"] |= scored.samples()
    return render(web)


def test_the_page_shows_sources_and_ends_behind_a_click(web: Report) -> None:
    docs = documents()
    page = shown(web, gathered(docs, 100))
    text = Page(page).text
    assert "Scores by source" in text and "Documents at both ends" in text
    told = gathered(docs, 100).samples()["tails"]["quality"]["highest"]
    assert f"quality, highest: {told[0]['value']:.3g} to {told[-1]['value']:.3g}" in text
    assert all(one["id"] in text for one in told)
    s0 = quantile(gathered(docs, 100).statistics()["scores_by"]["source"]["quality"]["s0"], 0.5)
    assert f"{s0:.3g}" in text
    assert page.count('class="strip"') == 2 * 4  # two scores, three sources and those without


def test_a_single_source_is_not_compared_with_itself(web: Report) -> None:
    assert (
        "Scores by source"
        not in Page(shown(web, gathered(documents(50, sources=1).filter(pa.array([n != 7 for n in range(50)])), 50))).text
    )


def test_hostile_scores_stay_text(web: Report) -> None:
    scored = Scored(["quality"], ["source"])
    docs = documents(20)
    scored.add(
        docs.set_column(2, "source", pa.array([HOSTILE + str(n % 2) for n in range(20)])).set_column(1, "text", pa.array([HOSTILE] * 20))
    )
    page = Page(shown(web, scored))
    assert not {"script", "img"} & set(page.tags)
    assert "alert(1)" in page.text


def test_what_is_only_measured_is_not_called_dropped(web: Report) -> None:
    """A stage of attributes has no text to leave: its groups are no losses, its histograms not what stayed."""
    stage = web["stages"][1]
    stage["kind"] = "attributes"
    stage["counts"] |= {"dropped": {}, "errored": 0, "rows_out": stage["counts"]["rows_in"], "text_bytes_out": 0}
    for pair in (stage["statistics"]["length"], *stage["statistics"]["scores"].values()):
        pair.pop("dropped")
    for values in stage["statistics"]["groups"].values():
        for numbers in values.values():
            numbers["rows_out"] = 0
    web["stages"] = [stage]
    text = Page(render(web)).text
    assert "measured, median" in text and "100%" not in text.partition("By source")[2] and "By the median" not in text


def test_whether_length_chose_is_said_in_a_sentence(web: Report) -> None:
    web["stages"][1]["statistics"]["length"] = {"kept": {"1000": 10}, "dropped": {"237": 10}}
    assert (
        "By the median, documents that stayed are 4.2 times as long as those that went: 1.17 kB of text against 276 B."
        in Page(render(web)).text
    )


def test_words_for_and_against_have_bars_on_both_sides(web: Report) -> None:
    words = {"theorem": {"adds": 1.5}, "casino": {"adds": -3.0}, HOSTILE: {"adds": 0.0}}
    note = {"name": "words", "passed": True, "message": "words that speak most for `good`", "measures": words, "curve": None}
    web["stages"][1]["notes"] = [note]
    page = render(web)
    text = Page(page).text
    assert "theorem1.5casino-3" in text and "script" not in Page(page).tags
    assert '<rect x="50" y="0" width="25" height="10" class="kept"/>' in page
    assert '<rect x="0" y="0" width="50" height="10" class="dropped"/>' in page
