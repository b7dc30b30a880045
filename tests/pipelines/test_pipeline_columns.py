"""Columns are followed through a pipeline before anything runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.check import check_columns, warnings
from curate.errors import PipelineError
from curate.pipeline_validate import validate
from curate.pipeline_yaml import parse_pipeline

FOLDER = Path(__file__).parent
HTML = pa.schema([("id", pa.string()), ("url", pa.string()), ("html", pa.large_string())])
TEXT = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("n", pa.int64()), ("score", pa.float64())])
LANG = pa.struct([("code", pa.string()), ("confidence", pa.float64())])
HEAD = 'name: demo\ninputs: {raw: {path: "*.jsonl"}}\nstages:\n'


def check(text: str, schemas: dict[str, pa.Schema]) -> dict[str, pa.Schema]:
    loaded = parse_pipeline(HEAD + text, "p.yaml", FOLDER)
    return check_columns(loaded.pipeline, validate(loaded.pipeline, loaded.positions), schemas, loaded.positions)


def steps(*lines: str) -> str:
    return "    operators:\n" + "".join(f"      - {{{line}}}\n" for line in lines)


def chain(*lines: str) -> str:
    return "  clean:\n    from: raw\n" + steps(*lines)


EXTRACT = "use: my_rules.py:FromHtml"
LETTERS = "use: my_rules.py:Letters, into: letters"
LANGUAGE = "use: my_rules.py:Lang, into: lang"
DIGITS = "use: my_rules.py:DigitRatio"
MARKS = '  marks: {from: clean, use: "my_rules.py:Marks"}\n'


def at_least(column: str) -> str:
    return f'use: my_rules.py:AtLeast, params: {{column: "{column}"}}'


def test_a_mapper_adds_and_removes() -> None:
    result = check(chain(EXTRACT, LANGUAGE, at_least("lang.confidence")), {"raw": HTML})
    assert result["clean"] == pa.schema([("id", pa.string()), ("url", pa.string()), ("text", pa.large_string()), ("lang", LANG)])


def test_a_chain_of_scorers_emits_its_scores_only() -> None:
    result = check(chain(LETTERS, LANGUAGE), {"raw": TEXT})
    assert result["clean"] == pa.schema([("id", pa.string()), ("letters", pa.int64()), ("lang", LANG)])


def test_emits_documents_keeps_the_documents() -> None:
    result = check(chain(LETTERS) + "    emits: documents\n", {"raw": TEXT})
    assert result["clean"].names == [*TEXT.names, "letters"]


def test_a_flat_mapper_adds_the_parent() -> None:
    result = check(chain("use: my_rules.py:Paragraphs"), {"raw": TEXT})
    assert result["clean"].names == [*TEXT.names, "paragraph", "parent_id"]


def test_attributes_are_structs_and_apply_uses_them_up() -> None:
    scores = "  scores:\n    from: clean\n" + steps(LANGUAGE)
    corpus = "  corpus:\n    from: [clean, marks, scores]\n    apply: [marks]\n" + steps(at_least("scores.lang.confidence"))
    result = check(chain(DIGITS) + MARKS + scores + corpus, {"raw": TEXT})
    assert result["marks"] == pa.schema([("id", pa.string()), ("keep", pa.bool_()), ("kept_id", pa.string())])
    assert result["corpus"] == TEXT.append(pa.field("scores", pa.struct([("lang", LANG)])))


def test_a_dataset_operator_that_emits_documents_keeps_their_columns() -> None:
    result = check(chain(DIGITS) + '  small: {from: clean, use: "my_rules.py:Compact"}\n', {"raw": TEXT})
    assert result["small"] == TEXT


def test_an_input_without_a_schema_is_open() -> None:
    result = check(chain(at_least("anything.at.all"), LETTERS, at_least("letters") + ", name: second"), {})
    assert result["clean"].names == ["id", "letters"]
    with pytest.raises(PipelineError, match=r"reads the column `letters\.x`, which is not there"):
        check(chain(LETTERS, at_least("letters.x")), {})


NOT_THERE = "which is not there; columns:"


@pytest.mark.parametrize(
    ("text", "schema", "message"),
    [
        (chain(DIGITS), HTML, f"p.yaml:7: `my_rules.py:DigitRatio` reads the column `text`, {NOT_THERE} id, url, html\n"
            "hint: use `extract_html` first: it makes `text` from `html`"),
        (chain(DIGITS), pa.schema([("id", pa.string()), ("texts", pa.string())]),
            f"p.yaml:7: `my_rules.py:DigitRatio` reads the column `text`, {NOT_THERE} id, texts\nhint: did you mean `texts`?"),
        (chain(at_least("scroe")), TEXT,
            f"p.yaml:7: `my_rules.py:AtLeast` reads the column `scroe`, {NOT_THERE} id, text, source, n, score\n"
            "hint: did you mean `score`?"),
        (chain(at_least("n")), TEXT, "p.yaml:7: `my_rules.py:AtLeast`: column `n` is int64, not a number\nhint: choose another column"),
        (chain(LANGUAGE, at_least("lang.conf")), TEXT,
            f"p.yaml:8: `my_rules.py:AtLeast` reads the column `lang.conf`, {NOT_THERE} id, text, source, n, score, lang\n"
            "hint: did you mean `lang.confidence`?"),
        (chain(LANGUAGE, at_least("confidence")), TEXT,
            f"p.yaml:8: `my_rules.py:AtLeast` reads the column `confidence`, {NOT_THERE} id, text, source, n, score, lang\n"
            "hint: did you mean `lang.confidence`?"),
        (chain(at_least("letters"), LETTERS), TEXT,
            f"p.yaml:7: `my_rules.py:AtLeast` reads the column `letters`, {NOT_THERE} id, text, source, n, score\n"
            "hint: `Letters` (step 2) makes it: put that step first"),
        (chain(EXTRACT, EXTRACT + ", name: again"), HTML,
            f"p.yaml:8: `my_rules.py:FromHtml` reads the column `html`, {NOT_THERE} id, url, text\n"
            "hint: `FromHtml` has removed it"),
        (chain(LETTERS, "use: my_rules.py:Lang, into: letters"), TEXT,
            "p.yaml:8: `my_rules.py:Lang` makes the column `letters`, which is there already\nhint: choose another one with `into:`"),
        (chain("use: my_rules.py:Letters, into: score"), TEXT,
            "p.yaml:7: `my_rules.py:Letters` makes the column `score`, which is there already\nhint: choose another one with `into:`"),
        (chain(DIGITS) + MARKS + "  corpus:\n    from: clean\n" + steps(at_least("marks.keep")), TEXT,
            f"p.yaml:12: `my_rules.py:AtLeast` reads the column `marks.keep`, {NOT_THERE} id, text, source, n, score\n"
            "hint: add it to the stage's sources: `from: [clean, marks]`"),
        (chain(DIGITS) + MARKS + "  corpus:\n    from: [clean, marks]\n    apply: [marks]\n" + steps(at_least("marks.keep")),
            TEXT, f"p.yaml:13: `my_rules.py:AtLeast` reads the column `marks.keep`, {NOT_THERE} id, text, source, n, score\n"
            "hint: `apply` has used it up; to read it afterwards, write `{use: apply, params: {by: marks}}` as a step"),
        (chain(DIGITS) + MARKS.replace("marks", "score") + "  corpus:\n    from: [clean, score]\n    apply: [score]\n", TEXT,
            "p.yaml:10: the attributes `score` clash with a column of `clean`\nhint: give the stage another name"),
        (chain(DIGITS) + "  scores:\n    from: clean\n" + steps(LETTERS) + "  corpus:\n    from: [clean, scores]\n    apply: [scores]\n",
            TEXT, "p.yaml:14: `apply` needs a true-or-false column `scores.keep`; `scores` has letters\n"
            "hint: decide with `use: where` and a condition on `scores.…` instead"),
        (chain(EXTRACT) + '  marks: {from: raw, use: "my_rules.py:Marks"}\n', HTML,
            f"p.yaml:8: `my_rules.py:Marks` reads the column `text`, {NOT_THERE} id, url, html\n"
            "hint: use `extract_html` first: it makes `text` from `html`"),
        (chain(DIGITS) + "report_by: [sauce]\n", TEXT, "p.yaml:8: no stage has the column `sauce`\nhint: did you mean `source`?"),
        (chain(DIGITS, at_least("nn")), HTML, f"p.yaml:7: `my_rules.py:DigitRatio` reads the column `text`, {NOT_THERE} id, url, html "
            "(use `extract_html` first: it makes `text` from `html`)\n"
            f"p.yaml:8: `my_rules.py:AtLeast` reads the column `nn`, {NOT_THERE} id, url, html"),
    ],
)  # fmt: skip
def test_a_wrong_column_is_explained(text: str, schema: pa.Schema, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        check(text, {"raw": schema})
    assert str(caught.value) == message


def test_warnings() -> None:
    text = (
        HEAD.replace("{raw: ", "{other: {path: x}, raw: ")
        + chain(EXTRACT, DIGITS, at_least("n"))
        + MARKS
        + "outputs: {clean: {path: out}}\n"
    )
    loaded = parse_pipeline(text, "p.yaml", FOLDER)
    built = validate(loaded.pipeline, loaded.positions)
    assert warnings(loaded.pipeline, built, loaded.positions) == [
        "p.yaml:2: no stage reads the input `other`",
        "p.yaml:8: a change to the cheap `DigitRatio` repeats the costly `FromHtml` in stage `clean`; put it into a stage of its own",
        "p.yaml:10: nothing reads the stage `marks`, and it is no output",
    ]


def test_an_artifact_that_nothing_reads_is_no_mistake() -> None:
    text = HEAD + chain(EXTRACT) + "  words: {from: clean, use: train_tokenizer}\noutputs: {clean: {path: out}}\n"
    loaded = parse_pipeline(text, "p.yaml", FOLDER)
    assert warnings(loaded.pipeline, validate(loaded.pipeline, loaded.positions), loaded.positions) == []


def test_no_warnings_without_outputs_or_costs() -> None:
    loaded = parse_pipeline(HEAD + chain(DIGITS) + MARKS, "p.yaml", FOLDER)
    assert warnings(loaded.pipeline, validate(loaded.pipeline, loaded.positions), loaded.positions) == []
