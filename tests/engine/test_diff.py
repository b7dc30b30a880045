"""`curate diff` agrees with a few lines of plain Python, and knows what removed a document."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import shuffle
from curate.cli import main
from curate.cli.diff import diff as command
from curate.dataset import Dataset, load
from curate.diff import Options, diff
from curate.diff_causes import lineage_of
from curate.diff_shared import shared_shards
from curate.errors import DatasetError
from curate.manifest import MANIFEST, Counts, FileRecord, Manifest, Receipt
from curate.pipeline import Output, Stage, Step
from curate.storage import LocalStorage
from tests.engine import small

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "source": pa.string(), "lang": pa.struct({"code": pa.string()})})
DOCS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from([f"d{i}" for i in range(12)]),
            "text": st.sampled_from(["a", "b", "ü", "", None]),
            "source": st.sampled_from(["web", "wiki", None]),
            "lang": st.sampled_from([{"code": "en"}, {"code": None}, None]),
        }
    ),
    max_size=20,
)


def dataset(folder: Path, docs: list[dict[str, Any]], shards: int, told: bool = False) -> Dataset:
    """Write documents as a dataset of so many shards; its manifest may tell their hashes and how long the texts are."""
    receipts = []
    for number in range(shards):
        rows = docs[len(docs) * number // shards : len(docs) * (number + 1) // shards]
        path = folder / f"part-{number:05d}.parquet"
        small.write_shard(path, [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)
        record = FileRecord(path.name, len(rows), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest() if told else "")
        counts = Counts(rows_in=len(rows), rows_out=len(rows), text_bytes_out=size(rows) if told else 0)
        receipts.append(Receipt(number, str(number), record, None, None, None, counts))
    columns = {field.name: str(field.type) for field in SCHEMA}
    manifest = Manifest("documents", folder.name, "0" * 16, "", columns, receipts, Counts(rows_in=len(docs), rows_out=len(docs)))
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return load(str(folder))


def numbered(docs: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return documents by id and how often it came before."""
    seen: Counter[str] = Counter()
    found = {}
    for doc in docs:
        found[doc["id"], seen[doc["id"]]] = doc
        seen[doc["id"]] += 1
    return found


