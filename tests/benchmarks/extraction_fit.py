"""Fits the rule by which `extract_html` takes blocks for main content, to what people marked (`extract_gold`).

`python -m tests.benchmarks.extraction_fit` writes `extract_weights.json`. A block counts as main content when it holds a segment to
include or lies in the gold text, as frame when it holds a segment to exclude or lies outside of the gold text; blocks of
which nobody said anything do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.parse.html import HTMLTree

from curate_operators.extract import decode
from curate_operators.extract_blocks import split_blocks
from curate_operators.extract_features import SCALE, features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Described = dict[str, NDArray[np.int64]]

DATA = Path(os.environ.get("CURATE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
WEIGHTS = Path(__file__).parents[2] / "operators" / "curate_operators" / "data" / "extract_weights.json"
PENALTY = 5.0
SEGMENT_WEIGHT = 8.0
UNITS = 1000  # weights are written in thousandths
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Page:
    """A page and what people said of it."""

    url: str
    html: bytes
    must_include: list[str]
    must_exclude: list[str]
    text: str

    @property
    def half(self) -> int:
        return hashlib.sha256(self.url.encode()).digest()[0] & 1


def read_pages(data: Path) -> list[Page]:
    """Read the marked pages: segments for those of trafilatura's evaluation, whole text for the others."""
    with pa.input_stream(data / "extract_gold" / "gold.jsonl.zst", compression="zstd") as stream:
        gold = {row["url"]: row for row in map(json.loads, stream.read().splitlines())}
    with open(data / "extract_gold" / "pages.warc.gz", "rb") as stream:
        bodies = {
            record.headers["WARC-Target-URI"]: record.reader.read()
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response)
        }
    return [
        Page(url, bodies[url], row.get("must_include") or [], row.get("must_exclude") or [], row["text"])
        for url, row in gold.items()
        if url in bodies
    ]


def _letters(text: str) -> str:
    return "".join(_WORD.findall(text.lower()))


def _repaired(text: str) -> str:
    """Undo UTF-8 read as Latin-1, as a few gold texts are."""
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode()
        except UnicodeError:
            continue
    return text


def _labels(page: Page, texts: list[str]) -> tuple[Floats, Floats]:
    """Return for each block whether it is main content, and how much that counts."""
    plain = [_letters(text) for text in texts]
    if not page.must_include:
        gold = _letters(_repaired(page.text))
        size = np.minimum(np.sqrt([len(text) for text in texts]), 30) / 10
        return np.array([float(p in gold) for p in plain]), np.where([bool(p) for p in plain], size, 0.0)
    label, weight = np.zeros(len(texts)), np.zeros(len(texts))
    for segments, value in ((page.must_include, 1.0), (page.must_exclude, 0.0)):
        for segment in segments:
            hits = [s in t or (value and _letters(segment) in p) for s, t, p in zip([segment] * len(texts), texts, plain, strict=True)]
            label[np.flatnonzero(hits)], weight[np.flatnonzero(hits)] = value, SEGMENT_WEIGHT
    return label, weight


def prepare(page: Page) -> tuple[Described, Floats, Floats] | None:
    """Return a page's features, labels and their weights; None for a page without blocks."""
    body = HTMLTree.parse(decode(page.html)).body
    blocks = split_blocks(body.html) if body else None
    return (features(blocks), *_labels(page, blocks.texts)) if blocks and blocks.texts else None


def fit(prepared: list[tuple[Described, Floats, Floats]]) -> dict[str, int]:
    """Fit a logistic regression by Newton's method with a ridge penalty; return its weights as whole numbers."""
    names = list(prepared[0][0])
    x = np.vstack([np.column_stack([described[name] for name in names]) for described, _, _ in prepared]) / SCALE
    y, weight = (np.concatenate([page[i] for page in prepared]) for i in (1, 2))
    said = weight > 0
    x, y, weight = x[said], y[said], weight[said]
    beta = np.zeros(len(names))
    for _ in range(15):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + PENALTY * np.eye(len(names))
        beta += np.linalg.solve(curvature, x.T @ (weight * (y - p)) - PENALTY * beta)
    return {name: round(float(value) * UNITS) for name, value in zip(names, beta, strict=True)}


def main() -> None:
    """Fit to all pages and write the rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds extract_gold")
    prepared: list[Any] = [prepare(page) for page in read_pages(parser.parse_args().data)]
    rule = {name: value for name, value in fit([page for page in prepared if page]).items() if value}
    WEIGHTS.write_text("{\n" + ",\n".join(f"  {json.dumps(n, ensure_ascii=False)}: {v}" for n, v in rule.items()) + "\n}\n")
    print(f"{len(rule)} weights in {WEIGHTS.name}")


if __name__ == "__main__":
    main()
