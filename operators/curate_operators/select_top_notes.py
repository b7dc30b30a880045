"""What `select_top` tells of its thresholds: a sentence, a table of groups, and a curve of what each threshold would keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curate.report.units import count, plural, share
from curate.thresholds import Group, Mark, score_of
from curate.work import Curve, Verdict

SHOWN, POINTS = 50, 100


def verdict(about: Mapping[str, Any], marks: Sequence[Mark]) -> Verdict:
    """Return the note; it does not pass when there are too few documents with scores for the budget. That of a group is a cap."""
    rows, unit = about["thresholds"], about["unit"]
    docs, kept = (sum(row[name] for row in rows) for name in ("documents", "kept_documents"))
    parts = [f"kept {count(kept)} of {plural(docs, 'document')} ({share(kept, docs)})"]
    if unit != "docs":
        whole, part = (sum(row[name] for row in rows) for name in (unit, f"kept_{unit}"))
        parts.append(f"{count(part)} of {count(whole)} {unit} ({share(part, whole)})")
    without = sum(row["without_score"] for row in rows)
    parts += [f"{plural(without, 'document')} without a score{' or tokens' if unit == 'tokens' else ''}"] if without else []
    short = [row for row in rows if not row["reached"]]
    parts += [f"the budget is not reached{_of_groups(about, len(short))}"] if short else []
    return Verdict(
        not short or about["group_by"] is not None, f"{_threshold(about)}: {', '.join(parts)}", _table(about), _curve(about, marks)
    )


def _of_groups(about: Mapping[str, Any], number: int) -> str:
    return f" in {number} of {plural(len(about['thresholds']), 'group')}" if about["group_by"] else ""


def _threshold(about: Mapping[str, Any]) -> str:
    """Return the condition that the kept documents meet."""
    found = [float(row["threshold"]) for row in about["thresholds"] if row["threshold"] is not None]
    sign = ">=" if about["highest"] else "<="
    if not found:
        return f"no document has a score in `{about['column']}`"
    if about["group_by"] is None or len(found) == 1:
        return f"`{about['column']}` {sign} {found[0]:.6g}"
    return f"`{about['column']}` {sign} {min(found):.6g} to {max(found):.6g} in {plural(len(found), 'group')} of `{about['group_by']}`"


def _table(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = sorted(about["thresholds"], key=lambda row: -row["documents"])[:SHOWN]
    unnamed = "(none)" if about["group_by"] else "all"
    return {
        row["group"] if row["group"] is not None else unnamed: {
            name: value for name, value in row.items() if name not in ("group", "reached")
        }
        for row in rows
    }


def points(groups: Mapping[Group, Mapping[str, int]]) -> list[Mark]:
    """Return the weights at which the curve has its points, where there is one group."""
    if len(groups) != 1:
        return []
    [(group, found)] = groups.items()
    return [Mark(group, target) for target in sorted({-(-step * found["weight"] // POINTS) for step in range(1, POINTS + 1)} - {0})]


def _curve(about: Mapping[str, Any], marks: Sequence[Mark]) -> Curve | None:
    """Return what share of documents and of their weight each threshold keeps, where there is one threshold."""
    row = about["thresholds"][0] if len(about["thresholds"]) == 1 else None
    if row is None or row["threshold"] is None:
        return None
    kept = {mark.most: (mark.docs_before + mark.docs, mark.weight_before + mark.weight) for mark in marks if mark.docs}
    scores = [score_of(key, about["highest"]) for key in sorted(kept)]
    docs, weights = (np.array([kept[key][column] for key in sorted(kept)]) for column in (0, 1))
    lines = {"documents": _line(scores, docs / row["documents"])}
    if about["unit"] != "docs":
        lines[about["unit"]] = _line(scores, weights / max(row[about["unit"]], 1))
    threshold = row["threshold"]
    return Curve(
        f"threshold of {about['column']}", "share kept", lines, marks={"kept to": threshold} if not isinstance(threshold, str) else {}
    )


def _line(scores: Sequence[float], shares: Any) -> list[tuple[float, float]]:
    return [(score, float(kept)) for score, kept in zip(scores, shares, strict=True) if np.isfinite(score)]
