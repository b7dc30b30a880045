"""`python -m tests.benchmarks.fidelity [--work FOLDER] [--write]`: our decisions beside datatrove's on the same real documents.

Prints how often they agree, and every disagreement by cause; `--write` puts both tables into README.md. `disagreements.parquet` in
the work folder names them: `row, filter, set, lang, group, ours, theirs` (reasons, null = kept), `value` (theirs), `cause`, `splits`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import Step, kernels, registry
from curate.kernels import text_view, word_spans
from curate.protocols import Filter, Mapper
from curate_operators.gopher import REPEATED, TOP
from tests.benchmarks import fidelity_causes, fidelity_oracle, readme
from tests.benchmarks.fidelity_causes import Reading
from tests.benchmarks.fidelity_corpus import ENGLISH, UNSPACED, code_of
from tests.benchmarks.fidelity_rules import BY_OURS, BY_THEIRS, Rule
from tests.benchmarks.peers.make_env import WORK

BATCH = 1000
GROUPS = {"english": "English", "spaced": "other languages with spaces", "unspaced": "Chinese, Japanese, Thai, Vietnamese"}
TARGETS = {"english": 0.995, "spaced": 0.98}
NEAR = 0.02  # a statistic that close to its limit, as a share of it, is called borderline
MIN_SENTENCES = 5
SCRIPTS_WITHOUT_SPACES = UNSPACED - {"vie_Latn"}
EXAMPLE_CHARS = 60
HELD_OUT = "Held out: other documents, which nobody looked at while the words' rules were written:"
COLUMNS = (
    "Every disagreement in the first corpus, by the rule that one side dropped by and its cause: the convention that, changed on their side, gives our"
    " decision. The example is a run between white space that one of the documents has, as they → we split it."
)
LETTERS_ALONE = {"min_mean_word_chars": None}
"""Where each letter is a word to us, the published limits on what words make are not comparable; nor are those on n-grams."""
NO_GRAMS = {f"max_top_{n}_gram_ratio": None for n in TOP} | {f"max_repeated_{n}_gram_ratio": None for n in REPEATED}
OWN_RULES = "the tokeniser's rules for the language, unlike its English ones"

Row = dict[str, Any]


def steps(lang: str) -> dict[str, list[Step]]:
    """Return what we compare with each of datatrove's filters, at the published limits; English stop words are asked of English alone."""
    language = {"language": code_of(lang), "language_limits": False}
    stop_words = {} if lang == ENGLISH else {"min_stop_words": None}
    lengths, grams = (LETTERS_ALONE, NO_GRAMS) if lang in SCRIPTS_WITHOUT_SPACES else ({}, {})
    return {
        "gopher_quality": [Step("gopher_quality", language | stop_words | lengths)],
        "gopher_repetition": [Step("gopher_repetition", language | grams)],
        "fineweb_quality": [Step("fineweb_quality", language)],
        "c4": [Step("c4_lines"), Step("c4_page", language)],
        "c4_fineweb": [Step("c4_lines", {"terminal_punctuation": False}), Step("c4_page", language)],
    }


def decide(docs: pa.RecordBatch, chain: list[Step]) -> tuple[list[str | None], list[str | None]]:
    """Return our reasons (null = kept) and the texts after the chain."""
    reasons: list[str | None] = []
    for step in chain:
        operator = registry.build(registry.OperatorSpec(step.use, step.params))
        if isinstance(operator, Mapper):
            docs = operator.map(docs)
        elif isinstance(operator, Filter):
            reasons = pc.struct_field(operator.drop(docs), "reason").to_pylist()
    return reasons, docs.column("text").to_pylist()


def ours(corpus: pa.Table) -> Iterable[Row]:
    """Yield our answer about every document and filter."""
    for lang in sorted(set(corpus["lang"].to_pylist())):
        docs = corpus.filter(pc.equal(corpus["lang"], lang)).combine_chunks()
        for batch in docs.to_batches(max_chunksize=BATCH):
            rows = batch.column("row").to_pylist()
            for name, chain in steps(lang).items():
                reasons, texts = decide(batch, chain)
                for row, reason, text in zip(rows, reasons, texts, strict=True):
                    yield {"row": row, "filter": name, "ours": reason, "ours_text": text if name.startswith("c4") else None}


