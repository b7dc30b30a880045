"""Rules, lists from files, and the places where decisions differ from datatrove's `URLFilter`.

| decision of datatrove 0.10.1                               | here         | cause                                                           |
|------------------------------------------------------------|--------------|-----------------------------------------------------------------|
| keeps `sub.a.example.com` when `a.example.com` is listed   | `domain`     | it asks for the host and the registered domain only             |
| keeps `EXAMPLE.COM`, `/PORN/`                              | `domain`, …  | it compares case in hosts and words, though not in substrings   |
| keeps `https://example.com/page` when the list has no `https://` | `url`  | it compares whole strings; UT1's lists have no schemes          |
| keeps what lies beneath a listed page                      | `url`        | the same                                                        |
| other reasons for what both drop                           | the earlier  | of the above, an earlier rule already applied here              |

Nothing that datatrove dropped was kept.
"""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate.pipeline import Stage, Step
from curate_operators.entries import Entries
from curate_operators.url_blocklist import UrlBlocklist
from curate_operators.web_addresses import hosts
from tests.engine import small
from tests.operators.conftest import batch


def verdicts(operator: UrlBlocklist, urls: list[str | None]) -> list[Any]:
    """Return the reason, or (reason, value) when there is a value, for each address."""
    rows = operator.drop(batch([""] * len(urls), url=pa.array(urls, pa.string()))).to_pylist()
    return [row and (row["reason"] if row["value"] is None else (row["reason"], row["value"])) for row in rows]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/a", "example.com"),
        ("HTTP://User:p@ss@WWW.Example.COM.:8080?q=http://other.org", "www.example.com"),
        ("//example.com#x", "example.com"),
        ("example.com:80/a@b", "example.com"),
        (" example.com ", "example.com"),
        ("http:\\\\example.com\\a", "example.com"),
        ("https://Bücher.example/ü", "xn--bcher-kva.example"),
        ("https://例え。テスト/", "xn--r8jz45g.xn--zckzah"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("ftp://localhost", "localhost"),
        ("http://under_score.example", "under_score.example"),
        ("http:///example.com/", "example.com"),
        ("http://.../", None),
        ("not an address", None),
        ("javascript:void(0)", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url: str | None, host: str | None) -> None:
    assert hosts(pa.array([url], pa.string())).to_pylist() == [host]


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("http://bad.example", True),
        ("https://BAD.example./x", True),
        ("http://www.bad.example/", True),
        ("http://a.b.c.bad.example:81/x", True),
        ("bad.example/x", True),
        ("http://user@bad.example/", True),
        ("http://notbad.example/", False),
        ("http://bad.example.org/", False),
        ("http://example/", False),
        ("http://good.example/?next=http://bad.example/", False),
        ("http://good.example/bad.example", False),
        ("http://port.example/", True),
        ("http://port.example:81/", True),
        ("http://user.example/", True),
        ("http://below.path.example/", True),
        ("http://asked.example/", True),
        ("http://star.example:80/", True),
        ("http://example:8080/", False),
        ("http://w.example/", True),
        ("http://x.www.w.example/", True),
        ("http://x.w.example/", False),
        ("http://xn--bcher-kva.de/", True),
        ("http://a.bücher.de", True),
        ("http://10.0.0.1:8000/", True),
        ("http://7.10.0.0.1/", False),
        ("http://star.example", True),
        ("http://in.full.example/", True),
        ("http://x.anything.zz", True),
    ],
)
def test_domains(url: str, blocked: bool) -> None:
    listed = ("bad.example", "www.w.example", "Bücher.de", "10.0.0.1", "*.star.example", "https://full.example/", "zz", "# comment", "")
    listed += ("port.example:8080", "me@user.example", "path.example/a", "asked.example?q=1", "*.star.example:80")
    assert verdicts(UrlBlocklist(domains=listed), [url]) == ["domain" if blocked else None]


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("http://example.com/a/b", True),
        ("https://www.example.com:443/a/b/#top", True),
        ("example.com/a/b/", True),
        ("http://example.com/a/b/c/d?e=f", True),
        ("http://example.com/a/b?page=2", True),
        ("http://example.com/a/B", False),
        ("http://example.com/a/bc", False),
        ("http://example.com/a", False),
        ("http://example.com/", False),
        ("http://sub.example.com/a/b", False),
        ("http://shop.example/?id=7", True),
        ("http://shop.example?id=7", True),
        ("http://shop.example/?id=8", False),
        ("http://shop.example/", False),
        ("http://front.example/", True),
        ("http://front.example", True),
        ("http://front.example/page", False),
        ("http://front.example/?a/b", False),
    ],
)
def test_pages(url: str, blocked: bool) -> None:
    operator = UrlBlocklist(urls=("http://Example.com/a/b", "shop.example/?id=7", "https://front.example/"))
    assert verdicts(operator, [url]) == ["url" if blocked else None]


def test_words_in_order_of_the_rules() -> None:
    operator = UrlBlocklist(
        domains=("casino.example",),
        urls=("a.example/poker",),
        hard_words=("Poker", "p-o-r-n"),
        soft_words=("bet", "win", "hot"),
        substrings=("free spins",),
    )
    urls = [
        "http://casino.example/poker",
        "http://a.example/poker/bet-win",
        "http://b.example/video_PORN.html?poker",
        "http://b.example/pokers/bet",
        "http://b.example/bet/bet?bet",
        "http://bet.example/Win",
        "http://b.example/bet-win-hot",
        "http://b.example/fr-ee/SPINS",
        "http://b.example/free",
        None,
    ]
    expected = ["domain", "url", ("hard_word", 2), None, None, ("soft_word", 2), ("soft_word", 3), "substring", None, None]
    assert verdicts(operator, urls) == expected
    assert verdicts(UrlBlocklist(soft_words=("bet", "win", "hot"), max_soft_words=3), urls)[5:7] == [None, ("soft_word", 3)]
    assert verdicts(UrlBlocklist(soft_words=("bet", "win", "hot"), max_soft_words=None), urls) == [None] * len(urls)


