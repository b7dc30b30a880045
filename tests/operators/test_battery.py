"""The battery over every registered operator, and over operators that are wrong in every way it looks for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.document import set_column
from curate.protocols import Filter, FlatMapper, Mapper, Operator, Scorer
from curate.registry import OperatorSpec, build, packs
from curate.testing import check_operator, documents
from curate_operators.instruct_score import OUTPUT
from curate_operators.language import SHIPPED_MODEL
from curate_operators.prox_edits import EDITS
from curate_operators.rewrite import ABOUT

LANGUAGES = str(SHIPPED_MODEL)
BENCHMARK = str(Path(__file__).parents[2] / "pipelines" / "sample" / "benchmark.jsonl")
LLM = {"model": "small", "endpoint": "http://127.0.0.1:1/v1"}
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "apply": [{"by": "dedup"}],
    "c4_lines": [{}, {"terminal_punctuation": False, "remove_citations": False}, {"min_words": None, "max_word_chars": 5}],
    "annotation_guard": [{"by": "prox"}, {"by": "prox", "max_program_errors": None, "min_kept_word_ratio": 0.5}],
    "c4_page": [{}, {"min_sentences": 2, "drop_curly_bracket": False, "language": "fr"}],
    "calibrate": [{"column": "quality"}, {"column": "a.b", "steps": 7, "group_by": "lang.code"}],
    "calibrate_labels": [{"column": "quality.score", "label": "good"}, {"column": "a", "label": "b", "held_out": 0, "seed": 3}],
    "cluster": [{"column": "vectors.embedding", "k": 3}, {"column": "v", "k": 9, "train_sample": 99, "merge": {"distance": 1.5}}],
    "code_quality": [{}, {"by": None, "min_visible_chars": 5}, {"language": "lang.code", "languages": {"en": {"max_line_chars": None}}}],
    "coverage": [{"cluster": "clusters.cluster", "reference": "other.kind.cluster"}, {"cluster": "a", "reference": "b", "smoothing": 1}],
    "dclm_lines": [{}, {"max_upper_ratio": None, "counters": [], "boiler_phrases": ["word"], "boiler_endings": []}],
    "decontaminate": [
        {"benchmarks": BENCHMARK},
        {"benchmarks": BENCHMARK, "fields": ["text", "answer"], "words": 5, "min_words": 1, "max_items": None},
    ],
    "detect_code_language": [{}, {"by": "url"}],
    "drop_clusters": [{"review": "review.yaml"}, {"drop": "share > 0.5 or line_repetition > 0.5", "drop_unclustered": True}],
    "evaluate_proxy": [{"model": "models/small", "questions": ["asked"], "by": {"asked": "kind"}, "max_items": 9}],
    "export_tokens": [{"tokenizer": "tokenizer", "format": "megatron"}, {"tokenizer": "tokenizer", "format": "datatrove", "seed": 3}],
    "extract_html": [{}, {"method": "trafilatura"}, {"keep_html": True}],
    "embed": [{"model": "models/minilm"}],
    "fasttext": [{"model": LANGUAGES}, {"model": LANGUAGES, "label": "en"}],
    "fineweb_quality": [{}, {"min_punctuated_line_ratio": None, "short_line_chars": 5, "max_repeated_line_char_ratio": 0.0}],
    "gopher_quality": [
        {},
        {"min_words": None, "min_stop_words": None},
        {"language_column": "lang.code", "min_words": 2, "stop_word_counting": "occurrences"},
        {"stop_words": ["word"], "language": "de", "min_words": None},
    ],
    "gopher_repetition": [
        {},
        {"counting": "all", "max_repeated_line_ratio": None, "max_top_3_gram_ratio": 0.05, "max_repeated_7_gram_ratio": None},
    ],
    "instruct_answer": [{"llm": LLM}],
    "instruct_guard": [{}, {"min_quality": None, "min_difficulty": 3, "max_difficulty": 7, "self_contained": False}],
    "instruct_pair": [{}, {"template": "User: {instruction}\n{answer}"}],
    "instruct_query": [{"llm": LLM}, {"llm": LLM, "max_queries": 1}],
    "instruct_score": [{"llm": LLM}],
    "label_chance": [{"column": "removed_word_ratio", "table": str(Path(__file__).parents[1] / "scorers" / "chances.json")}],
    "language": [{}, {"prefix_chars": None}, {"raw": True}],
    "length": [{"min_chars": 10, "max_words": 1000, "max_bytes": 10_000}],
    "llm_judge": [{"llm": LLM}, {"llm": LLM | {"temperature": 0.7}, "rubric": "cleanliness", "votes": 3, "max_score": 4}],
    "lm_loss": [{"model": "models/small"}],
    "maths_quality": [{}, {"min_words": None, "min_maths_ratio": 0.01}],
    "measure": [{}, {"measures": ["compression", "words", "stop_words"], "counting": "all", "language_column": "lang.code"}],
    "minhash_dedup": [{}, {"bands": 14, "rows": 8, "fold": True}, {"unit": "characters", "mode": "component", "keep": "longest"}],
    "nearest_centroid": [{"column": "vector", "centroids": str(Path(__file__).parents[1] / "scorers" / "centroids.npy")}],
    "normalize": [{}, {"fix_mojibake": False, "max_blank_lines": 0}],
    "pack": [{"tokenizer": "tokenizer", "length": 2048}, {"tokenizer": "tokenizer", "length": 2, "method": "concatenate", "column": "ids"}],
    "remove_lines": [{"by": "dedup"}],
    "remove_spans": [{"by": "dedup"}],
    "substring_dedup": [{}, {"unit": "bytes", "min_length": 200, "first": "remove", "max_removed_ratio": 0.5}],
    "perplexity_correlations": [{"losses": ["a", "b"], "scores": [0.1, 0.2]}, {"losses": ["a.x", "b"], "scores": [2, 1], "unit": "site"}],
    "pii": [{}, {"kinds": ["email", "token"], "max_count": 2}],
    "predictive_strength": [
        {"losses": ["removed_word_ratio", "loss"], "scores": [1.0, 2.0]},
        {"losses": ["removed_word_ratio", "loss"], "targets": {"a": [1.0, 2.0], "b": [2.0, 1.0]}, "min_chars": 0},
    ],
    "prototypes": [{"keep_fraction": 0.6}],
    "proxy_compare": [{"candidate": "clean"}, {"candidate": "clean", "against": ["raw"], "max_loss": 0.01, "confidence": 0.9}],
    "proxy_trials": [{}, {"size": "20M", "tokens_per_parameter": 20, "seeds": 3, "by": {"held": "domain"}, "questions": ["asked"]}],
    "quantile": [{"column": "removed_word_ratio", "table": str(Path(__file__).with_name("quantiles.json"))}],
    "prox_annotate": [{"llm": LLM}, {"llm": LLM, "intents": ["links"]}],
    "prox_chunk": [{"llm": LLM}, {"llm": LLM, "trained": True, "max_program_errors": 0, "release": True, "into": "edits"}],
    "prox_document": [{"llm": LLM}, {"llm": LLM, "trained": True}],
    "prox_examples": [{"program": "prox.program"}],
    "prox_page": [{}, {"min_kept_word_ratio": None, "min_words": 3}],
    "redact": [{}, {"kinds": ["email", "crypto"], "replacements": {"email": "email@example.com"}, "counts_into": None}],
    "rewrite": [{"llm": LLM}, {"llm": LLM, "prompt_set": "nemotron_cc", "styles": {"distill": {"ratio": 0.5}}, "choose": "one"}],
    "rewrite_guard": [{}, {"vector": "vector", "source_vector": "vector", "min_length_ratio": None, "same_language": False}],
    "sample": [{"fraction": 0.5}, {"fraction": 0.5, "by": "url"}],
    "sample_clusters": [{"documents": 7}, {"documents": 9, "dropped": "dropped", "omega": 0.5, "validation": 2, "test": 3}],
    "select_top": [
        {"column": "quality", "fraction": 0.1},
        {"column": "a.b", "budget": 9, "unit": "tokens", "tokens": "n", "highest": False},
    ],
    "semantic_dedup": [{"eps": 0.05}, {"keep_fraction": 0.75, "keep": "random", "greedy": True}],
    "strip_urls": [{}, {"bare": False, "ip_addresses": False}, {"domains": ["org"]}],
    "tokenize": [{"tokenizer": "models/small"}],
    "train_family": [{}, {"vary": "size", "by": None, "target_by": "lang.code", "members": 2, "max_groups": 4, "max_bytes": 1000}],
    "train_fasttext": [{"word_ngrams": 2, "zero_eos": True}, {"label": "lang.code", "balance": True, "quantise": True, "cutoff": 1000}],
    "train_proxy": [{"size": "5M", "tokens_per_parameter": 100, "snapshots": 4, "tied_head": False}, {"keep_stable": True}],
    "train_refiner": [{"base": "models/small"}, {"base": "stage:base", "matrix_rate": 0.01, "held_out": 0, "split_by": "url"}],
    "train_tokenizer": [{}, {"size": 300, "pattern": "digits", "special_tokens": ["<pad>"], "report_by": ["lang.code"]}],
    "url_blocklist": [
        {"domains": ["example.org"]},
        {"urls": ["example.org/prose"], "hard_words": ["nul"], "soft_words": ["long", "word"], "substrings": ["quot"], "bad_url": "drop"},
    ],
    "word_blocklist": [{"words": ["the"]}, {"words": ["the", "港"], "language": None, "min_hits": 2, "max_ratio": 0.01}],
    "where": [{"keep": "lang.code = 'en' and length(text) > 10 and text not like '%<%'"}],
}


ASKING = {
    "instruct_answer": "instruct",
    "instruct_query": "instruct",
    "instruct_score": "instruct",
    "llm_judge": "llm_judge",
    "prox_annotate": "prox_examples",
    "prox_chunk": "prox",
    "prox_document": "prox",
    "rewrite": "rewrite",
}
"""Operators that ask a server, and where their tests run the battery over them."""


def awkward() -> pa.RecordBatch:
    """The battery's documents with the columns that scorers and dataset operators leave."""
    docs = documents()
    rows = range(docs.num_rows)
    codes = pa.array([("en", "de", None)[i % 3] for i in rows], pa.string())
    keep = pa.array([(True, False, None)[i % 3] for i in rows], pa.bool_())
    kept_id = pa.array([None if i % 2 else "prose" for i in rows], pa.string())
    lines = pa.array([[1, 3, 99][: i % 4] if i % 5 else None for i in rows], pa.list_(pa.int32()))
    spans = [pa.array([[start, 3][: i % 3] for i in rows], pa.list_(pa.int64())) for start in (1, 2)]
    removed = pa.array([(None, 0.0, 0.04, 0.5)[i % 4] for i in rows], pa.float64())
    docs = docs.append_column("removed_word_ratio", removed)
    docs = docs.append_column("loss", pa.array([(0.02, None, 0.0, 0.6)[i % 4] for i in rows], pa.float64()))
    vectors = [(None, [0.6, 0.8], [0.0, 0.0], [-1.0, 1e-3])[i % 4] for i in rows]
    docs = docs.append_column("vector", pa.array(vectors, pa.list_(pa.float32(), 2)))
    texts = docs.column("text").to_pylist()
    docs = docs.append_column("source_text", pa.array([texts[i - 1] if i % 3 else texts[i] for i in rows], pa.large_string()))
    abouts = [({}, {"style": "original"}, {"problem": "truncated"}, {"faithful": False})[i % 4] for i in rows]
    docs = docs.append_column("rewrite", pa.array([{"style": "medium", "faithful": True} | about for about in abouts], ABOUT))
    programs = (None, "remove_lines(0, 1)", "no call", 'normalize(source_str="e")\nremove_lines(001, 999)')
    kept = [{"words": i % 25, "kept_word_ratio": (None, 1.0, 0.01)[i % 3], "program": programs[i % 4], "errors": i % 2} for i in rows]
    docs = docs.append_column("prox", pa.array(kept, EDITS))
    judged = [(None, {"quality": 8, "difficulty": i, "needs_context": bool(i % 3)}, {"quality": 2})[i % 3] for i in rows]
    docs = docs.append_column("query", pa.array(judged, OUTPUT)).append_column("instruction", docs.column("text"))
    docs = docs.append_column("lang", pa.StructArray.from_arrays([codes], ["code"]))
    return docs.append_column(
        "dedup", pa.StructArray.from_arrays([keep, kept_id, lines, *spans], ["keep", "kept_id", "lines", "starts", "ends"])
    )


