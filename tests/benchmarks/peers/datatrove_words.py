"""`python datatrove_words.py CORPUS FILE`: says how datatrove reads some documents, for tracing disagreements.

FILE is a Parquet file with `row`; it gets `words` (list of string), `plain` (list of bool: words that it takes for no symbol),
`english` and `english_plain` (the same by its English tokeniser), and for C4 with and without the terminal-punctuation rule what
is left (`c4`, `c4_fineweb`: null where the page is dropped before sentences count) and the sentences in it, by the language's and
by the English tokeniser (`c4_sentences`, `c4_sentences_english`, …: null where its splitter raises).
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

ENGLISH = "eng_Latn"
LEFT = {"c4": True, "c4_fineweb": False}


def read(row: int, lang: str, text: str) -> dict[str, Any]:
    """Return how one document is read."""
    words, english = split_into_words(text, lang), split_into_words(text, ENGLISH)
    found: dict[str, Any] = {"row": row, "words": words, "plain": plain(words), "english": english, "english_plain": plain(english)}
    for name, punctuation in LEFT.items():
        doc = Document(text=text, id=str(row))
        kept = C4QualityFilter(language=lang, filter_no_terminal_punct=punctuation, min_num_sentences=-1).filter(doc) is True
        found[name] = doc.text if kept else None
        found[f"{name}_sentences"] = sentences(doc.text, lang) if kept else None
        found[f"{name}_sentences_english"] = sentences(doc.text, ENGLISH) if kept else None
    return found


def plain(words: list[str]) -> list[bool]:
    """Return which words are no symbols."""
    return [any(char not in PUNCTUATION_SET for char in word) for word in words]


def sentences(text: str, lang: str) -> int | None:
    """Return the sentences of all lines."""
    try:
        return sum(len(split_into_sentences(line, lang)) for line in text.split("\n"))
    except ValueError:
        return None


def main(corpus: str, path: str) -> None:
    """Read the rows asked for, write."""
    rows = pq.read_table(path)["row"]
    docs = pq.read_table(corpus, columns=["row", "lang", "text"])
    docs = docs.filter(pc.is_in(docs["row"], rows))
    schema = pa.schema(
        [("row", pa.int32())]
        + [(name, pa.list_(pa.string())) for name in ("words", "english")]
        + [(name, pa.list_(pa.bool_())) for name in ("plain", "english_plain")]
        + [(name, pa.large_string()) for name in LEFT]
        + [(f"{name}_{counted}", pa.int32()) for name in LEFT for counted in ("sentences", "sentences_english")]
    )
    pq.write_table(pa.Table.from_pylist([read(**doc) for doc in docs.to_pylist()], schema), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
