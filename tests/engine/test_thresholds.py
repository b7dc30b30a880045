"""`curate thresholds` agrees with a sorted list, finds the documents of attributes, and prints what it found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import thresholds_table
from curate.cli import cli
from curate.cli.thresholds import threshold_text
from curate.dataset import load
from curate.errors import DatasetError
from curate.launch import Request, launch
from curate.pipeline import Input, Output, Pipeline, Stage, Step
from curate.plan import Plan
from curate.thresholds_table import Asked, Corpus, kept
from tests.contracts.duplicates import workplace
from tests.engine import small

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "score": pa.float64(), "topic": pa.string()})
Docs = list[dict[str, Any]]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with workplace() as folder:
        yield folder


def pipeline(folder: Path, docs: Docs, shards: int, outputs: dict[str, Output]) -> Pipeline:
    """Return a pipeline whose stages are the documents, and their numbers of words as attributes."""
    path = small.write_shards(folder / "crawl", docs, shards, SCHEMA)
    stages = {
        "docs": Stage("crawl", operators=[Step("length", {"min_bytes": 0})]),
        "sizes": Stage("docs", operators=[Step("measure", {"measures": ["words"]}, into="size")], emits="attributes"),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, outputs=outputs, shard_bytes=1)


def words(counts: list[int]) -> Docs:
    topics = ("web", "wiki", None)
    return [{"id": f"d{i}", "text": "ü " * n, "score": n / 10, "topic": topics[i % 3]} for i, n in enumerate(counts)]


@pytest.fixture(scope="module")
def made(place: Path) -> Plan:
    """Ten documents of one to ten words in a workspace, with a run that `stage names` refer to, published in both formats."""
    outputs = {"docs": Output(str(place / "parquet")), "lines": Output(str(place / "lines"), stage="docs", format="jsonl")}
    pipe = pipeline(place, words(list(range(1, 11))), 3, outputs)
    assert launch(pipe, None, Request(str(place / "ws"), "local", 1), lambda event: None)["status"] == "done"
    return small.plan(pipe, place / "ws")


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ([0.123456, 0.0001234567], [">= 0.1235", ">= 0.0001235"]),
        ([0.999998, 0.999991, 0.9], [">= 0.999998", ">= 0.999991", ">= 0.9"]),
        ([1.0, 1.0 - 2**-53], [">= 1", ">= 0.9999999999999999"]),
        (["inf", 2.0], [">= inf", ">= 2"]),
        ([], []),
    ],
)
def test_thresholds_have_four_digits_or_as_many_as_tell_them_apart(scores: list[float], shown: list[str]) -> None:
    found = {"thresholds": scores, "highest": True}
    assert [threshold_text(found, place) for place in range(len(scores))] == shown


def invoke(place: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["thresholds", *arguments, "-w", str(place / "ws")], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_prints_a_table_with_bars(place: Path, made: Plan) -> None:
    assert invoke(place, "docs", "score", "--steps", "5") == (
        "docs: `score` of 10 documents, 165 B of text\n"
        "\n"
        "threshold  documents  share                             text  share\n"
        ">= 0.9             2  20.0%  ████▊                      57 B  34.5%  ████████▎\n"
        ">= 0.7             4  40.0%  █████████▋                102 B  61.8%  ██████████████▉\n"
        ">= 0.5             6  60.0%  ██████████████▍           135 B  81.8%  ███████████████████▋\n"
        ">= 0.3             8  80.0%  ███████████████████▎      156 B  94.5%  ██████████████████████▊\n"
        ">= 0.1            10   100%  ████████████████████████  165 B   100%  ████████████████████████\n"
    )
    groups = invoke(place, "docs", "score", "--steps", "2", "--by", "topic").partition("\n\ndocuments")[2]
    assert groups == (
        " kept of each `topic`, by the share of all documents that is kept:\n"
        "        in all  50.0%\n"
        "web          4  50.0%\n"
        "(none)       3  66.7%\n"
        "wiki         3  33.3%\n"
        "\n"
        "text kept of each `topic`, by the share of all documents that is kept:\n"
        "        in all  50.0%\n"
        "web       66 B  77.3%\n"
        "(none)    54 B  83.3%\n"
        "wiki      45 B  53.3%\n"
    )
    assert "<= 0.5             5  50.0%" in invoke(place, "docs", "score", "--steps", "2", "--lowest")


def test_attributes_are_counted_with_their_documents(place: Path, made: Plan) -> None:
    wanted = orjson.loads(invoke(place, "sizes", "size.words", "--json", "--by", "topic"))
    assert wanted["bytes"] == 165 and wanted["groups"]["wiki"]["documents"] == 3
    assert wanted["kept_documents"] == list(range(1, 11)) and wanted["thresholds"] == list(range(10, 0, -1))
    folder = made.dataset("sizes").url
    for name, column in (("sizes", "sizes.size.words"), ("docs", "sizes.size.words"), (folder, "size.words")):
        assert orjson.loads(invoke(place, name, column, "--json", "--by", "topic")) == wanted | {"column": "size.words"}
    assert orjson.loads(invoke(place / "elsewhere", folder, "size.words", "--json", "--by", "topic")) == wanted


def test_attributes_without_their_documents(place: Path, made: Plan) -> None:
    alone = Corpus(made.dataset("sizes"), None)
    found = kept(alone, Asked("size.words", 2))
    assert (found["bytes"], found["kept_bytes"], found["kept_documents"]) == (None, None, [5, 10])


@pytest.mark.parametrize("form", ["parquet", "lines"])
def test_published_corpora(form: str, place: Path, made: Plan) -> None:
    found = orjson.loads(invoke(place, str(place / form), "score", "--json", "--by", "topic"))
    assert found == orjson.loads(invoke(place, "docs", "score", "--json", "--by", "topic"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("docs", "quality"), "docs has no column `quality`"),
        (("docs", "score", "--by", "source.x"), "docs has no column `source.x`"),
        (("docs", "text"), "column `text` of docs is large_string, not a number"),
        (("sizes", "size"), "column `size` is struct<words: int64"),
        (("doc", "score"), "has no finished stage `doc`"),
        (("no/such", "score"), "no finished dataset at no/such"),
    ],
)
def test_what_is_not_there_is_told(arguments: tuple[str, ...], message: str, place: Path, made: Plan) -> None:
    with pytest.raises(DatasetError) as caught:
        invoke(place, *arguments)
    assert message in caught.value.message


SCORES = st.one_of(st.sampled_from([None, math.nan, 0.5, 0.25, -0.0, 0.0, math.inf]), st.floats())
DOCS = st.lists(
    st.fixed_dictionaries({"text": st.sampled_from(["", "a", "éa"]), "score": SCORES, "topic": st.sampled_from(["a", "b", None])}),
    max_size=40,
)


@settings(max_examples=40)
@given(drawn=DOCS, steps=st.sampled_from([1, 3, 10, 100]), highest=st.booleans(), shards=st.sampled_from([1, 4]))
def test_agrees_with_a_sorted_list(drawn: Docs, steps: int, highest: bool, shards: int) -> None:
    docs: Docs = [{"id": f"d{i}"} | doc for i, doc in enumerate(drawn)]
    with workplace() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds_table, "BINS_AT_ONCE", 2)
        path = small.write_shards(folder / "crawl", docs, shards, SCHEMA)
        pipe = small.pipeline(path, {"dedup": Stage("crawl", use="exact_dedup")}, inputs={"crawl": Input(str(path))}, shard_bytes=1)
        plan, _ = small.run(pipe, folder / "ws")
        found = kept(Corpus(load(plan.dataset("crawl").url), None), Asked("score", steps, "topic", highest))
    scored = [doc | {"score": doc["score"] + 0.0} for doc in docs if doc["score"] is not None and not math.isnan(doc["score"])]
    order = sorted((doc["score"] for doc in scored), reverse=highest)
    wanted = {order[math.ceil(step * len(order) / steps) - 1] for step in range(1, steps + 1)} if order else set()
    assert [float(score) for score in found["thresholds"]] == sorted(wanted, reverse=highest)
    topics = {"(none)" if doc["topic"] is None else doc["topic"] for doc in docs}
    assert set(found["groups"]) == topics | ({"(none)"} if not docs else set())
    for name, told in (("", found), *found["groups"].items()):
        own = [doc for doc in docs if not name or (doc["topic"] or "(none)") == name]
        verify(
            told,
            own,
            [doc for doc in scored if doc["id"] in {mine["id"] for mine in own}],
            [float(t) for t in found["thresholds"]],
            highest,
        )


def verify(told: dict[str, Any], docs: Docs, scored: Docs, cuts: list[float], highest: bool) -> None:
    assert (told["documents"], told["without_score"], told["bytes"]) == (len(docs), len(docs) - len(scored), size(docs))
    for place, cut in enumerate(cuts):
        above = [doc for doc in scored if (doc["score"] >= cut if highest else doc["score"] <= cut)]
        assert (told["kept_documents"][place], told["kept_bytes"][place]) == (len(above), size(above))


def size(docs: Docs) -> int:
    return sum(len((doc["text"] or "").encode()) for doc in docs)