def test_words_of_other_scripts() -> None:
    operator = UrlBlocklist(hard_words=("казино", "कसीनो"))
    assert verdicts(operator, ["http://b.example/КАЗИНО-x", "http://b.example/казинов", "http://b.example/कसीनो/"]) == [
        ("hard_word", 1),
        None,
        ("hard_word", 1),
    ]


def test_addresses_that_are_none() -> None:
    urls = [None, "", "no address", "http://fine.example"]
    assert verdicts(UrlBlocklist(domains=("x.example",)), urls) == [None] * 4
    assert verdicts(UrlBlocklist(domains=("x.example",), bad_url="drop"), urls) == ["bad_url"] * 3 + [None]


def test_another_column() -> None:
    meta = pa.array([{"link": "http://bad.example"}, {"link": "http://good.example"}, None], pa.struct({"link": pa.string()}))
    operator = UrlBlocklist(domains=("bad.example",), by="meta.link")
    assert operator.reads() == ("meta.link",)
    assert [row and row["reason"] for row in operator.drop(batch(["", "", ""], meta=meta)).to_pylist()] == ["domain", None, None]


LISTED = "# adult sites\nbad.example\r\n\n  worse.example  \n"
URLS: list[str | None] = ["http://bad.example/", "http://worse.example/", "http://good.example/", "http://g.example/p"]


@pytest.fixture(params=["file", "gz", "folder", "folder_gz", "tar"])
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same two domains in every layout."""
    folder = tmp_path / "ut1" / "adult"
    folder.mkdir(parents=True)
    (folder / "domains").write_text(LISTED)
    (folder / "urls").write_text("g.example/p\n")
    (folder / "usage").write_text("good.example\n")
    if request.param == "file":
        return folder / "domains"
    if request.param == "gz":
        (tmp_path / "list.gz").write_bytes(gzip.compress(LISTED.encode()))
        return tmp_path / "list.gz"
    if request.param == "folder_gz":
        (folder / "domains").unlink()
        (folder / "domains.gz").write_bytes(gzip.compress(LISTED.encode()))
    if request.param == "tar":
        with tarfile.open(tmp_path / "ut1.tar.gz", "w:gz") as archive:
            archive.add(folder, "adult")
        return tmp_path / "ut1.tar.gz"
    return tmp_path / "ut1"


def test_lists_from_files(listed: Path) -> None:
    assert verdicts(UrlBlocklist(domains=str(listed)), URLS) == ["domain", "domain", None, None]


def test_pages_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult/urls").write_bytes(b"\xef\xbb\xbfg.example/p\nb\xfccher.example/x\n")  # a mark of byte order, and Latin-1
    assert verdicts(UrlBlocklist(urls=str(tmp_path)), [*URLS, "http://bücher.example/x"])[3:] == ["url", "url"]
    with pytest.raises(PipelineError, match="has no file `domains`"):
        verdicts(UrlBlocklist(domains=str(tmp_path)), URLS)


def test_mistakes() -> None:
    with pytest.raises(PipelineError, match="no list is given"):
        UrlBlocklist()
    with pytest.raises(PipelineError, match="max_soft_words"):
        UrlBlocklist(soft_words=("a",), max_soft_words=0)
    with pytest.raises(PipelineError, match="no such file or folder: bad.example") as caught:
        verdicts(UrlBlocklist(domains="bad.example"), URLS)
    assert "[a, b]" in str(caught.value.hint)


def test_entries_agree_with_a_set() -> None:
    chosen = np.random.default_rng(4)
    names = [f"{chosen.integers(1000)}.example" for _ in range(3000)]
    entries = Entries(pa.array([*names[:1000], names[0], None], pa.string()))
    found = entries.find(pa.array([*names, None], pa.string()))
    assert [place >= 0 for place in found] == [name in set(names[:1000]) for name in names] + [False]
    numbers = dict(zip(names, found, strict=False))
    assert [numbers[name] for name in names] == found[:-1].tolist()
    assert len({place for place in found if place >= 0}) == len(set(names[:1000]))
    assert Entries(pa.array([], pa.string())).find(pa.array(["a"])).tolist() == [-1]


def test_the_content_of_a_list_is_identity(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "in/a.jsonl", [{"id": str(i), "text": "t", "url": url} for i, url in enumerate(URLS)])
    listed = tmp_path / "list.txt"
    pipe = small.pipeline(source, {"clean": Stage("crawl", [Step("url_blocklist", {"domains": str(listed)})])})
    listed.write_text("bad.example\n")
    plan, _ = small.run(pipe, tmp_path / "ws", workers=2)
    assert [row["id"] for row in small.rows(plan.dataset("clean"))] == ["1", "2", "3"]
    listed.write_text("good.example\n")
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert [row["id"] for row in small.rows(plan.dataset("clean"))] == ["0", "1", "3"]
    assert [row["reason"] for row in small.ledger(plan.dataset("clean"), "drops")] == ["domain"]
