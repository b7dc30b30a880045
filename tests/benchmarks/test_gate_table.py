"""What the gate said is written down and gone on from, for models of the same kind only."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.gate_table import Found, Record


def test_a_record_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record = Record("2M, 3 seeds", [Found("doses", 0.1, 0.05, 0.15, 0.001, "worse", "boilerplate", 0.25)])
    record.write(path)
    again = Record.read("2M, 3 seeds", path)
    assert again == record
    again.nothing.append(Found("nothing_1", 0.01, -0.02, 0.04, 0.5, "cannot tell"))
    again.write(path)
    assert Record.read("2M, 3 seeds", path) == again != record
    assert Record.read("2M, 5 seeds", path) == Record("2M, 5 seeds")
    assert Record.read("2M, 3 seeds", tmp_path / "none.json") == Record("2M, 3 seeds")
