"""Lists of any origin: object stores, archives, and files that are no lists."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import CurateError, PipelineError
from curate_operators.entries import entries
from curate_operators.url_blocklist import UrlBlocklist
from curate_operators.word_blocklist import WordBlocklist
from tests.operators.conftest import batch
from tests.s3_server import S3Server

LISTS = {"adult/domains": b"# sites\nbad.example\n", "adult/urls": b"g.example/p\n", "de.txt": b"schlecht\n", "._de.txt": b"\0\5\x16\7\0"}


def packed(files: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return into.getvalue()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A bucket with the lists packed, and as they are."""
    name = s3.new_bucket()
    for key, data in {"ut1.tar.gz": packed(LISTS), **{f"lists/{path}": data for path, data in LISTS.items()}}.items():
        s3.client().put_object(Bucket=name, Key=key, Body=data)
    return f"s3://{name}"


@pytest.mark.s3
def test_lists_in_an_object_store(bucket: str) -> None:
    assert entries(f"{bucket}/lists/adult/domains", "domains").to_pylist() == ["bad.example"]
    assert entries(f"{bucket}/ut1.tar.gz", "domains").to_pylist() == ["bad.example"]
    assert entries(f"{bucket}/ut1.tar.gz", "urls").to_pylist() == ["g.example/p"]
    texts = batch(["schlecht", "gut"], lang=pa.array(["de", "de"]))
    for words in (f"{bucket}/ut1.tar.gz", f"{bucket}/lists/de.txt"):
        found = WordBlocklist(words, language="lang").drop(texts).to_pylist()
        assert [row and row["value"] for row in found] == [1, None]


@pytest.mark.s3
def test_folders_in_an_object_store_are_refused(bucket: str) -> None:
    for path in (f"{bucket}/lists", f"{bucket}/lists/"):
        with pytest.raises(PipelineError, match="is a folder in an object store") as refused:
            entries(path, "domains")
        assert "lists.tar.gz" in str(refused.value.hint)
    with pytest.raises(CurateError, match="absent.txt"):
        entries(f"{bucket}/absent.txt", "domains")


def test_hidden_files_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_bytes(LISTS["de.txt"])
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    operator = WordBlocklist(str(tmp_path), language="lang")
    assert operator.drop(batch(["schlecht"], lang=pa.array(["de"])))[0].as_py()["value"] == 1


@pytest.mark.parametrize("data", [packed(LISTS), "böse.example\n".encode("utf-16"), b"a\0b"])
def test_what_is_no_list_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    docs = batch(["a"], url=pa.array(["http://a.example"]))
    for operator in (UrlBlocklist(domains=str(tmp_path / "list.txt")), WordBlocklist(str(tmp_path / "list.txt"), language=None)):
        with pytest.raises(PipelineError, match="list.txt.*: is no list") as refused:
            operator.drop(docs)
        assert "UTF-8" in str(refused.value.hint)
    (tmp_path / "list.tar").write_bytes(b"bad.example\n")
    with pytest.raises(PipelineError, match="list.tar: is no tar archive"):
        entries(str(tmp_path / "list.tar"), "domains")


@pytest.mark.parametrize("name", ["domains", "urls", "hard_words", "soft_words", "substrings"])
def test_a_list_without_entries_is_a_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text("# nothing yet\n\n")
    docs = batch(["a"], url=pa.array(["http://a.example"]))
    for given in (str(tmp_path / "list.txt"), ("# nothing", " ")):
        with pytest.raises(PipelineError, match="the list has no entries"):
            UrlBlocklist(**{name: given}).drop(docs)  # type: ignore[arg-type]
    if name.endswith(("words", "strings")):
        with pytest.raises(PipelineError, match=f"{name}: the list has no entries"):
            UrlBlocklist(**{name: ("--", "+")}).drop(docs)  # type: ignore[arg-type]


def test_words_without_entries_are_a_mistake(tmp_path: Path) -> None:
    docs = batch(["a"], lang=pa.array(["en"]))
    (tmp_path / "en.txt").write_text("# nothing yet\n")
    for words in (str(tmp_path / "en.txt"), str(tmp_path), ("# nothing",)):
        with pytest.raises(PipelineError, match="the list has no entries"):
            WordBlocklist(words, language="lang").drop(docs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineError, match="empty has no lists"):
        WordBlocklist(str(tmp_path / "empty"), language="lang").drop(docs)


def test_operators_that_were_used_can_be_sent_to_another_process() -> None:
    docs = batch(["bad", "good"], url=pa.array(["http://bad.example/bad", "http://good.example"]))
    words = WordBlocklist(("bad",), language=None)
    addresses = UrlBlocklist(
        domains=("bad.example",), urls=("bad.example/x",), hard_words=("bad",), soft_words=("bad",), substrings=("bad",)
    )
    for operator in (words, addresses):
        used = operator.drop(docs)
        assert used.is_valid().to_pylist() == [True, False]
        assert pickle.loads(pickle.dumps(operator)).drop(docs).equals(used)
