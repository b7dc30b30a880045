"""The contract of a storage, run over every implementation."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DatasetError
from curate.storage import LocalStorage, Storage, open_storage

STRANGE = [
    "a b/c d.txt",
    "ünï/çødé–文.txt",
    "100%/p%20q",
    "k=1/v=a,b.parquet",
    "frag#ment?x=1&y+z",
    "[1]{2}*~",
    "web@1f2e/part-00000.parquet",
]


def test_a_written_file_is_read_listed_and_described(storage: Storage) -> None:
    storage.write("runs/1/plan.json", b"{}")
    storage.write("runs/1/plan.json", b"[1]")
    (listed,) = storage.list()
    assert (listed.path, listed.size) == ("runs/1/plan.json", 3)
    assert storage.info("runs/1/plan.json") == listed
    assert storage.read("runs/1/plan.json") == b"[1]"


def test_the_etag_changes_with_the_content(storage: Storage) -> None:
    storage.write("x", b"one")
    before = storage.info("x")
    storage.write("x", b"three")
    assert before is not None and storage.info("x") != before


@pytest.mark.parametrize("path", STRANGE)
def test_strange_names_survive(storage: Storage, path: str) -> None:
    storage.write(path, path.encode())
    assert [info.path for info in storage.list()] == [path]
    assert storage.read(path) == path.encode()
    assert storage.open_input(path).read() == path.encode()
    assert storage.create(path, b"other") is False
    storage.delete(path)
    assert storage.list() == []


def test_a_listing_is_sorted_and_stays_inside_its_folder(storage: Storage) -> None:
    paths = ["b/2", "b/1", "b/sub/3", "bb/4", "a", ".hidden", "b.txt"]
    for path in paths:
        storage.write(path, b"x")
    assert [info.path for info in storage.list()] == sorted(paths)
    assert [info.path for info in storage.list("b")] == ["b/1", "b/2", "b/sub/3"]
    assert [info.path for info in storage.list("b/")] == ["b/1", "b/2", "b/sub/3"]
    assert [info.path for info in storage.list("b/1")] == ["b/1"]
    assert storage.list("absent") == []


def test_a_long_listing_is_complete(storage: Storage) -> None:
    for number in range(1050):  # more than one page of S3's
        storage.write(f"many/{number:05d}", b"")
    assert [info.path for info in storage.list("many")] == [f"many/{number:05d}" for number in range(1050)]
    storage.delete_tree("many")
    assert storage.list() == []


def test_unfinished_files_are_not_listed(storage: Storage) -> None:
    storage.write("d/.0123abcd.tmp", b"half")
    storage.write("d/whole", b"x")
    assert [info.path for info in storage.list("d")] == ["d/whole"]
    storage.delete_unfinished("d")
    assert (storage.info("d/.0123abcd.tmp") is None) == isinstance(storage, LocalStorage), "object stores make none"
    storage.write("d/.0123abcd.tmp", b"half")
    storage.delete_tree("d")
    assert storage.info("d/.0123abcd.tmp") is None


def test_a_log_is_there_while_it_grows_and_one_file_in_the_end(storage: Storage) -> None:
    log = storage.open_log("logs/1.jsonl")
    for line in (b"1\n", b"2\n3\n"):
        log.append(line)
        log.flush()  # a process that dies here loses nothing
    log.append(b"4\n")
    parts = storage.list("logs")
    assert b"".join(storage.read(part.path) for part in parts).startswith(b"1\n2\n3\n")
    assert all(part.path.startswith("logs/1.jsonl") for part in parts)
    log.close()
    assert [info.path for info in storage.list("logs")] == ["logs/1.jsonl"]
    assert storage.read("logs/1.jsonl") == b"1\n2\n3\n4\n"


def test_a_missing_file_is_a_dataset_error_that_names_it(storage: Storage) -> None:
    assert storage.info("no/such file") is None
    for attempt in (storage.read, storage.open_input, storage.open_arrow):
        with pytest.raises(DatasetError, match=r"no such file: .*no/such file"):
            attempt("no/such file")


def test_delete_is_quiet_about_missing_files(storage: Storage) -> None:
    storage.delete("never/was")
    storage.delete_tree("never")
    storage.write("x/y", b"1")
    storage.delete("x/y")
    assert storage.info("x/y") is None


def test_of_32_racing_callers_exactly_one_creates(storage: Storage) -> None:
    for turn in range(3):
        path, start = f"lock-{turn}", threading.Barrier(32)
        won: list[int] = []

        def race(me: int, path: str = path, start: threading.Barrier = start, won: list[int] = won) -> None:
            start.wait()
            if storage.create(path, f"holder {me}".encode()):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert storage.read(path) == f"holder {won[0]}".encode()
    assert len(storage.list()) == 3


def test_racing_writers_leave_one_whole_file(storage: Storage) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"abcdefgh"]
    threads = [threading.Thread(target=storage.write, args=("x", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read("x") in contents


def test_adopt_gives_a_name_under_which_the_bytes_are_found(storage: Storage) -> None:
    storage.write(".attempts/7f/part-00000.parquet", b"rows")
    name = storage.adopt(".attempts/7f/part-00000.parquet", "part-00000.parquet")
    assert storage.read(name) == b"rows"
    assert [info.path for info in storage.list()] == [name]


def test_input_can_be_read_in_any_way(storage: Storage) -> None:
    content = random.Random(0).randbytes(3_000_000)
    storage.write("x", content)
    with storage.open_input("x") as stream:
        assert stream.read(10) == content[:10]
        assert stream.seek(-7, io.SEEK_END) == len(content) - 7
        assert stream.read() == content[-7:]
        assert stream.read(1) == b""
        stream.seek(1_000_000)
        assert stream.tell() == 1_000_000
        assert stream.read(1_500_000) == content[1_000_000:2_500_000]
        stream.seek(5)
        stream.seek(10, io.SEEK_CUR)
        assert stream.read() == content[15:]
        stream.seek(len(content) + 5)
        assert stream.read(1) == b""


def test_small_reads_through_a_big_file_give_its_bytes(storage: Storage) -> None:
    content = random.Random(1).randbytes(12_000_000)
    storage.write("x", content)
    choice = random.Random(2)
    parts = []
    with storage.open_input("x") as stream:
        while part := stream.read(choice.randint(1, 100_000)):
            parts.append(part)
    assert b"".join(parts) == content


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    storage.write("empty", b"")
    with storage.open_output("empty too"):
        pass
    assert [(info.path, info.size) for info in storage.list()] == [("empty", 0), ("empty too", 0)]
    assert storage.open_input("empty").read() == b""


def test_output_appears_whole_when_the_context_is_left(storage: Storage) -> None:
    with storage.open_output("d/x") as out:
        assert out.write(b"first ") == 6
        out.flush()
        assert storage.info("d/x") is None
        out.write(memoryview(b"second"))
        assert out.tell() == 12
    assert storage.read("d/x") == b"first second"


@pytest.mark.parametrize("size", [1_000, 30_000_000])
def test_an_aborted_output_leaves_nothing(storage: Storage, size: int) -> None:
    storage.write("d/x", b"as before")
    with pytest.raises(KeyError, match="my own error"), storage.open_output("d/x") as out:
        for _ in range(10):
            out.write(b"z" * (size // 10))
        raise KeyError("my own error")
    storage.create("d/y", b"")
    assert storage.read("d/x") == b"as before"
    assert [info.path for info in storage.list()] == ["d/x", "d/y"]


def test_a_big_output_arrives_in_parts_and_whole(storage: Storage) -> None:
    content = random.Random(3).randbytes(12_000_000)
    with storage.open_output("big") as out:
        for start in range(0, len(content), 70_001):
            out.write(content[start : start + 70_001])
    assert storage.read("big") == content
    info = storage.info("big")
    assert info is not None and info.size == len(content)


def test_parquet_and_gzip_are_written_and_read_through_streams(storage: Storage) -> None:
    table = pa.table({"id": [str(number) for number in range(200_000)], "text": ["word " * 20] * 200_000})
    with storage.open_output("t.parquet") as out:
        pq.write_table(table, out, row_group_size=50_000, compression="none")
    assert pq.read_table(storage.open_arrow("t.parquet")).equals(table)
    column = pq.ParquetFile(storage.open_arrow("t.parquet")).read_row_group(2, ["id"])
    assert column["id"].to_pylist()[0] == "100000"
    with storage.open_output("t.gz") as out, gzip.open(out, "wb") as packed:
        packed.write(b"line\n" * 100_000)
    with storage.open_input("t.gz") as stream, gzip.open(stream) as unpacked:
        assert unpacked.read() == b"line\n" * 100_000


def test_a_storage_can_be_pickled_after_use(storage: Storage) -> None:
    storage.write("x", b"1")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.url == storage.url
    assert copy.read("x") == b"1"


def test_a_sibling_folder_can_be_reached(storage: Storage) -> None:
    storage.write("datasets/a@1/part", b"rows")
    assert open_storage(f"{storage.url}/datasets/b@2/").read("../a@1/part") == b"rows"


def test_a_link_that_leads_back_up_does_not_make_a_listing_endless(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"1")
    (tmp_path / "d" / "up").symlink_to(tmp_path)
    (tmp_path / "d" / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "other").symlink_to(tmp_path / "d")
    assert [info.path for info in LocalStorage(tmp_path).list()] == ["d/x", "other/x"]
