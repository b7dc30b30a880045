"""What operators note of the lines and spans that go is what the corpus then lacks, to the byte, for any shards and workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.pipeline import Input, Pipeline, Stage, Step
from curate_operators import removal_guard, removed_text
from curate_operators.removed_text import PARTS
from tests.engine import small

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "source": pa.string()})
OPERATORS: list[tuple[str, dict[str, Any], str]] = [
    ("line_dedup", {}, "remove_lines"),
    ("line_dedup", {"unit": "paragraph", "first": "remove"}, "remove_lines"),
    ("paragraph_dedup", {"ngram_words": 4}, "remove_lines"),
    ("substring_dedup", {"min_length": 8, "min_rest_chars": 40}, "remove_spans"),
]
LISTS = {"remove_lines": ("line", "lines"), "remove_spans": ("span", "starts")}


def documents() -> list[dict[str, Any]]:
    """Return documents of four sources: some alone, some with lines of others, some that are nothing but such lines, some blank."""
    shared = [" ".join(f"übliche{k}wort{n}" for n in range(12)) for k in range(5)]
    docs = []
    for n in range(60):
        own = [" ".join(f"eigen{n}zeile{line}wort{k}" for k in range(10)) for line in range(n % 3)]
        lines = [*own[:1], "", *shared[n % 5 : n % 5 + n % 4], "", *own[1:]]
        docs.append({"id": f"d{n:02d}", "text": "\n".join(lines), "source": f"s{n % 4}"})
    return docs


def pipe(path: Path, operator: str, params: dict[str, Any], remover: str) -> Pipeline:
    stages = {
        "repeats": Stage("crawl", use=operator, params=params),
        "clean": Stage(["crawl", "repeats"], [Step("apply", {"by": "repeats"}), Step(remover, {"by": "repeats"})]),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def size(rows: list[dict[str, Any]]) -> int:
    return sum(len(row["text"].encode()) for row in rows)


@pytest.mark.parametrize(("operator", "params", "remover"), OPERATORS)
def test_the_note_tells_what_the_corpus_lacks(operator: str, params: dict[str, Any], remover: str, tmp_path: Path) -> None:
    docs, found = documents(), []
    params = params | {"max_removed_ratio_per_source": {"min_documents": 1, "ratio": 1.0}}
    for shards, workers in ((1, 1), (3, 2)):
        folder = tmp_path / str(shards)
        path = small.write_shards(folder / "in", docs, shards, SCHEMA)
        plan, _ = small.run(pipe(path, operator, params, remover), folder / "ws", workers)
        found.append(plan.dataset("repeats").manifest.notes)
    assert found[0] == found[1]
    assert [note["name"] for note in found[0]] == ["removed", "sources"]
    note, sources = found[0]
    marks, clean = small.rows(plan.dataset("repeats")), small.rows(plan.dataset("clean"))
    piece, marked = LISTS[remover]
    pieces = [len(row[marked]) for row in marks if row["keep"]]
    whole = sum(not row["keep"] for row in marks)
    assert note["measures"] == {
        f"{piece}s": sum(pieces),
        "documents that lose some": sum(count > 0 for count in pieces),
        "documents that go whole": whole,
        "bytes that go": size(docs) - size(clean),
        "bytes of text": size(docs),
    }
    assert 0 < whole < 59 and sum(pieces) > 1 and size(clean) < size(docs)
    assert note["message"].startswith(f"{sum(pieces)} {piece}s go from {sum(count > 0 for count in pieces)} documents and {whole} document")
    gone: Counter[str] = Counter()
    for name in ("s0", "s1", "s2", "s3"):
        before, after = ([row for row in rows if row["source"] == name] for rows in (docs, clean))
        gone[name] = size(before) - size(after)
        told = sources["measures"][f"`{name}`"]
        assert (told["text bytes"], told["text removed"], told["removed"]) == (size(before), gone[name], len(before) - len(after))
        assert told["text ratio"] == round(gone[name] / size(before), 4)
    assert gone.total() == size(docs) - size(clean)


def test_the_note_stands_without_a_guard_and_without_its_column(tmp_path: Path) -> None:
    path = small.write_shards(tmp_path / "in", documents(), 2, SCHEMA)
    notes = []
    for number, guard in enumerate((None, {"min_documents": 1})):
        given = pipe(path, "line_dedup", {"max_removed_ratio_per_source": guard}, "remove_lines")
        plan, _ = small.run(given, tmp_path / f"ws{number}")
        notes.append(plan.dataset("repeats").manifest.notes)
    assert [note["name"] for note in notes[0]] == ["removed"] and notes[0][0] == notes[1][0]
    stages = {"bare": Stage("crawl", [Step("my_ops.py:Anonymous")]), "repeats": Stage("bare", use="line_dedup")}
    plan, _ = small.run(small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1), tmp_path / "bare")
    assert [note["name"] for note in plan.dataset("repeats").manifest.notes] == ["removed", "sources"]
    assert plan.dataset("repeats").manifest.notes[0] == notes[0][0]


def test_a_source_that_loses_text_and_no_document_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More sources than the table has rows: it shows those that lose most of either, documents or text."""
    monkeypatch.setattr(removal_guard, "SHOWN", 2)
    menu = "\n".join(f"this line stands in every page of one source {k}" for k in range(30))
    docs = [{"id": f"m{n}", "text": f"{menu}\nand this is page {n}", "source": "menus"} for n in range(10)]
    for source in ("a", "b", "c"):
        docs += [{"id": f"{source}{n}", "text": f"text {source} {n % 9}", "source": source} for n in range(10)]
    path = small.write_shards(tmp_path / "in", docs, 1, SCHEMA)
    params = {"max_removed_ratio_per_source": {"min_documents": 10}}
    plan, _ = small.run(pipe(path, "line_dedup", params, "remove_lines"), tmp_path / "ws")
    note = plan.dataset("repeats").manifest.notes[1]
    assert note["passed"] and note["message"] == "no `source` lost more than 50%; most lost `a` 10.0% of 10"
    assert list(note["measures"]) == ["`menus`", "`a`"]
    assert note["measures"]["`menus`"]["removed"] == 0 and note["measures"]["`menus`"]["text ratio"] > 0.8


def test_sentences() -> None:
    def told(*numbers: int) -> str:
        return removed_text.note(dict(zip(PARTS, numbers, strict=True)), "line").message

    assert told(12_345, 1204, 199, 3_200_000, 28_300_000) == (
        "12,345 lines go from 1,204 documents and 199 documents go whole: 3.20 MB of 28.3 MB of text (11.3%)"
    )
    assert told(1, 1, 0, 10, 1000) == "1 line goes from 1 document: 10 B of 1.00 kB of text (1.0%)"
    assert told(0, 0, 1, 10, 1000) == "1 document goes whole: 10 B of 1.00 kB of text (1.0%)"
    assert told(0, 0, 0, 0, 1000) == told(0, 0, 0, 0, 0) == "no line and no document goes"
