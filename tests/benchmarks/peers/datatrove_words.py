"""`python datatrove_words.py CORPUS FILE`: adds to FILE (a Parquet file with `row`) the column `words`, as datatrove splits them."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datatrove.utils.text import split_into_words


def main(corpus: str, path: str) -> None:
    """Read the rows asked for, split, write."""
    rows = pq.read_table(path)["row"]
    docs = pq.read_table(corpus, columns=["row", "lang", "text"])
    docs = docs.filter(pc.is_in(docs["row"], rows))
    words = [split_into_words(doc["text"], doc["lang"]) for doc in docs.to_pylist()]
    pq.write_table(pa.table({"row": docs["row"], "words": pa.array(words, pa.list_(pa.string()))}), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
