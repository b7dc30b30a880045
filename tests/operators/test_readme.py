"""The README's operator is loaded as a user's file and passes the battery."""

from __future__ import annotations

import re

from curate.registry import OperatorSpec, build, packs
from curate.testing import check_operator
from tests.operators.conftest import ROOT, batch


def test_example_operator() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "operators" / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    operator = build(OperatorSpec("my_rules.py:DigitRatio", {"max_ratio": 0.2}, code))
    check_operator(operator)
    assert operator.drop(batch(["a1", "abcdefghi1"])).to_pylist() == [{"reason": "too_many_digits", "value": 0.5}, None]  # type: ignore[attr-defined]


def test_tables_name_every_operator() -> None:
    pages = [(ROOT / folder / "README.md").read_text(encoding="utf-8") for folder in ("operators", "scorers")]
    assert sorted(name for page in pages for name in re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(packs())
