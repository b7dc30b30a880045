"""Tests of what the benchmark of PreSelect counts: shares, tenths, intervals, verdicts and the drawing."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import preselect_small_figure as figure
from tests.benchmarks import preselect_small_table as tables
from tests.benchmarks.preselect_small_methods import Bench, lowest
from tests.benchmarks.preselect_small_pool import REPORTED, TUNING, Pool, Target, draw, missing
from tests.benchmarks.preselect_small_table import Found


def pool(*lengths: int) -> Pool:
    """Return a pool of documents `0`, `1`, …, of site `good` when even."""
    rows = [{"id": str(n), "text": "x" * length, "site": "bad" if n % 2 else "good"} for n, length in enumerate(lengths)]
    return Pool(Path("unused"), rows)


def found(method: str, *shares: float) -> list[Found]:
    return [Found(seed, "t", method, share, share, 1) for seed, share in enumerate(shares)]


def test_shares_are_of_characters_and_of_documents() -> None:
    assert pool(30, 10, 60).useful(["0", "1"], Target(frozenset({"good"}))) == (0.75, 0.5)


def test_a_tenth_ends_with_the_document_that_reaches_it() -> None:
    bench = Bench(pool(*[10] * 20))
    assert lowest(bench, {str(n): -float(n) for n in range(20)}) == ["19", "18"]
    assert lowest(bench, dict.fromkeys(map(str, range(20)), 0.0)) == ["0", "1"]  # ties by id
    assert lowest(Bench(pool(9, 10, 181)), {"0": 0.0, "1": 1.0, "2": 2.0}) == ["0", "1", "2"]


def test_the_interval_is_students() -> None:
    mean, low, high = tables.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (mean, low, high) == pytest.approx((3.0, 3 - 2.776 * 2.5**0.5 / 5**0.5, 3 + 2.776 * 2.5**0.5 / 5**0.5))


def test_verdicts_follow_the_differences_pool_by_pool() -> None:
    """Pools that differ more than methods do: paired differences tell them apart, the methods' own intervals would not."""
    rows = found("PreSelect", 0.2, 0.5, 0.8) + found("random", 0.1, 0.39, 0.7) + found("lowest loss", 0.25, 0.45, 0.8)
    rows += found("middle loss", 0.3, 0.61, 0.9) + found("DCLM, instructions", 0.1, 0.39, 0.7) + found("DCLM, the target", 0.2, 0.6, 0.7)
    rows += found(tables.POOL, 0.3, 0.3, 0.3) + found(tables.TAUGHT, 0.4, 0.4, 0.4)
    told = tables.text(rows, {"t": Target(frozenset({"good"}))}, {"t": 0.1})
    assert "- beside *random*: better on t." in told
    assert "- beside *lowest loss*: not told apart on t." in told
    assert "- beside *middle loss*: worse on t." in told
    assert "mean of 3 seeds" in told


def test_the_figure_is_xml_with_a_dot_for_every_seed() -> None:
    methods = (*tables.METHODS, tables.POOL)
    drawing = figure.draw([row for method in methods for row in found(method, 0.1, 0.9, 1.0)])
    root = ElementTree.fromstring(drawing)
    circles = [each.attrib for each in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert sum(each["class"] == "seed" for each in circles) == 3 * len(tables.METHODS)
    places = sorted({float(each["cx"]) for each in circles if each["class"] == "seed"})
    assert places == pytest.approx([figure.LABELS + figure.PANEL * share for share in (0.1, 0.9, 1.0)], abs=0.1)


@pytest.mark.skipif(bool(missing()), reason="no shared data (CURATE_TEST_DATA)")
def test_what_is_trained_on_is_not_in_the_pool_and_targets_are_in_neither(tmp_path: Path) -> None:
    drawn = draw(1, tmp_path, TUNING)
    texts = [set(path.read_bytes().splitlines()) for path in (drawn.crawl, drawn.train, *(drawn.target(name) for name in TUNING))]
    assert all(texts)
    assert sum(map(len, texts)) == len(set().union(*texts))
    sites = {row["site"] for row in drawn.rows}
    assert all(target.useful <= sites for target in (REPORTED | TUNING).values())
    assert draw(2, tmp_path, {}).rows[0] != drawn.rows[0]
