"""The other side of `blocklists`: datatrove's filters in an environment of their own; it must not import ours.

Reads one JSON request from standard input: `{"lists": FOLDER}` to write the package's lists there, with `urls` to judge these by the
lists, or `{"words": FOLDER, "pairs": [[language, text], …]}`. Prints `{"reasons": […], "seconds": …}`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datatrove  # type: ignore[import-not-found]
import tldextract  # type: ignore[import-not-found]
from datatrove.data import Document  # type: ignore[import-not-found]
from datatrove.pipeline.filters import c4_filters  # type: ignore[import-not-found]
from datatrove.pipeline.filters.url_filter import URLFilter  # type: ignore[import-not-found]

ASSETS = Path(datatrove.__file__).parent / "assets"
NAMES = {"banned_words.txt": "hard_words", "soft_banned_words.txt": "soft_words", "banned_subwords.txt": "substrings"}


def write_lists(folder: Path) -> None:
    """Write the lists that datatrove ships."""
    with tarfile.open(next(ASSETS.glob("url_filterblacklists*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    for theirs, name in NAMES.items():
        shutil.copy(ASSETS / theirs, folder / name)


def url_filter(folder: Path) -> Any:
    """Return the filter with these lists, and with the list of public suffixes that its library ships."""
    extract = tldextract.TLDExtract
    tldextract.TLDExtract = lambda: extract(suffix_list_urls=(), cache_dir=None)

    def read(name: str) -> list[str]:
        return [line for line in (folder / name).read_text().splitlines() if line]

    return URLFilter(
        extra_domains=read("domains"),
        extra_urls=read("urls"),
        banned_words=read("hard_words"),
        banned_subwords=read("substrings"),
        soft_banned_words=read("soft_words"),
        use_integrated_lists=False,
    )


def word_filter(folder: Path) -> Any:
    """Return the filter with the lists in a folder instead of those that it would download."""

    def local(url: str, namespace: str, subfolder: str) -> str:
        return str(folder / ("en.txt" if url == c4_filters._EN_BADWORDS_URL else f"{url.rpartition('/')[2]}.txt"))

    c4_filters.cached_asset_path_or_download = local
    return c4_filters.C4BadWordsFilter(fail_on_missing_language=False)


def judged(rule: Any, docs: Iterable[Document]) -> dict[str, Any]:
    """Judge documents, the first one twice: that compiles and loads."""
    docs = list(docs)
    rule.filter(docs[0])
    begun = time.process_time()
    verdicts = [rule.filter(doc) for doc in docs]
    return {"reasons": [None if v is True else v[1] for v in verdicts], "seconds": time.process_time() - begun}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request."""
    if "words" in request:
        docs = (Document(text=text, id="0", metadata={"language": code}) for code, text in request["pairs"])
        return judged(word_filter(Path(request["words"])), docs)
    if "urls" in request:
        return judged(url_filter(Path(request["lists"])), (Document(text="-", id="0", metadata={"url": url}) for url in request["urls"]))
    write_lists(Path(request["lists"]))
    return {}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = answer(json.load(sys.stdin))
    json.dump(result, sys.stdout)
