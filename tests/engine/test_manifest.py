"""Records survive a trip through JSON, refuse what they do not know, and notice any row that is not accounted for."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DatasetError
from curate.manifest import FORMAT, Counts, FileRecord, Manifest, Measured, Receipt, add_nested, total

NUMBERS = st.integers(0, 10**12)
NAMES = st.text(min_size=1, max_size=5)
TREES = st.dictionaries(NAMES, st.dictionaries(NAMES, NUMBERS, max_size=3), max_size=3)
COUNTS = st.builds(Counts, *[NUMBERS] * 5, TREES, TREES, *[NUMBERS] * 4)
FILES = st.builds(FileRecord, NAMES, NUMBERS, NUMBERS, NAMES)
RECEIPTS = st.builds(
    Receipt, st.integers(0, 99), NAMES, FILES, st.none() | FILES, st.none() | FILES, st.none() | FILES, COUNTS, TREES, TREES
)
MANIFESTS = st.builds(
    Manifest,
    st.sampled_from(["documents", "attributes"]),
    *[NAMES] * 3,
    st.dictionaries(NAMES, NAMES),
    st.lists(RECEIPTS, max_size=3),
    COUNTS,
)


@given(RECEIPTS)
def test_receipts_survive_json(receipt: Receipt) -> None:
    assert Receipt.from_json(receipt.to_json(), "here") == receipt


@given(MANIFESTS)
def test_manifests_survive_json(manifest: Manifest) -> None:
    again = Manifest.from_json(manifest.to_json(), "here")
    assert again == manifest
    assert list(again.columns) == list(manifest.columns), "columns keep their order"
    assert again.to_json() == manifest.to_json()


def receipt() -> Receipt:
    return Receipt(0, "u", FileRecord("part-00000.parquet", 1, 2, "ab"), None, None, None, Counts(rows_in=1, rows_out=1))


def test_equal_receipts_are_equal_bytes() -> None:
    one, two = receipt(), receipt()
    one.counts.dropped = {"a": {"x": 1, "y": 2}, "b": {}}
    two.counts.dropped = {"b": {}, "a": {"y": 2, "x": 1}}
    assert one.to_json() == two.to_json()


def broken(change: dict[str, Any], remove: str | None = None) -> bytes:
    raw = orjson.loads(receipt().to_json()) | change
    raw.pop(remove, None)
    return orjson.dumps(raw)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (broken({"colour": "red"}), "colour"),
        (broken({"counts": {"rows_inn": 1}}), "rows_inn"),
        (broken({"data": {"path": "x"}}), "rows"),
        (broken({}, remove="unit"), "unit"),
        (broken({}, remove="format"), "format"),
        (broken({"format": FORMAT + 1}), f"format {FORMAT + 1}, this curate reads {FORMAT}"),
        (receipt().to_json()[:-5], "not a valid receipt"),
        (b"", "not a valid receipt"),
        (b"[]", "not a valid receipt"),
        (b"null", "not a valid receipt"),
    ],
)
def test_what_is_not_known_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(DatasetError, match=says) as raised:
        Receipt.from_json(data, "ws/receipts/part-00000.json")
    assert raised.value.message.startswith("ws/receipts/part-00000.json: ") and raised.value.hint


BALANCED = Counts(rows_in=10, rows_added=3, rows_out=6, merged=1, errored=2, dropped={"a": {"x": 1, "y": 2}, "b": {"x": 1}})


def test_what_adds_up_passes() -> None:
    BALANCED.verify("here")
    Counts().verify("here")


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("name", ["rows_in", "rows_added", "rows_out", "merged", "errored", "dropped"])
def test_any_imbalance_is_caught(name: str, change: int) -> None:
    changed: Any = {"a": {"x": 1, "y": 2 + change}, "b": {"x": 1}} if name == "dropped" else getattr(BALANCED, name) + change
    with pytest.raises(DatasetError, match="shard 7: the receipt does not add up: 1?[0-9]+ in"):
        dataclasses.replace(BALANCED, **{name: changed}).verify("shard 7")


@given(st.lists(COUNTS, max_size=4), st.randoms())
def test_the_sum_of_counts_does_not_depend_on_their_order(many: list[Counts], dice: Any) -> None:
    def summed(order: list[Counts]) -> Counts:
        whole = Counts()
        for counts in order:
            whole.add(counts)
        return whole

    shuffled = dice.sample(many, len(many))
    assert summed(many) == summed(shuffled)
    assert summed(many).rows_dropped == sum(counts.rows_dropped for counts in many)
    assert summed(many).text_bytes_out == sum(counts.text_bytes_out for counts in many)


def test_adding_leaves_the_other_as_it_was() -> None:
    into: dict[str, Any] = {}
    other = {"a": {"b": {"c": 1}}, "n": 2}
    add_nested(into, other)
    add_nested(into, other)
    assert into == {"a": {"b": {"c": 2}}, "n": 4}
    assert other == {"a": {"b": {"c": 1}}, "n": 2}


def test_time_is_summed_and_the_peak_is_the_highest() -> None:
    shards = [dataclasses.replace(receipt(), measured=Measured(s, s / 2, peak, 2, {"a": s})) for s, peak in ((1.0, 5), (2.0, 9), (4.0, 7))]
    counts, measured = total(shards)
    assert counts.rows_in == 3
    assert measured == Measured(7.0, 3.5, 9, 6, {"a": 7.0})