def joined(corpus: pa.Table, answers: pa.Table, english: pa.Table) -> list[Row]:
    """Return our answers beside theirs, each with the document's set, language and group; `default`: by their default tokeniser."""
    default = {(row["row"], row["filter"]): row["keep"] for row in english.select(["row", "filter", "keep"]).to_pylist()}
    docs = {doc["row"]: doc for doc in corpus.select(["row", "set", "lang", "group"]).to_pylist()}
    theirs = {(row["row"], row["filter"]): row for row in answers.to_pylist()}
    both = []
    for answer in ours(corpus):
        key = answer["row"], answer["filter"]
        other = theirs[key]
        said = {"theirs": None if other["keep"] else other["reason"], "theirs_text": other["text"], "default": default.get(key)}
        both.append({**docs[answer["row"]], **answer, **said})
    return both


def rule_of(row: Row) -> Rule | None:
    """Return the rule that one side dropped the document by."""
    return BY_OURS.get((row["filter"], row["ours"])) if row["ours"] else BY_THEIRS.get((row["filter"], row["theirs"]))


def readings(texts: pa.Array, lang: str) -> list[Reading]:
    """Return how we read some texts of one language."""
    view = text_view.texts(texts)
    words = kernels.words(view, code_of(lang))
    plain = (words.kind & word_spans.WORDLIKE) > 0
    data = view.data.tobytes()
    found = []
    for i, text in enumerate(texts.to_pylist()):
        begun, end = words.first[i], words.first[i + 1]
        spans = zip(words.start[begun:end].tolist(), words.end[begun:end].tolist(), strict=True)
        found.append(Reading(text, [data[a:b].decode("utf-8", "replace") for a, b in spans], plain[begun:end].tolist()))
    return found


def explain(work: Path, corpus: pa.Table, stats: pa.Table, differing: list[Row]) -> None:
    """Add `value`, `cause` and `splits` to every disagreement."""
    rows = sorted({row["row"] for row in differing})
    if not rows:
        return
    theirs = fidelity_oracle.words(work, rows)
    docs = corpus.take(pa.array(rows))
    mine: dict[int, Reading] = {}
    for lang in set(docs["lang"].to_pylist()):
        some = docs.filter(pc.equal(docs["lang"], lang)).combine_chunks()
        mine.update(zip(some["row"].to_pylist(), readings(some["text"], lang), strict=True))
    measured = {row["row"]: row for row in stats.take(pa.array(rows)).to_pylist()}
    for row in differing:
        number = row["row"]
        read = theirs[number]
        other = Reading(mine[number].text, read["words"], read["plain"], separator="")
        english = Reading(mine[number].text, read["english"], read["english_plain"], separator="")
        rule = rule_of(row)
        row["value"] = measured[number].get(rule.measure) if rule else None
        row["cause"] = _c4_cause(row, read) if row["filter"].startswith("c4") else _cause(row, rule, mine[number], other, english)
        row["splits"] = "; ".join(fidelity_causes.splits(mine[number].words, other.words, other.text))


def _c4_cause(row: Row, read: Row) -> str:
    if row["theirs"] and row["theirs"].startswith("raised"):
        return "theirs: the sentence splitter raises an error"
    if read[row["filter"]] is None or row["ours_text"] != read[row["filter"]]:
        return "ours: lines kept differently"
    english = read[f"{row['filter']}_sentences_english"]
    by_english = row["lang"] != ENGLISH and english is not None and (english < MIN_SENTENCES) == bool(row["ours"])
    return f"theirs: sentences by {OWN_RULES}" if by_english else "ours: sentences split differently"


def _cause(row: Row, rule: Rule | None, ours: Reading, theirs: Reading, english: Reading) -> str:
    if rule is None or not fidelity_causes.by_words(rule):
        return "unexplained"
    broken = bool(row["ours"])
    if row["group"] == "unspaced":
        return "both: their words come from a dictionary, ours are letters"
    if row["lang"] != ENGLISH and rule.broken(fidelity_causes.measure(rule.measure, english)) == broken:
        found = f"theirs: words by {OWN_RULES}"
    else:
        found = fidelity_causes.cause(rule, ours, theirs, broken)
    near = row["value"] is not None and abs(row["value"] - rule.limit) <= NEAR * rule.limit
    return f"{found}; within {NEAR:.0%} of the limit" if near else found


def agreement(both: list[Row]) -> str:
    """Return the table of agreement, one line per filter and group."""
    head = "| filter | documents | | same decision | only we drop | only they drop | same reason, of those both drop | same, their words English |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for group, title in GROUPS.items():
        for name in steps(ENGLISH):
            rows = [row for row in both if row["filter"] == name and row["group"] == group]
            lines.append(f"| `{name}` | {title} | {len(rows):,} | {_agreed(rows, group)} |")
    return "\n".join(lines)


