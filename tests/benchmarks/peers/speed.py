"""`python speed.py PEER DOCS.jsonl`: runs a peer's filters over every document on this core; runs in the peer's environment.

Prints one JSON object: `bytes` of text read, `seconds` of CPU for them after the first documents have warmed caches, `peak_rss_bytes` of
the process, `kept` documents. Each peer runs what it has of Gopher, C4 and FineWeb, with its own defaults, as its own pipeline
would: datatrove and NeMo Curator drop a document at the first filter that says so, the others compute every score or tag.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable

WARM_UP = 20
BATCH = 500
Judge = Callable[[list[str]], int]


def datatrove() -> Judge:
    """Gopher quality and repetition, C4, FineWeb: the filters that the oracle runs, in FineWeb's order."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()]

    def judge(texts: list[str]) -> int:
        docs = (Document(text=text, id=str(i)) for i, text in enumerate(texts))
        return sum(all(step.filter(doc) is True for step in filters) for doc in docs)

    return judge


def dolma() -> Judge:
    """The taggers `gopher_v2` and `c4_v2`; they only tag, its mixer drops later, so every document counts as kept."""
    from dolma.core.data_types import Document
    from dolma.taggers.c4 import FasterC4Tagger
    from dolma.taggers.gopher import GopherTaggerV2

    taggers = [GopherTaggerV2(), FasterC4Tagger()]

    def judge(texts: list[str]) -> int:
        kept = 0
        for i, text in enumerate(texts):
            doc = Document(source="docs", id=str(i), text=text)
            kept += all(tagger.predict(doc) is not None for tagger in taggers)
        return kept

    return judge


def data_juicer() -> Judge:
    """Its text filters with their defaults; stop words and flagged words need lists that it downloads, so they are left out."""
    from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
    from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
    from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
    from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
    from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
    from data_juicer.ops.filter.text_length_filter import TextLengthFilter
    from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
    from data_juicer.ops.filter.words_num_filter import WordsNumFilter
    from data_juicer.utils.constant import Fields

    filters = [
        AlphanumericFilter(),
        AverageLineLengthFilter(),
        CharacterRepetitionFilter(),
        MaximumLineLengthFilter(),
        SpecialCharactersFilter(),
        TextLengthFilter(),
        WordRepetitionFilter(),
        WordsNumFilter(),
    ]

    def judge(texts: list[str]) -> int:
        samples = {"text": texts, Fields.stats: [{} for _ in texts]}
        keep = [True] * len(texts)
        for step in filters:
            samples = step.compute_stats_batched(samples)
            keep = [before and now for before, now in zip(keep, step.process_batched(samples), strict=True)]
        return sum(keep)

    return judge


def nemo_curator() -> Judge:
    """The filters of its heuristic English recipe that stand for Gopher's rules, through `ScoreFilter` on pandas batches."""
    import pandas as pd
    from nemo_curator.stages.text.filters import ScoreFilter
    from nemo_curator.stages.text.filters.heuristic import repetition as repeated
    from nemo_curator.stages.text.filters.heuristic import string as plain
    from nemo_curator.tasks import DocumentBatch

    filters = [
        plain.WordCountFilter(),
        plain.MeanWordLengthFilter(),
        plain.SymbolsToWordsFilter(),
        plain.BulletsFilter(),
        plain.EllipsisFilter(),
        plain.WordsWithoutAlphabetsFilter(),
        plain.CommonEnglishWordsFilter(),
        plain.PunctuationFilter(),
        repeated.RepeatedLinesFilter(),
        repeated.RepeatedLinesByCharFilter(),
        repeated.RepeatedParagraphsFilter(),
        repeated.RepeatedParagraphsByCharFilter(),
        *(repeated.RepeatingTopNGramsFilter(n=n, max_repeating_ngram_ratio=limit) for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))),
        *(repeated.RepeatingDuplicateNGramsFilter(n=n, max_repeating_duplicate_ngram_ratio=0.2 - n / 100) for n in range(5, 11)),
    ]
    stages = [ScoreFilter(filter_obj=step, text_field="text") for step in filters]

    def judge(texts: list[str]) -> int:
        batch = DocumentBatch(dataset_name="docs", data=pd.DataFrame({"text": texts}))
        for stage in stages:
            batch = stage.process(batch)
            if batch is None:
                return 0
        return len(batch.to_pandas())

    return judge


PEERS: dict[str, Callable[[], Judge]] = {
    "datatrove": datatrove,
    "dolma": dolma,
    "data_juicer": data_juicer,
    "nemo_curator": nemo_curator,
}


def peak_rss() -> int:
    """Return this process's peak memory; `getrusage` would give the parent's where that is larger."""
    with open("/proc/self/status", encoding="ascii") as lines:
        found = re.search(r"VmHWM:\s+(\d+) kB", lines.read())
    return int(found[1]) * 1024 if found else 0


def main(peer: str, path: str) -> None:
    """Read, warm up, measure, print."""
    with open(path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    judge = PEERS[peer]()
    judge(texts[:WARM_UP])
    begun = time.process_time()
    kept = sum(judge(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH))
    seconds = time.process_time() - begun
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"bytes": size, "seconds": seconds, "peak_rss_bytes": peak_rss(), "kept": kept}))


if __name__ == "__main__":
    main(*sys.argv[1:])
