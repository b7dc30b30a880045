"""`python datatrove_words.py CORPUS FILE`: says how datatrove reads some documents, for tracing disagreements.

FILE is a Parquet file with `row`; it gets `words` (list of string), `plain` (list of bool: words that it takes for no symbol), and
for C4 with and without the terminal-punctuation rule what is left (`c4`, `c4_fineweb`: null where the page is dropped before
sentences count) and the sentences in it (`c4_sentences`, `c4_fineweb_sentences`: null where its splitter raises).
"""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter
from datatrove.utils.text import PUNCTUATION_SET, split_into_sentences, split_into_words

LEFT = {"c4": True, "c4_fineweb": False}


def read(row: int, lang: str, text: str) -> dict[str, Any]:
    """Return how one document is read."""
    words = split_into_words(text, lang)
    found: dict[str, Any] = {"row": row, "words": words, "plain": [any(char not in PUNCTUATION_SET for char in word) for word in words]}
    for name, punctuation in LEFT.items():
        doc = Document(text=text, id=str(row))
        kept = C4QualityFilter(language=lang, filter_no_terminal_punct=punctuation, min_num_sentences=-1).filter(doc) is True
        found[name] = doc.text if kept else None
        try:
            found[f"{name}_sentences"] = sum(len(split_into_sentences(line, lang)) for line in doc.text.split("\n")) if kept else None
        except ValueError:
            found[f"{name}_sentences"] = None
    return found


def main(corpus: str, path: str) -> None:
    """Read the rows asked for, write."""
    rows = pq.read_table(path)["row"]
    docs = pq.read_table(corpus, columns=["row", "lang", "text"])
    docs = docs.filter(pc.is_in(docs["row"], rows))
    schema = pa.schema(
        [("row", pa.int32()), ("words", pa.list_(pa.string())), ("plain", pa.list_(pa.bool_()))]
        + [pair for name in LEFT for pair in ((name, pa.large_string()), (f"{name}_sentences", pa.int32()))]
    )
    pq.write_table(pa.Table.from_pylist([read(**doc) for doc in docs.to_pylist()], schema), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
