"""Makes the sample crawl: a deterministic choice of pages from a WARC of documentation sites, one archive per site and language.

    python pipelines/sample/make_sample.py ../shared/data/warc_docs/docs.warc.gz pipelines/sample

The source holds HTML documentation of Debian packages as a crawler would store it. Chosen are pages of moderate size, in the
order of the archive, so that neighbours in a manual (with their shared navigation) and untranslated pages of different
languages (near-duplicates) stay together, and a few files that are no pages.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator
from warcio.warcwriter import WARCWriter

MAX_PAGE_BYTES = 120_000
PAGES = {
    "https://handbook.invalid/en-US/": 24,
    "https://handbook.invalid/de-DE/": 12,
    "https://handbook.invalid/fr-FR/": 12,
    "https://handbook.invalid/ja-JP/": 12,
    "https://handbook.invalid/ar-MA/": 24,
    "https://install.invalid/en/": 16,
    "https://install.invalid/es/": 10,
    "https://install.invalid/zh_CN/": 10,
    "https://help.invalid/en-US/": 90,
    "https://help.invalid/hi/": 40,
    "https://pydoc.invalid/": 30,
}
OTHERS = 2  # style sheets and pictures per site: a crawl is not all pages


def main(source: Path, target: Path) -> None:
    """Write one `<site>_<language>.warc.gz` per prefix of `PAGES`."""
    writers = {prefix: WARCWriter(io.BytesIO(), gzip=True) for prefix in PAGES}
    left = {(prefix, kind): n for prefix, pages in PAGES.items() for kind, n in (("html", pages), ("other", OTHERS))}
    with open(source, "rb") as stream:
        for record in ArchiveIterator(stream):
            url = record.rec_headers.get_header("WARC-Target-URI") or ""
            prefix = next((p for p in PAGES if url.startswith(p)), None)
            if prefix is None or record.rec_type != "response" or record.length > MAX_PAGE_BYTES:
                continue
            kind = "html" if "html" in (record.http_headers.get_header("Content-Type") or "") else "other"
            if left[prefix, kind] > 0:
                left[prefix, kind] -= 1
                writers[prefix].write_record(record)
    for prefix, writer in writers.items():
        site, _, language = prefix.removeprefix("https://").partition(".invalid/")
        path = target / f"{site}_{language.strip('/').replace('_', '-') or 'en'}.warc.gz"
        path.write_bytes(writer.out.getvalue())
        print(f"{path.stat().st_size:>10,}  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
