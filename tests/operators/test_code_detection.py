from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import OperatorError
from curate_operators.code_detection import LINGUIST, DetectCodeLanguage
from tests.operators.conftest import batch

SAMPLES = {
    "python": "import os\n\n\ndef main() -> None:\n    for name in os.listdir('.'):\n        print(name)\n\n\nif __name__ == '__main__':\n    main()\n",
    "c++": "#include <iostream>\n#include <vector>\n\nint main() {\n  std::vector<int> v{1, 2};\n  for (auto x : v) std::cout << x << std::endl;\n}\n",
    "sql": "SELECT name, COUNT(*) AS n\nFROM people\nJOIN towns ON towns.id = people.town\nGROUP BY name\nORDER BY n DESC;\n",
    "rust": 'use std::io;\n\nfn main() {\n    let mut line = String::new();\n    io::stdin().read_line(&mut line).unwrap();\n    println!("{}", line);\n}\n',
}


def test_names_are_enough_where_they_tell() -> None:
    docs = batch(["anything"] * 3, path=pa.array(["a.py", "src/b.cpp", "Makefile"]))
    operator = DetectCodeLanguage(by="path")
    assert operator.score(docs).to_pylist() == [{"language": name, "confidence": 1.0} for name in ("python", "c++", "makefile")]
    assert "_detector" not in vars(operator)
    assert operator.reads() == ("text", "path")


def test_a_missing_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "magika", None)
    with pytest.raises(OperatorError, match="magika is not installed") as raised:
        DetectCodeLanguage().score(batch(["text"]))
    assert "`code`" in str(raised.value.hint)


def test_text_without_characters_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "magika", None)
    assert DetectCodeLanguage().score(batch(["", None])).to_pylist() == [{"language": None, "confidence": 0.0}] * 2


def test_languages_of_samples() -> None:
    pytest.importorskip("magika")
    found = DetectCodeLanguage().score(batch(list(SAMPLES.values())))
    assert found.field("language").to_pylist() == list(SAMPLES)
    assert min(found.field("confidence").to_pylist()) > 0.5


def test_the_name_goes_first_and_the_model_fills_in() -> None:
    pytest.importorskip("magika")
    docs = batch([SAMPLES["sql"], SAMPLES["sql"]], path=pa.array(["a.py", None]))
    assert DetectCodeLanguage(by="path").score(docs).field("language").to_pylist() == ["python", "sql"]


def test_labels_are_those_of_the_model() -> None:
    magika = pytest.importorskip("magika")
    labels = {str(label) for label in magika.Magika().get_output_content_types()}
    assert set(LINGUIST) <= labels


def test_accuracy_on_linguists_samples(data: Path) -> None:
    """Files of languages that the model knows, at most five of each."""
    magika = pytest.importorskip("magika")
    labels = {str(label) for label in magika.Magika().get_output_content_types()}
    known = {LINGUIST.get(label, label) for label in labels}
    with pa.input_stream(data / "code_samples" / "docs.jsonl.zst", compression="zstd") as stream:
        rows = [json.loads(line) for line in stream.read().splitlines()]
    taken: Counter[str] = Counter()
    some = []
    for row in rows:
        name = row["code_lang"].lower()
        if name in known and taken[name] < 5:
            taken[name] += 1
            some.append((row["text"], name))
    assert len(some) > 150
    found = DetectCodeLanguage().score(batch([text for text, _ in some])).field("language").to_pylist()
    assert sum(code == name for code, (_, name) in zip(found, some, strict=True)) / len(some) > 0.88