def _agreed(rows: list[Row], group: str) -> str:
    mine = sum(bool(row["ours"]) and not row["theirs"] for row in rows)
    yours = sum(bool(row["theirs"]) and not row["ours"] for row in rows)
    same = 1 - (mine + yours) / len(rows)
    dropped = [row for row in rows if row["ours"] and row["theirs"]]
    reason = np.mean([BY_OURS.get((row["filter"], row["ours"])) == BY_THEIRS.get((row["filter"], row["theirs"])) for row in dropped])
    target = f" (limit {TARGETS[group]:.1%})" if group in TARGETS else ""
    other = [row["default"] == (row["ours"] is None) for row in rows if row["default"] is not None]
    by_english = f"{np.mean(other):.2%}" if other else ""
    return f"{same:.2%}{target} | {mine} | {yours} | {reason:.1%} of {len(dropped):,} | {by_english}"


def texts_agree(both: list[Row]) -> str:
    """Say how often C4 leaves the same text."""
    told = []
    for name in ("c4", "c4_fineweb"):
        kept = [row for row in both if row["filter"] == name and row["group"] != "unspaced" and not row["ours"] and not row["theirs"]]
        same = np.mean([row["ours_text"] == row["theirs_text"] for row in kept])
        told.append(f"`{name}` {same:.2%} of {len(kept):,}")
    return f"Of the spaced documents that both keep, the same text is left by {', '.join(told)}."


def causes(differing: list[Row]) -> str:
    """Return the table of disagreements by cause, with the commonest split of one of the documents."""
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in differing:
        grouped.setdefault((row["group"], row["filter"], _named(row), _side(row), row["cause"]), []).append(row)
    order = list(GROUPS)
    lines = ["| documents | filter | rule | who drops | cause | | for example |", "|---|---|---|---|---|---|---|"]
    for key, rows in sorted(grouped.items(), key=lambda item: (order.index(item[0][0]), item[0])):
        group, name, rule, side, why = key
        lines.append(f"| {GROUPS[group]} | `{name}` | {rule} | {side} | {why} | {len(rows)} | {_example(rows)} |")
    return "\n".join(lines)


def _example(rows: list[Row]) -> str:
    """Return the run that is split differently in most of the documents, theirs before ours."""
    found = Counter(split.partition(" × ")[2] for row in rows for split in row["splits"].split("; ") if split)
    common = next((split for split, _ in found.most_common() if len(split) <= EXAMPLE_CHARS and not set(split) & set("`\\")), "")
    shown = common.replace("|", " ")
    return f"`{shown}`" if shown else ""


def _named(row: Row) -> str:
    rule = rule_of(row)
    return f"`{rule.ours}`" if rule else (row["ours"] or row["theirs"]).partition(":")[0]


def _side(row: Row) -> str:
    return "we" if row["ours"] else "they"


def compare(work: Path) -> tuple[list[Row], list[Row], str]:
    """Compare the documents of a work folder: all answers, the disagreements (kept there too), and what was compared."""
    corpus = pq.read_table(fidelity_oracle.corpus(work))
    answers, english, stats = fidelity_oracle.answers(work)
    both = joined(corpus, answers, english)
    differing = [row for row in both if bool(row["ours"]) != bool(row["theirs"])]
    explain(work, corpus, stats, differing)
    kept = ("row", "filter", "set", "lang", "group", "ours", "theirs", "value", "cause", "splits")
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in kept} for row in differing]), work / "disagreements.parquet")
    size = pc.sum(pc.binary_length(corpus["text"])).as_py() / 1e6
    return both, differing, f"{corpus.num_rows:,} real documents, {size:.0f} MB of {len(set(corpus['set'].to_pylist()))} sets"


def report(work: Path) -> str:
    """Compare both corpora and return what is printed."""
    both, differing, size = compare(work)
    others, _, other_size = compare(fidelity_oracle.held_out(work))
    first = [f"{size}; datatrove 0.10.1.", agreement(both), texts_agree(both)]
    second = [f"{HELD_OUT} {other_size}.", agreement(others), texts_agree(others)]
    return "\n\n".join([*first, *second, COLUMNS, causes(differing)])


def main() -> int:
    """Compare, print, and on request write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    chosen = parser.parse_args()
    if reason := fidelity_oracle.missing(chosen.work):
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    told = report(chosen.work)
    print(told)
    if chosen.write:
        readme.write("fidelity", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
