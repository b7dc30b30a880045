"""A chain gives the same survivors, ledger and files for any batch size, and says what an operator did wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.chain import Chain, ChainStep
from curate.document import set_column
from curate.errors import CurateError, OperatorError, PipelineError, TransientError
from curate.isolate import IsolatedChain
from curate.ledger import Ledger
from curate.protocols import Filter, FlatMapper, Mapper, Operator, Scorer, decisions
from curate.registry import OperatorSpec
from curate.sources import conform
from curate.steps import StepSpec
from curate.storage import LocalStorage
from tests.engine import my_ops
from tests.engine.small import FOLDER

MANY = 10**9
STEPS = [
    ChainStep(my_ops.Length("1"), "length", "size"),
    ChainStep(my_ops.Upper("2"), "upper", "upper"),
    ChainStep(my_ops.Parts("3"), "parts", "parts"),
    ChainStep(my_ops.Short(2, "4"), "short", "short"),
    ChainStep(my_ops.Short(1, "5", plain=True), "plain", "plain"),
]
OUT = pa.schema(
    {"id": pa.string(), "text": pa.large_string(), "size": my_ops.Length().output(), "vowels": pa.int64(), "parent_id": pa.string()}
)
TEXTS = st.lists(st.none() | st.text(alphabet="abcé|12345", max_size=9), min_size=1, max_size=25)


class Story:
    """All that a chain leaves of documents that come in pieces."""

    def __init__(self, steps: list[ChainStep], pieces: list[pa.RecordBatch], max_errors: int = MANY, trace: bool = True) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {"drops": [], "errors": [], "trace": []}
        self.ledger = Ledger(["size.chars"], ["id"], lambda name, batch: self.tables[name].extend(batch.to_pylist()))
        self.rows: list[dict[str, Any]] = []
        chain = Chain(steps, self.ledger, max_errors, trace)
        for piece in pieces:
            self.ledger.came_in(piece)
            docs, places = chain.apply(piece)
            assert len(places) == docs.num_rows and all(places[:-1] <= places[1:])
            if docs.num_rows:
                self.ledger.went_out(docs)
                self.rows += conform(docs, OUT, "test").to_pylist() if docs.schema.names != ["id", "text"] else docs.to_pylist()
            self.ledger.flush()
        self.ledger.counts.verify("test")

    def all(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "counts": self.ledger.counts,
            "statistics": self.ledger.statistics(),
            "samples": self.ledger.samples(),
        } | self.tables


def batch(texts: list[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"id": [f"d{i:02d}" for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})


def pieces(whole: pa.RecordBatch, cuts: list[int]) -> list[pa.RecordBatch]:
    edges = sorted({0, whole.num_rows, *(cut for cut in cuts if cut < whole.num_rows)})
    return [whole.slice(start, stop - start) for start, stop in zip(edges, edges[1:], strict=False)]


def reference(texts: list[str | None]) -> dict[str, list[Any]]:
    """The same chain, one document after another in plain Python."""
    rows: list[Any] = []
    drops: list[Any] = []
    errors: list[Any] = []
    for number, given_text in enumerate(texts):
        doc_id, text = f"d{number:02d}", given_text or ""
        if any(poison in text for poison in "123"):
            errors.append((doc_id, ["length", "upper", "parts"][min(int(p) for p in "123" if p in text) - 1]))
            continue
        parts = text.replace("a", "Ä").replace("b", "bb").split("|") if text else []
        if not parts:
            drops.append((doc_id, "parts", "expanded_to_none", None))
        for n, part in enumerate(parts):
            child = f"{doc_id}/{n}"
            if "4" in part:
                errors.append((child, "short"))
            elif len(part) < 2:
                drops.append((child, "short", "short", float(len(part))))
            elif "5" in part:
                errors.append((child, "plain"))
            else:
                rows.append((child, part, len(text), text.count("a") or None, doc_id))
    return {"rows": rows, "drops": drops, "errors": errors}


ORDER = ["length", "upper", "parts", "short", "plain"]


def by_parent_and_step(found: list[Any], steps: list[str]) -> list[Any]:
    """Sort as the ledger does: by the row that was read, then by the step; children of one row keep their order."""
    return sorted(found, key=lambda row: (row[0].partition("/")[0], steps.index(row[1])))


@settings(max_examples=150)
@given(texts=TEXTS, cuts=st.lists(st.integers(1, 25), max_size=5))
def test_the_batch_size_does_not_matter(texts: list[str | None], cuts: list[int]) -> None:
    whole = batch(texts)
    story = Story(STEPS, [whole])
    assert Story(STEPS, pieces(whole, cuts)).all() == story.all()
    assert Story(STEPS, pieces(whole, list(range(25)))).all() == story.all()
    expected = reference(texts)
    assert [(r["id"], r["text"], r["size"]["chars"], r["vowels"], r["parent_id"]) for r in story.rows] == expected["rows"]
    drops = [(r["id"], r["step"], r["reason"], r["value"]) for r in story.tables["drops"]]
    assert drops == by_parent_and_step(expected["drops"], ORDER)
    assert [(r["id"], r["step"]) for r in story.tables["errors"]] == by_parent_and_step(expected["errors"], ORDER)
    counts = story.ledger.counts
    assert counts.rows_in == len(texts) and counts.rows_out == len(expected["rows"]) and counts.errored == len(expected["errors"])
    assert counts.rows_dropped == len(expected["drops"]) and counts.rows_added >= 0


@settings(max_examples=100)
@given(texts=TEXTS, cuts=st.lists(st.integers(1, 25), max_size=3))
def test_edits_are_counted_to_the_byte(texts: list[str | None], cuts: list[int]) -> None:
    story = Story([ChainStep(my_ops.Upper("2"), "upper", "upper")], pieces(batch(texts), cuts))
    edits = [(t, t.replace("a", "Ä").replace("b", "bb")) for t in texts if t and "2" not in t]
    edits = [(before, after) for before, after in edits if before != after]
    counted = story.ledger.counts.edited.get("upper", {"rows": 0, "bytes_removed": 0, "bytes_added": 0})
    assert counted["rows"] == len(edits)
    assert counted["bytes_added"] == sum(len(after.encode()) - len(before.encode()) for before, after in edits)
    assert counted["bytes_removed"] == 0
    assert [(row["before"], row["after"]) for row in story.tables["trace"]] == edits


def test_without_trace_nothing_is_kept_of_edits() -> None:
    story = Story([ChainStep(my_ops.Upper(), "upper", "upper")], [batch(["a", "b"])], trace=False)
    assert story.tables["trace"] == [] and story.ledger.counts.edited["upper"]["rows"] == 2


@dataclass(frozen=True)
class Fill(Mapper):
    """Writes a text where there is none, and removes some."""

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        texts = [None if text == "remove" else text or "new" for text in docs.column("text").to_pylist()]
        return docs.set_column(1, "text", pa.array(texts, pa.string()))


def test_null_to_text_and_back_are_edits() -> None:
    story = Story([ChainStep(Fill(), "fill", "fill")], [batch([None, "remove", "same", None])])
    assert story.ledger.counts.edited == {"fill": {"rows": 3, "bytes_removed": 6, "bytes_added": 6}}
    assert [(row["before"], row["after"]) for row in story.tables["trace"]] == [(None, "new"), ("remove", None), (None, "new")]


def test_parents_without_children_are_dropped_with_a_reason() -> None:
    story = Story([ChainStep(my_ops.Parts(), "parts", "parts")], [batch(["a|b|c", "", None, "d"])])
    assert [row["id"] for row in story.rows] == ["d00/0", "d00/1", "d00/2", "d03/0"]
    counts = story.ledger.counts
    assert (counts.rows_in, counts.rows_added, counts.rows_out, counts.dropped) == (4, 2, 4, {"parts": {"expanded_to_none": 2}})
    assert [(row["id"], row["step"], row["reason"]) for row in story.tables["drops"]] == [
        ("d01", "parts", "expanded_to_none"),
        ("d02", "parts", "expanded_to_none"),
    ]


def test_children_that_have_none_of_their_own_are_dropped_too() -> None:
    story = Story([ChainStep(my_ops.Parts(), "parts", "parts"), ChainStep(Fewer(), "fewer", "fewer")], [batch(["a||b", "", "|"])])
    assert [row["id"] for row in story.rows] == ["d00/0/0", "d00/2/0"]
    assert [(row["id"], row["step"]) for row in story.tables["drops"]] == [
        ("d00/1", "fewer"),
        ("d01", "parts"),
        ("d02/0", "fewer"),
        ("d02/1", "fewer"),
    ]
    assert story.ledger.counts.rows_added == 3


@dataclass(frozen=True)
class Fewer(FlatMapper):
    """Makes one document of each that has a text."""

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        left = docs.filter(pc.not_equal(docs.column("text"), ""))
        return set_column(left, "parent_id", left.column("id"))


def test_statistics_count_every_text_once() -> None:
    story = Story(
        [ChainStep(my_ops.Length(), "length", "size"), ChainStep(my_ops.Short(3), "short", "short")], [batch(["", "ab", "abc", "x" * 99])]
    )
    lengths = story.ledger.statistics()["length"]
    assert sum(lengths["kept"].values()) == 2 and sum(lengths["dropped"].values()) == 2
    scores = story.ledger.statistics()["scores"]["size.chars"]
    assert sum(scores["kept"].values()) == 2 and sum(scores["dropped"].values()) == 2


@pytest.mark.parametrize("max_errors", [0, 2])
def test_the_budget_names_document_and_operator(max_errors: int) -> None:
    with pytest.raises(OperatorError) as raised:
        Story([ChainStep(my_ops.Upper("2"), "upper", "upper")], [batch(["ok", "2", "x2", "y2"])], max_errors=max_errors)
    message = raised.value.message
    assert f"step `upper` raised on document `d{max_errors + 1:02d}`: ValueError: cannot bear '2'" in message
    assert "my_ops.py" in message and "found = refuse(docs, self.poison)" in message and "raise ValueError" in message
    assert "chain.py" not in message
    assert f"more than {max_errors} quarantined rows with `max_errors`" in str(raised.value.hint)


def test_within_the_budget_the_rest_goes_on() -> None:
    story = Story([ChainStep(my_ops.Upper("2"), "upper", "upper")], [batch(["ok", "2", "x2", "fine"])], max_errors=2)
    assert [row["id"] for row in story.rows] == ["d00", "d03"]
    assert story.tables["errors"][0] == {"id": "d01", "step": "upper", "error": "ValueError: cannot bear '2'"}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.label)
def test_a_batch_of_nothing_but_poison_leaves_nothing(step: ChainStep) -> None:
    story = Story([step, *STEPS], [batch(["12345"] * 3)])
    assert story.rows == [] and story.ledger.counts.errored == 3


class Panic(BaseException):
    """As the bindings of Rust libraries raise it."""


@dataclass(frozen=True)
class Returns(Filter):
    """Returns or raises whatever it is told to."""

    how: str
    version: ClassVar[int] = 1

    def drop(self, docs: pa.RecordBatch) -> Any:
        n = docs.num_rows
        match self.how:
            case "bools":
                return pa.array([True] * n)
            case "too few":
                return pa.array(["x"] * (n - 1))
            case "list":
                return ["x"] * n
            case "batch":
                return docs
            case "no reason":
                return pa.array([{"value": 1.0}] * n)
            case "words as value":
                return pa.array([{"reason": "x", "value": "y"}] * n)
            case "panic":
                raise Panic("at the disco")
            case "pipeline error":
                raise PipelineError("no model")
            case "memory":
                raise MemoryError
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("bools", "step `bad` \\(Returns\\) returned bool, not reasons"),
        ("too few", "returned 2 rows for 3"),
        ("list", "returned list, not a pyarrow Array"),
        ("batch", "returned RecordBatch, not a pyarrow Array"),
        ("no reason", "returned struct<value: double>, not reasons"),
        ("words as value", "returned string, not double"),
    ],
)
def test_wrong_verdicts_are_refused(how: str, says: str) -> None:
    with pytest.raises(OperatorError, match=says):
        Story([ChainStep(Returns(how), "bad", "bad")], [batch(["a", "b", "c"])])


def test_a_panic_is_the_row_s_fault_and_engine_errors_are_not() -> None:
    story = Story([ChainStep(Returns("panic"), "bad", "bad")], [batch(["a", "b"])])
    assert [row["error"] for row in story.tables["errors"]] == ["Panic: at the disco"] * 2
    for how, kind in (("pipeline error", PipelineError), ("memory", TransientError), ("interrupt", KeyboardInterrupt)):
        with pytest.raises(kind):
            Story([ChainStep(Returns(how), "bad", "bad")], [batch(["a", "b"])])


@pytest.mark.parametrize("chunks", [0, 1, 2])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_reasons_may_come_in_chunks_and_either_string_type(chunks: int, kind: pa.DataType) -> None:
    @dataclass(frozen=True)
    class Chunked(Filter):
        """Drops `b`."""

        def drop(self, docs: pa.RecordBatch) -> Any:
            found = pa.array(["b!" if text == "b" else None for text in docs.column("text").to_pylist()], kind)
            return pa.chunked_array([found.slice(0, 1), found.slice(1)]) if chunks == 2 else pa.chunked_array([found]) if chunks else found

    story = Story([ChainStep(Chunked(), "chunked", "c")], [batch(["a", "b", "c"])])
    assert [row["id"] for row in story.rows] == ["d00", "d02"]
    assert [(row["id"], row["reason"]) for row in story.tables["drops"]] == [("d01", "b!")]


def test_evidence_goes_into_the_drops() -> None:
    @dataclass(frozen=True)
    class Copies(Filter):
        """Drops all but the first."""

        def drop(self, docs: pa.RecordBatch) -> pa.Array:
            return pa.array([None, {"reason": "copy", "kept_id": "d00", "similarity": 0.9, "colour": "red"}])

    @dataclass(frozen=True)
    class Measured(Filter):
        """Drops all, with what it measured."""

        def drop(self, docs: pa.RecordBatch) -> pa.Array:
            return decisions(pa.array(["low"] * docs.num_rows), pa.array([7] * docs.num_rows, pa.int32()))

    story = Story([ChainStep(Copies(), "copies", "c"), ChainStep(Measured(), "measured", "m")], [batch(["a", "b"])])
    nothing = {"value": None, "kept_id": None, "similarity": None}
    assert story.tables["drops"] == [
        nothing | {"id": "d00", "step": "measured", "reason": "low", "value": 7.0},
        nothing | {"id": "d01", "step": "copies", "reason": "copy", "kept_id": "d00", "similarity": 0.9},
    ]


def mapped(change: Any) -> Operator:
    @dataclass(frozen=True)
    class Changed(Mapper):
        """Does what the test says."""

        def map(self, docs: pa.RecordBatch) -> Any:
            return change(docs)

    return Changed()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda docs: docs.take(pa.array([1, 0, 2])), "changed ids or their order"),
        (lambda docs: docs.drop_columns(["id"]), "changed ids or their order"),
        (lambda docs: docs.slice(1), "returned 2 rows for 3"),
        (lambda docs: docs.column(0), "not a RecordBatch"),
        (lambda docs: None, "returned NoneType"),
    ],
)
def test_a_mapper_keeps_its_rows(change: Any, says: str) -> None:
    with pytest.raises(OperatorError, match=says):
        Story([ChainStep(mapped(change), "mapper", "m")], [batch(["a", "b", "c"])])


def expanded(change: Any) -> Operator:
    @dataclass(frozen=True)
    class Expanded(FlatMapper):
        """Does what the test says."""

        def expand(self, docs: pa.RecordBatch) -> Any:
            return change(docs)

    return Expanded()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda docs: docs, "without a `parent_id` column"),
        (lambda docs: docs.append_column("parent_id", pa.array(["d00", "d01", "who"])), "is no id of its batch"),
        (lambda docs: docs.append_column("parent_id", pa.array(["d00", None, "d02"])), "is no id of its batch"),
        (lambda docs: docs.append_column("parent_id", pa.array(["d01", "d00", "d02"])), "out of the order of their parents"),
        (lambda docs: docs.column(0), "not a RecordBatch"),
    ],
)
def test_children_have_parents_in_order(change: Any, says: str) -> None:
    with pytest.raises(OperatorError, match=says):
        Story([ChainStep(expanded(change), "flat", "f")], [batch(["a", "b", "c"])])


def test_parent_ids_of_either_string_type() -> None:
    flat = expanded(lambda docs: docs.append_column("parent_id", docs.column("id").cast(pa.large_string())))
    assert [row["id"] for row in Story([ChainStep(flat, "flat", "f")], [batch(["a", "b"])]).rows] == ["d00/0", "d01/0"]


@dataclass(frozen=True)
class Wrong(Scorer):
    """Declares one type and returns another."""

    def output(self) -> pa.DataType:
        return pa.int8()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array([1000] * docs.num_rows, pa.int64())


def test_a_score_is_what_was_declared() -> None:
    with pytest.raises(OperatorError, match=r"step `wrong` \(Wrong\) returned int64, not int8") as raised:
        Story([ChainStep(Wrong(), "wrong", "wrong")], [batch(["a"])])
    assert "output()" in str(raised.value.hint)


def test_what_is_no_batch_operator_is_refused() -> None:
    with pytest.raises(OperatorError, match="Number is no batch operator"):
        Story([ChainStep(my_ops.Number("log"), "number", "n")], [batch(["a"])])


SPECS = [
    StepSpec(
        step.label,
        step.into,
        OperatorSpec(f"my_ops.py:{type(step.operator).__name__}", vars(step.operator), (FOLDER / "my_ops.py").read_text()),
    )
    for step in STEPS
]


def test_isolation_changes_nothing() -> None:
    docs = batch(["abc|ab", "1", None, "x|4a|b", "aaa", "5a|aa", "2"])
    found = []
    for isolated in (False, True):
        tables: dict[str, list[Any]] = {"drops": [], "errors": [], "trace": []}
        ledger = Ledger(["size.chars"], ["id"], lambda name, table, tables=tables: tables[name].extend(table.to_pylist()))  # type: ignore[misc]
        chain = IsolatedChain(SPECS, ledger, MANY, True, 60, LocalStorage(FOLDER)) if isolated else Chain(STEPS, ledger, MANY, True)
        left, places = chain.apply(docs)
        chain.close()
        ledger.flush()
        found.append((left.to_pylist(), places.tolist(), tables, ledger.counts, ledger.statistics(), ledger.samples()))
        assert set(chain.seconds) == {step.label for step in STEPS}
    assert found[0] == found[1]


def test_an_isolated_operator_that_cannot_be_built_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    chain = IsolatedChain(
        [StepSpec("x", "x", OperatorSpec("no.such.module:X"))],
        Ledger([], [], lambda name, table: None),
        0,
        False,
        None,
        LocalStorage(FOLDER),
    )
    with pytest.raises(CurateError, match="cannot be built in a child process"):
        chain.apply(batch(["a"]))
    chain.close()
    assert "no.such" in capfd.readouterr().err