@pytest.mark.parametrize("name", sorted(packs()))
def test_registered_operators(name: str) -> None:
    if name == "detect_code_language":
        pytest.importorskip("magika")
    if name in ("embed", "lm_loss", "tokenize"):
        pytest.skip(f"needs a model's files: tests/scorers/test_{name}.py")
    if name in ASKING:
        pytest.skip(f"asks a server: tests/operators/test_{ASKING[name]}.py")
    for params in PARAMETERS.get(name, [{}]):
        check_operator(build(OperatorSpec(name, params)), awkward())


def test_modules_and_declarations_import_nothing_heavy() -> None:
    code = """
import sys
from curate.registry import OperatorSpec, build, packs
for name, params in {names!r}.items():
    operator = build(OperatorSpec(name, params))
    operator.reads()
heavy = {{"polars", "resiliparse", "trafilatura", "fasttext", "ftfy", "numba", "torch", "ray"}} & set(sys.modules)
assert not heavy, heavy
"""
    light = {name: sets[0] for name, sets in PARAMETERS.items() if name != "where"}
    subprocess.run([sys.executable, "-c", code.format(names=light)], check=True)


@dataclass(frozen=True)
class Good(Filter):
    """Drops short text."""

    min_chars: int = 3

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        short = pc.less(pc.fill_null(pc.utf8_length(docs.column("text")), 0), self.min_chars)
        return pc.if_else(short, "too_short", pa.scalar(None, pa.string()))


