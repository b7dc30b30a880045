"""`python -m tests.benchmarks.blocklists [--work FOLDER]`: decisions and speed of the block lists beside datatrove's, as two tables.

datatrove runs in an environment of its own (`peers/make_env.py`). The lists of addresses are those in its package, the lists of words
those of the test data; addresses are those that stand in the test data, and made ones around listed names.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.protocols import Filter
from curate_operators.url_blocklist import UrlBlocklist
from curate_operators.word_blocklist import WordBlocklist
from tests.benchmarks.peers import make_env
from tests.operators.conftest import DATA, batch

PEER = Path(__file__).parent / "blocklists_peer.py"
ADDRESS = re.compile(r"https?://[^\s\"<>\\)\]]+")
LANGUAGE_FIELDS = ("lang", "language")
CODES = {"eng": "en", "deu": "de", "fra": "fr", "jpn": "ja", "tha": "th", "cmn": "zh", "hin": "hi", "spa": "es", "rus": "ru", "kor": "ko"}
PER_LANGUAGE, MAX_CHARS = 700, 200_000
EVERY = 997  # of the listed domains and pages
REASONS = {
    "domain": "domain",
    "subdomain": "domain",
    "url": "url",
    "hard_blacklisted": "hard_word",
    "soft_blacklisted": "soft_word",
    "blacklisted_subword": "substring",
}


def documents() -> Iterator[dict[str, Any]]:
    """Yield the documents of all sets of the test data that are JSON lines."""
    for path in sorted(DATA.glob("*/docs.jsonl.zst")):
        with pa.input_stream(path, compression="zstd") as stream:
            for line in stream.read().splitlines():
                yield json.loads(line) | {"set": path.parent.name}


def addresses() -> list[str]:
    """Return the addresses in the documents."""
    return sorted({url for doc in documents() for url in ADDRESS.findall(doc.get("text") or "")})


def made_addresses(lists: Path) -> list[str]:
    """Return addresses made of listed names: in other spellings, and in the midst of others."""
    made = []
    for domain in (lists / "domains").read_text().split()[::EVERY]:
        made += [f"http://{domain}/", f"https://www.{domain}/a?b=1", f"http://sub.{domain}/", f"HTTP://{domain.upper()}:80/"]
    for page in (lists / "urls").read_text().split()[:: EVERY // 10]:
        made += [page, f"http://{page}", f"http://{page}/beneath"]
    for name in ("hard_words", "soft_words", "substrings"):
        words = (lists / name).read_text().split()
        for word, other in zip(words, words[1:], strict=False):
            made += [f"http://example.org/{word}/{other}", f"http://example.org/{word.upper()}_x", f"http://example.org/a{word}b"]
    return made


def texts() -> list[tuple[str, str]]:
    """Return (language, text) of documents in the languages of the lists, a bounded number of each set and language."""
    known = {path.stem for path in (DATA / "wordlists_ldnoobw").glob("*.txt")}
    taken: Counter[tuple[str, str]] = Counter()
    found = []
    for doc in documents():
        named = str(next((doc[field] for field in LANGUAGE_FIELDS if doc.get(field)), "")).split("-")[0].split("_")[0]
        code = named if named in known else CODES.get(named, "")
        if code in known and doc.get("text") and taken[doc["set"], code] < PER_LANGUAGE:
            taken[doc["set"], code] += 1
            found.append((code, doc["text"][:MAX_CHARS]))
    return found


def ours(operator: Filter, docs: pa.RecordBatch) -> tuple[list[str | None], float]:
    """Return our reasons and the processor's seconds, without those of the first call, which reads the lists."""
    operator.drop(docs.slice(0, 1))
    begun = time.process_time()
    verdict = operator.drop(docs)
    return [row and row["reason"] for row in verdict.to_pylist()], time.process_time() - begun


def table(title: str, theirs: list[str | None], ours: list[str | None]) -> str:
    """Return how often each pair of decisions was made, and how often both keep or both drop."""
    counts = Counter((t or "keep", m or "keep") for t, m in zip(theirs, ours, strict=True))
    lines = [f"| {title}: datatrove | curate | |", "|---|---|---|"]
    lines += [f"| {their} | {our} | {count:,} |" for (their, our), count in sorted(counts.items())]
    same = sum(count for (their, our), count in counts.items() if (their == "keep") == (our == "keep"))
    only = sum(count for (their, our), count in counts.items() if their == "keep" != our)
    told = f"Same decision on {same / len(ours):.2%} of {len(ours):,}; only we drop {only:,}, only they {len(ours) - same - only:,}."
    return "\n".join([*lines, "", told])


def rate(what: str, number: int, seconds: float, theirs: float) -> str:
    """Say what a second of one core is good for."""
    return f"Speed: {number / seconds:,.0f} {what} a second of one core, datatrove {number / theirs:,.0f}: {theirs / seconds:.0f} ×."


def report(peer: str) -> str:
    """Compare both filters and return the tables."""
    with tempfile.TemporaryDirectory() as folder:
        lists = Path(folder)
        _ask(peer, {"lists": folder})
        real, made = addresses(), made_addresses(lists)
        path = {name: str(lists / name) for name in ("domains", "urls", "hard_words", "soft_words", "substrings")}
        blocklist = UrlBlocklist(path["domains"], path["urls"], path["hard_words"], path["soft_words"], substrings=path["substrings"])
        docs = batch([""] * len(real + made), url=pa.array(real + made, pa.string()))
        answer, (mine, seconds) = _ask(peer, {"lists": folder, "urls": real + made}), ours(blocklist, docs)
    theirs = [reason and REASONS[reason] for reason in answer["reasons"]]
    told = [table("addresses in the data", theirs[: len(real)], mine[: len(real)])]
    told += [table("addresses made", theirs[len(real) :], mine[len(real) :]), rate("addresses", len(mine), seconds, answer["seconds"])]
    return "\n\n".join([*told, words(peer)])


def words(peer: str) -> str:
    """Compare the filter of words and return the table."""
    pairs, lists = texts(), str(DATA / "wordlists_ldnoobw")
    docs = batch([text for _, text in pairs], lang=pa.array([{"code": code} for code, _ in pairs]))
    answer, (mine, seconds) = _ask(peer, {"words": lists, "pairs": pairs}), ours(WordBlocklist(lists), docs)
    theirs = [reason and "blocked_word" for reason in answer["reasons"]]
    return f"{table('documents', theirs, mine)}\n\n{rate('documents', len(mine), seconds, answer['seconds'])}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=make_env.WORK)
    peer = make_env.interpreter(parser.parse_args().work, "datatrove")
    print(report(peer) if peer else "skipped: no environment of datatrove (python tests/benchmarks/peers/make_env.py datatrove)")


def _ask(peer: str, request: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([peer, str(PEER)], input=json.dumps(request), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main()
