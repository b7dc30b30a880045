"""The corpora on which `gate_decisions` asks the gate: English prose of the shared data, whole or with a known share of it spoilt.

A corpus is a JSONL file of `id` and `text`. Documents are cut at `LONGEST` characters, so that a few do not decide. A spoilt document is
replaced by at most as many characters of something worse; what a dose spoils, every larger dose spoils too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import orjson
from resiliparse.extract.html2text import extract_plain_text

from curate_operators.extract import decode
from tests.benchmarks.extraction_fit import DATA, read_pages
from tests.benchmarks.preselect_small_pool import read

SETS = ("pile_slices", "web_c4_demo", "news_african_masakha", "extract_gold")
PROSE = {"pile_cc", "wikipedia_(en)", "nih_exporter", "pubmed_abstracts", "uspto_backgrounds"}
ENGLISH = {"eng", "pcm"}
LONGEST = 3000
COPIED_RATIO = 0.01  # of the documents: all duplicates are copies of these

Texts = Sequence[str]


def missing() -> list[str]:
    """Return the sets that are not there."""
    return [name for name in SETS if not (DATA / name).is_dir()]


def prose(seed: int) -> list[str]:
    """Return English documents in an order drawn by the seed."""
    texts = [row["text"] for row in read("pile_slices") if row["domain"] in PROSE] + [row["text"] for row in read("web_c4_demo")]
    return [texts[i][:LONGEST] for i in np.random.default_rng(seed).permutation(len(texts)).tolist()]


def write(path: Path, texts: Texts) -> Path:
    """Write documents as a JSONL file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"{path.stem}/{i}", "text": text} for i, text in enumerate(texts)]
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return path


def spoil(texts: Texts, kind: str, dose: float, seed: int) -> list[str]:
    """Return the documents with a share of them, `dose`, replaced."""
    chosen = np.random.default_rng(seed).permutation(len(texts)).tolist()
    worse = KINDS[kind]([texts[i] for i in chosen], seed)
    replaced = {i: text[: len(texts[i])] for i, text in zip(chosen[: round(dose * len(texts))], worse, strict=False)}
    return [replaced.get(i, text) for i, text in enumerate(texts)]


def _boilerplate(texts: Texts, seed: int) -> Iterator[str]:
    """Yield what real pages have beside their main content: menus, lists of links, footers."""
    return _as_long(texts, drawn([beside for page in read_pages(DATA) if (beside := _beside(decode(page.html)))], seed))


def _beside(html: str) -> str:
    main = set(extract_plain_text(html, main_content=True).splitlines())
    return "\n".join(line for line in extract_plain_text(html, main_content=False).splitlines() if line not in main)


def _shuffled(texts: Texts, seed: int) -> Iterator[str]:
    """Yield each document's own words in any order."""
    return (" ".join(drawn(text.split(), seed + i)) for i, text in enumerate(texts))


def _copies(texts: Texts, seed: int) -> Iterator[str]:
    """Yield the last few documents again and again, which the largest doses do not replace."""
    return _as_long(texts, texts[-max(1, round(COPIED_RATIO * len(texts))) :])


def _languages(texts: Texts, seed: int) -> Iterator[str]:
    """Yield news in fourteen languages other than English."""
    return _as_long(texts, drawn([row["text"] for row in read("news_african_masakha") if row["lang"] not in ENGLISH], seed))


def _as_long(texts: Texts, worse: Texts) -> Iterator[str]:
    """Yield for each document as many of the others as make its length, over and over again."""
    parts = cycle(worse)
    for text in texts:
        made = next(parts)
        while len(made) < len(text):
            made += "\n\n" + next(parts)
        yield made


def drawn(values: Sequence[str], seed: int) -> list[str]:
    return [values[i] for i in np.random.default_rng(seed).permutation(len(values)).tolist()]


KINDS: dict[str, Callable[[Texts, int], Iterator[str]]] = {
    "boilerplate": _boilerplate,
    "shuffled words": _shuffled,
    "duplicates": _copies,
    "other languages": _languages,
}