@dataclass(frozen=True)
class Refusing(Good):
    """Raises on null text, which is allowed."""

    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        if docs.column("text").null_count:
            raise ValueError("null text")
        return super().drop(docs)


@dataclass(frozen=True)
class Words(FlatMapper):
    """One new document for each of the first three words."""

    def expand(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        words = pc.list_slice(pc.utf8_split_whitespace(pc.fill_null(docs.column("text"), "")), 0, 3)
        origin = pc.list_parent_indices(words)
        parents = docs.take(origin)
        return set_column(parents, "text", pc.list_flatten(words)).append_column("parent_id", parents.column("id"))


@pytest.mark.parametrize("operator", [Good(), Refusing(), Words()])
def test_right_operators_pass(operator: Operator) -> None:
    check_operator(operator)


@dataclass(eq=True, unsafe_hash=True)
class Thawed(Filter):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        return Good().drop(docs)


@dataclass(frozen=True)
class Compares(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        lengths = pc.fill_null(pc.utf8_length(docs.column("text")), 0)
        return pc.if_else(pc.less(lengths, pc.mean(lengths)), "below_average", pa.scalar(None, pa.string()))


@dataclass(frozen=True)
class IgnoresOffset(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        size = int(pc.fill_null(pc.utf8_length(docs.column("text")), 0)[0].as_py()) if len(docs) else 0
        return pa.array(["first_is_short" if size < 5 else None] * len(docs), pa.string())


@dataclass(frozen=True)
class Chatty(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array([f"only {len(text or '')} characters" for text in docs.column("text").to_pylist()], pa.string())


@dataclass(frozen=True)
class Short(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        return super().drop(docs)[:-1] if len(docs) > 1 else super().drop(docs)


@dataclass(frozen=True)
class Undeclared(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        docs.column("url")
        return super().drop(docs)


@dataclass(frozen=True)
class Fragile(Good):
    def drop(self, docs: pa.RecordBatch) -> pa.Array:
        return pa.array([None if text[0] else "x" for text in docs.column("text").to_pylist() if text is not None], pa.string())


@dataclass(frozen=True)
class Unversioned(Good):
    version = 0


@dataclass(frozen=True)
class Unserialisable(Good):
    word: Any = dataclasses.field(default=b"x")


@dataclass(frozen=True)
class WrongType(Scorer):
    def output(self) -> pa.DataType:
        return pa.float64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        return pc.fill_null(pc.utf8_length(docs.column("text")), 0)


@dataclass(frozen=True)
class Remembering(Scorer):
    seen: tuple[int, ...] = ()

    def output(self) -> pa.DataType:
        return pa.int64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        return pa.array([self.__dict__["calls"]] * len(docs), pa.int64())


@dataclass(frozen=True)
class Reorders(Mapper):
    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        return docs.sort_by("id")


@dataclass(frozen=True)
class Surprising(Mapper):
    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        return docs.append_column("surprise", docs.column("id"))


@dataclass(frozen=True)
class Promising(Mapper):
    def adds(self) -> Mapping[str, pa.DataType]:
        return {"promised": pa.int64()}

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        return docs


@dataclass(frozen=True)
class Greedy(Mapper):
    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        return docs.select(["id", "text"])


@dataclass(frozen=True)
class Scribbling(Scorer):
    def output(self) -> pa.DataType:
        return pa.int64()

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        import ctypes

        data = docs.column("text").buffers()[2]
        if data is not None and data.size:
            ctypes.memset(data.address, ord("z"), 1)
        return pa.array([0] * len(docs), pa.int64())


@pytest.mark.parametrize(
    ("operator", "sentence"),
    [
        (Thawed(), "not frozen"),
        (Compares(), "another result in a batch than alone|other results"),
        (IgnoresOffset(), "another result in a batch than alone"),
        (Chatty(), "neither snake_case nor quoted"),
        (Short(), "entries for"),
        (Undeclared(), "raised on document `prose`"),
        (Fragile(), "raised on document `empty`: IndexError"),
        (Unversioned(), "version is not a positive integer"),
        (Unserialisable(), "JSON cannot carry"),
        (WrongType(), "output\\(\\) says double"),
        (Remembering(), "two results for the same batch"),
        (Reorders(), "changed ids"),
        (Surprising(), "other than it declares: surprise"),
        (Promising(), "lost columns: promised"),
        (Greedy(), "lost columns: bystander"),
        (Scribbling(), "changed the batch"),
    ],
)
def test_wrong_operators_are_told_what_is_wrong(operator: Operator, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_operator(operator)


def test_missing_columns_are_asked_for() -> None:
    from curate_operators.where import Where

    with pytest.raises(AssertionError, match=r"reads lang\.?.*: give check_operator documents"):
        check_operator(Where("lang.code = 'en'"))
