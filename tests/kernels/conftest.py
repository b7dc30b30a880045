"""Real text for the kernels: the committed sample crawl always, the larger sets where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tests.operators.conftest import ROOT, read_texts

SETS = ["pile_slices", "manpages_multiling", "wiki_xquad_parallel", "code_samples", "social_th_wisesight", "spam_email_sa"]


def sample_texts(per_file: int = 8, max_chars: int = 20_000) -> list[str]:
    """Return the plain text of some pages of every file of the sample crawl: eight languages, five scripts."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text

    found: list[str] = []
    for path in sorted((ROOT / "pipelines" / "sample").glob("*.warc.gz")):
        with path.open("rb") as stream:
            records = ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True)
            pages = [record.reader.read() for record, _ in zip(records, range(per_file), strict=False)]
        found += [extract_plain_text(page.decode("utf-8", "replace"))[:max_chars] for page in pages]
    return found


@pytest.fixture(scope="session", params=["sample", "shared"])
def real_texts(request: pytest.FixtureRequest) -> pa.Array:
    """Real documents of many languages, as a column."""
    if request.param == "sample":
        return pa.array(sample_texts(), pa.string())
    folder = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CURATE_TEST_DATA")
    return pa.array([text[:10_000] for text in read_texts(folder, *SETS, limit=60)], pa.large_string())
