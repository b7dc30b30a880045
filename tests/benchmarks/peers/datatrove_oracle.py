"""Asks datatrove's filters about every document of a corpus; runs in the environment that `make_env.py datatrove` makes.

`python datatrove_oracle.py CORPUS OUT [--part I/N]` writes into the folder OUT:

- `datatrove-I.parquet`: `row`, `filter` (gopher_quality, gopher_repetition, fineweb_quality, c4, c4_fineweb), `keep`, `reason`
  (theirs, null when kept), `text` (what C4 left, null for the other filters and for drops). Every filter sees the original text.
- `datatrove_english-I.parquet`: the same about documents that are not English, with the tokeniser that is datatrove's default.
- `datatrove_stats-I.parquet`: one row per `row` with the statistics behind the decisions, computed with datatrove's own
  functions but without its early exits; null where it would divide by zero.

Outside English the English stop words are off; `c4_fineweb` is C4 without the terminal-punctuation rule, as FineWeb ran it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters import gopher_quality_filter as quality
from datatrove.pipeline.filters import gopher_repetition_filter as repetition
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_words

ENGLISH = "eng_Latn"


def filters(lang: str, stop_words: int | None) -> dict[str, Any]:
    """Return the filters as their authors set them; those that share a text's words stand beside each other."""
    return {
        "gopher_quality": GopherQualityFilter(language=lang, min_stop_words=stop_words),
        "gopher_repetition": GopherRepetitionFilter(language=lang),
        "fineweb_quality": FineWebQualityFilter(language=lang),
        "c4": C4QualityFilter(language=lang),
        "c4_fineweb": C4QualityFilter(language=lang, filter_no_terminal_punct=False),
    }


def ask(row: int, text: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one answer per filter; an exception of theirs is a reason."""
    answers = []
    for name, judge in asked.items():
        doc = Document(text=text, id=str(row))
        try:
            answer = judge.filter(doc)
        except Exception as error:
            answer = (False, f"raised {type(error).__name__}: {error}")
        keep, reason = answer if isinstance(answer, tuple) else (bool(answer), None)
        answers.append(
            {"row": row, "filter": name, "keep": keep, "reason": reason, "text": doc.text if keep and name.startswith("c4") else None}
        )
    return answers


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def statistics(row: int, text: str, lang: str) -> dict[str, Any]:
    """Return what the decisions rest on."""
    words = split_into_words(text, lang)
    plain = [word for word in words if any(char not in PUNCTUATION_SET for char in word)]
    every = text.splitlines()
    lines = [line for line in text.split("\n") if line.strip()]
    stop = tuple(TERMINAL_PUNCTUATION)
    found = {
        "row": row,
        "chars": len(text),
        "words": len(words),
        "plain_words": len(plain),
        "mean_word_chars": _share(sum(map(len, plain)), len(plain)),
        "hash_ratio": _share(text.count("#"), len(words)),
        "ellipsis_ratio": _share(text.count("...") + text.count("…"), len(words)),
        "bullet_line_ratio": _share(sum(line.lstrip().startswith(("•", "-")) for line in every), len(every)),
        "ellipsis_line_ratio": _share(sum(line.rstrip().endswith(("...", "…")) for line in every), len(every)),
        "words_with_letter_ratio": _share(sum(any(char.isalpha() for char in word) for word in words), len(words)),
        "stop_words": len(set(quality.STOP_WORDS).intersection(words)),
        "line_punct_ratio": _share(sum(line.endswith(stop) for line in lines), len(lines)),
        "short_line_ratio": _share(sum(len(line) <= 30 for line in lines), len(lines)),
        "char_dup_ratio": _share(repetition.find_duplicates(lines)[1], len(text.replace("\n", ""))),
        "list_ratio": _share(text.count("\n"), len(words)),
    }
    return found | _repeats(text, words)


def _repeats(text: str, words: list[str]) -> dict[str, float | None]:
    judge = GopherRepetitionFilter()
    found: dict[str, float | None] = {}
    for kind, parts in (("para", judge.paragraph_exp.split(text.strip())), ("line", judge._line_splitter.split(text))):
        number, chars = repetition.find_duplicates(parts)
        found[f"dup_{kind}_frac"] = _share(number, len(parts))
        found[f"dup_{kind}_char_frac"] = _share(chars, len(text))
    for n, _ in judge.top_n_grams:
        grams = repetition.get_n_grams(words, n)
        found[f"top_{n}_gram"] = _share(repetition.find_top_duplicate(grams) if grams else 0, len(text))
    for n, _ in judge.dup_n_grams:
        found[f"duplicated_{n}_n_grams"] = _share(repetition.find_all_duplicate(words, n), len(text))
    return found


def main() -> None:
    """Read the corpus, ask, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", default="0/1")
    chosen = parser.parse_args()
    part, parts = map(int, chosen.part.split("/"))
    table = pq.read_table(chosen.corpus, columns=["row", "lang", "text"])
    asked: dict[str, dict[str, Any]] = {}
    default = filters(ENGLISH, stop_words=None)
    answers, english, stats = [], [], []
    for doc in table.take(list(range(part, table.num_rows, parts))).to_pylist():
        row, lang, text = doc["row"], doc["lang"], doc["text"]
        if lang not in asked:
            asked[lang] = filters(lang, stop_words=2 if lang == ENGLISH else None)
        answers += ask(row, text, asked[lang])
        stats.append(statistics(row, text, lang))
        if lang != ENGLISH:
            english += ask(row, text, default)
    schema = pa.schema(
        [("row", pa.int32()), ("filter", pa.string()), ("keep", pa.bool_()), ("reason", pa.string()), ("text", pa.large_string())]
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("datatrove", answers), ("datatrove_english", english)):
        pq.write_table(pa.Table.from_pylist(rows, schema), chosen.out / f"{name}-{part}.parquet", compression="zstd")
    whole = {"row", "chars", "words", "plain_words", "stop_words"}
    types = pa.schema([(name, pa.int32() if name in whole else pa.float64()) for name in stats[0]])
    pq.write_table(pa.Table.from_pylist(stats, types), chosen.out / f"datatrove_stats-{part}.parquet", compression="zstd")


if __name__ == "__main__":
    main()