def reference(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    before, after = numbered(old), numbered(new)
    return {
        "added": [doc for key, doc in after.items() if key not in before],
        "removed": [doc for key, doc in before.items() if key not in after],
        "changed": [doc for key, doc in after.items() if key in before and before[key]["text"] != doc["text"]],
    }


def size(docs: list[dict[str, Any]]) -> int:
    return sum(len((doc["text"] or "").encode()) for doc in docs)


@settings(max_examples=60)
@given(old=DOCS, new=DOCS, shards=st.sampled_from([1, 2, 5]), partitions=st.sampled_from([1, 3, 16]))
def test_agrees_with_plain_python(old: Any, new: Any, shards: int, partitions: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("diff")
    sides = dataset(folder / "old", old, shards), dataset(folder / "new", new, shards + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: partitions)
        found = diff(*sides, Options(by=("source", "lang.code"), sample=3), LocalStorage(folder / "scratch"))
    expected = reference(old, new)
    for kind, docs in expected.items():
        assert (found[kind]["documents"], found[kind]["bytes"]) == (len(docs), size(docs))
        by_source = Counter(doc["source"] or "(none)" for doc in docs)
        assert {name: counts[kind] for name, counts in found["by"]["source"].items() if counts[kind]} == by_source
        shown = [entry["id"] for entry in found["samples"][kind]]
        assert len(shown) == min(3, len(docs)) and not Counter(shown) - Counter(doc["id"] for doc in docs)
    assert found["unchanged"]["documents"] == len(new) - len(expected["added"]) - len(expected["changed"])
    assert found["unchanged"]["documents"] == len(old) - len(expected["removed"]) - len(expected["changed"])
    assert sum(counts["old"] for counts in found["by"]["lang.code"].values()) == len(old) == found["old"]["documents"]
    assert (found["old"]["bytes"], found["new"]["bytes"]) == (size(old), size(new))


def test_the_sample_does_not_depend_on_shards_or_partitions(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": f"text {i}", "source": "web", "lang": None} for i in range(50)]
    told = []
    for shards, partitions in ((1, 1), (7, 5)):
        folder = tmp_path / str(shards)
        sides = dataset(folder / "old", docs, shards), dataset(folder / "new", [d | {"text": "other"} for d in docs[:25]], shards)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shuffle, "partitions_for", lambda rows, row_bytes, number=partitions: number)
            told.append(diff(*sides, Options(sample=4), LocalStorage(folder / "scratch"))["samples"])
    assert told[0] == told[1]
    assert {"before": told[0]["changed"][0]["before"], "after": "other"} == {k: told[0]["changed"][0][k] for k in ("before", "after")}
    assert told[0]["changed"][0]["before"].startswith("text ")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a filter, a poisonous document, duplicates, and documents cut into parts."""
    folder = tmp_path_factory.mktemp("diff-run")
    docs = [*small.documents(6), {"id": "short", "text": "x"}, {"id": "copy", "text": small.documents(1)[0]["text"].upper()}]
    source = small.write_jsonl(folder / "in/a.jsonl", docs)
    stages = {
        "text": Stage("crawl", [Step("normalize")]),
        "clean": Stage(
            "text", [Step("length", {"min_chars": 10}), Step("my_ops.py:Short", {"poison": "word3"}, name="short")], max_errors=1
        ),
        "mark": Stage("clean", use="exact_dedup"),
        "corpus": Stage(["clean", "mark"], apply=["mark"]),
        "parts": Stage("corpus", [Step("my_ops.py:Parts", name="parts")]),
    }
    path = folder / "pipeline.yaml"
    pipe = small.pipeline(source, stages, outputs={"corpus": Output(str(folder / "out"), format="jsonl")})
    from curate.launch import Request, launch

    report = launch(pipe, None, Request(str(folder / "ws"), "local", 1), lambda event: None)
    assert report["status"] == "done", (path, report)
    return folder


def causes(found: dict[str, Any]) -> set[tuple[str | None, str | None, str, int]]:
    return {(c["stage"], c["step"], c["reason"], c["documents"]) for c in found["removed"]["causes"]}


def run(*args: str) -> Any:
    done = CliRunner().invoke(command, list(args), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_what_removed_them(workspace: Path) -> None:
    found = orjson.loads(run("text", "last:corpus", "-w", str(workspace / "ws"), "--json", "--sample", "9"))
    assert causes(found) == {("clean", "length", "too_few_chars", 1), ("clean", "short", "error", 1), ("corpus", "mark", "duplicate", 1)}
    by_id = {entry["id"]: entry for entry in found["samples"]["removed"]}
    assert by_id["copy"] | {"excerpt": ""} == {
        "id": "copy", "excerpt": "", "stage": "corpus", "step": "mark", "reason": "duplicate", "kept_id": "d0000", "similarity": 1.0
    }  # fmt: skip
    assert "cannot bear 'word3'" in by_id["d0003"]["error"]
    assert found["removed"]["documents"] == 3 == found["old"]["documents"] - found["new"]["documents"]


def test_a_published_corpus_of_json_lines(workspace: Path) -> None:
    published = run("text", str(workspace / "out"), "-w", str(workspace / "ws"), "--json")
    stage = run("text", "corpus", "-w", str(workspace / "ws"), "--json")
    one, other = orjson.loads(published), orjson.loads(stage)
    assert one.pop("new")["documents"] == other.pop("new")["documents"] == 5
    assert one == other


def test_documents_made_of_others(workspace: Path) -> None:
    found = orjson.loads(run("corpus", "parts", "-w", str(workspace / "ws"), "--json"))
    assert causes(found) == {("parts", "expand", "other documents were made of it", 5)}


def test_the_other_way_round_adds(workspace: Path) -> None:
    there, back = (orjson.loads(run(*names, "-w", str(workspace / "ws"), "--json")) for names in (("text", "corpus"), ("corpus", "text")))
    assert there["removed"]["documents"] == back["added"]["documents"] == 3
    assert back["removed"] == {"documents": 0, "bytes": 0, "causes": []}


def test_no_run_made_it(workspace: Path, tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": "t", "source": None, "lang": None} for i in range(3)]
    dataset(tmp_path / "a", docs, 1), dataset(tmp_path / "b", docs[:1], 1)
    told = run(str(tmp_path / "a"), str(tmp_path / "b"), "-w", str(workspace / "ws"), "--by", "source")
    assert "no record" in told
    assert lineage_of(LocalStorage(workspace / "ws"), load(str(tmp_path / "b"))) == []


def test_the_table(workspace: Path) -> None:
    told = run("text", "corpus", "-w", str(workspace / "ws"), "--sample", "1").splitlines()
    assert [line.split()[:2] for line in told if line.startswith(("added", "removed ", "changed"))][:3] == [
        ["added", "0"], ["removed", "3"], ["changed", "0"]
    ]  # fmt: skip
    assert any("clean, length: too_few_chars" in line for line in told)


def table(told: str, path: str) -> list[tuple[str, list[int]]]:
    """Return the rows of a printed table."""
    lines = told.split(f"\n{path} ", 1)[1].split("\n\n")[0].splitlines()[1:]
    numbers = [line.rsplit(None, 5) for line in lines]
    return [(name, [int(value.replace(",", "")) for value in values]) for name, *values in numbers]


def test_of_many_sources_those_that_change_most_are_shown_and_the_rest_is_summed(tmp_path: Path) -> None:
    docs = [
        {"id": f"{n}/{k}", "text": "t", "source": f"https://crawl.example.org/dumps/2026-{n:03d}/warc/of/some/length/part", "lang": None}
        for n in range(60)
        for k in range(10)
    ]
    gone = [doc for n, doc in enumerate(docs) if n % 10 >= n // 10 % 30 - 20]  # of the sources 21 to 29 and 51 to 59, 1 to 9 documents
    folders = [str(dataset(folder, some, 1).url) for folder, some in ((tmp_path / "a", docs), (tmp_path / "b", gone))]
    rows = table(run(*folders, "-w", str(tmp_path / "ws")), "source")
    assert len(rows) == 21 and len({name for name, _ in rows}) == 21
    assert [row[3] for _, row in rows[:20]] == [9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert "…29/warc/" in rows[0][0] and "…59/warc/" in rows[1][0]  # the sources that lost most
    assert rows[20] == ("… 40 more (--json has all)", [400, 400, 0, 0, 0])
    assert [sum(row[k] for _, row in rows) for k in range(5)] == [len(docs), len(gone), 0, len(docs) - len(gone), 0]


def test_long_names_are_cut_where_it_still_tells_them_apart(tmp_path: Path) -> None:
    ends = [f"{'a' * 60}{n}{'b' * 60}" for n in range(2)] + [f"{'c' * 100}end", "short"]
    docs = [{"id": f"{n}", "text": "t", "source": source, "lang": None} for n, source in enumerate(ends)]
    folders = [str(dataset(tmp_path / side, docs, 1).url) for side in ("a", "b")]
    names = [name for name, _ in table(run(*folders, "-w", str(tmp_path / "ws")), "source")]
    assert len(set(names)) == 4 and names[-1] == "short" and names[2].endswith("end")
    plain = [{**doc, "source": doc["source"][-50:]} for doc in docs[2:]]
    dataset(tmp_path / "c", plain, 1)
    [long, short] = table(run(str(tmp_path / "c"), str(tmp_path / "c"), "-w", str(tmp_path / "ws")), "source")
    assert len(long[0]) == 40 and long[0].startswith("ccc") and "…" in long[0] and long[0].endswith("end") and short[0] == "short"


def test_causes_beyond_those_shown_are_summed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.cli.diff.SHOWN", 1)
    told = run("text", "corpus", "-w", str(workspace / "ws")).split("removed by\n", 1)[1].splitlines()
    assert told[0].split()[0] == "1" and told[1].split()[0] == "2" and told[1].endswith("… 2 more (--json has all)")


def test_attributes_are_compared_by_a_column(workspace: Path) -> None:
    found = orjson.loads(run("mark", "mark", "-w", str(workspace / "ws"), "--column", "keep", "--json"))
    assert found["unchanged"]["documents"] == found["old"]["documents"] > 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("text", "corpse"), "no finished stage `corpse`"),
        (("text", "last:corpse"), "no finished stage `corpse`"),
        (("text", "no/where"), "no finished dataset at no/where"),
        (("text", "corpus", "--column", "words"), "no column `words`"),
        (("text", "mark"), "no column `text`"),
        (("text", "corpus", "--by", "colour"), "no column `colour`"),
    ],
)
def test_mistakes(args: tuple[str, ...], message: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["diff", *args, "-w", str(workspace / "ws")])
    assert left.value.code == 1
    assert message in capsys.readouterr().err


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": "t" * 50, "source": None, "lang": None} for i in range(30)]
    old, new = dataset(tmp_path / "a", docs, 2), dataset(tmp_path / "b", docs, 1)
    shard = tmp_path / "a/part-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"part-00001\.parquet"):
        diff(old, new, Options(), LocalStorage(tmp_path / "scratch"))


def test_shards_of_both_corpora_are_not_read(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": f"text {i}" * (i % 3), "source": f"s{i % 3}", "lang": None} for i in range(40)]
    other = [*docs[20:], *(doc | {"text": "changed"} for doc in docs[5:15]), *(doc | {"id": f"e{i}"} for i, doc in enumerate(docs[:10]))]
    options = Options(by=("source",), sample=4)
    found = []
    for told in (False, True):
        sides = dataset(tmp_path / f"{told}/old", docs, 8, told), dataset(tmp_path / f"{told}/new", other, 8, told)
        assert shared_shards(*sides) == (([4, 5, 6, 7], [0, 1, 2, 3]) if told else ([], []))
        found.append(diff(*sides, options, LocalStorage(tmp_path / f"{told}/scratch")))
        found[-1] |= {side: found[-1][side] | {"url": ""} for side in ("old", "new")}
    assert found[0] == found[1]
    assert [found[1][kind]["documents"] for kind in ("added", "removed", "changed", "unchanged")] == [10, 10, 10, 20]
    for number in range(4):
        (tmp_path / f"True/old/part-{number + 4:05d}.parquet").unlink()
        (tmp_path / f"True/new/part-{number:05d}.parquet").unlink()
    again = diff(*sides, Options(sample=4), LocalStorage(tmp_path / "scratch"))
    assert {name: again[name] for name in ("added", "removed", "changed", "unchanged", "samples")} == {
        name: found[0][name] for name in ("added", "removed", "changed", "unchanged", "samples")
    }
    assert (again["old"]["bytes"], again["new"]["bytes"]) == (size(docs), size(other))


def test_shared_shards_with_more_and_more_groups(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": "t", "source": f"s{i // 2}", "lang": None} for i in range(12)]
    old, new = dataset(tmp_path / "a", docs, 4, told=True), dataset(tmp_path / "b", docs, 4, told=True)
    found = diff(old, new, Options(by=("source",)), LocalStorage(tmp_path / "scratch"))
    assert {name: (counts["old"], counts["new"]) for name, counts in found["by"]["source"].items()} == {f"s{i}": (2, 2) for i in range(6)}
    assert found["unchanged"]["documents"] == 12


def test_a_shard_that_is_there_twice_has_one_partner(tmp_path: Path) -> None:
    docs = [{"id": f"d{i}", "text": "t", "source": None, "lang": None} for i in range(3)]
    old, new = dataset(tmp_path / "a", docs + docs, 2, told=True), dataset(tmp_path / "b", docs, 1, told=True)
    assert shared_shards(old, new) == ([0], [0])
    found = diff(old, new, Options(), LocalStorage(tmp_path / "scratch"))
    assert (found["removed"]["documents"], found["unchanged"]["documents"]) == (3, 3)


def test_groups_beyond_the_limit_are_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.diff_read.GROUP_LIMIT", 2)
    docs = [{"id": f"d{i}", "text": "t", "source": f"s{i % 5}", "lang": None} for i in range(10)]
    old, new = dataset(tmp_path / "a", docs, 1), dataset(tmp_path / "b", docs, 1)
    found = diff(old, new, Options(by=("source",)), LocalStorage(tmp_path / "scratch"))
    totals: dict[str, int] = defaultdict(int) | {name: counts["old"] for name, counts in found["by"]["source"].items()}
    assert totals == {"other": 6, "s0": 2, "s1": 2}
