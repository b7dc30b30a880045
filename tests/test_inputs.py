"""Listings: paths, globs, captures, formats, identities and work units."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import DatasetError, PipelineError
from curate.inputs import Listing, content_identities, list_input, units, verify_unchanged
from curate.pipeline import Input
from curate.readers import reader
from curate.readers.base import Slice
from curate.storage import FileInfo, Storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (
        "crawl/2025/a.jsonl",
        "crawl/2025/b.jsonl.gz",
        "crawl/2026/c.jsonl",
        "crawl/2026/deep/er/d.jsonl",
        "crawl/.hidden.jsonl",
        "crawl/_tmp/e.jsonl",
        "other/x.warc.gz",
        "mixed/a.jsonl",
        "mixed/b.warc.gz",
        "odd/a.jsonl",
        "odd/SHA256SUMS",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text('{"text": "x"}\n')
    return tmp_path


def paths(folder: Path, *path: str, **options: object) -> list[str]:
    return [file.path for file in list_input("in", Input(path, **options), folder).files]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("crawl/2025/a.jsonl", ["a.jsonl"]),
        ("crawl", ["2025/a.jsonl", "2025/b.jsonl.gz", "2026/c.jsonl", "2026/deep/er/d.jsonl"]),
        ("crawl/", ["2025/a.jsonl", "2025/b.jsonl.gz", "2026/c.jsonl", "2026/deep/er/d.jsonl"]),
        ("./crawl/2025/../2026", ["c.jsonl", "deep/er/d.jsonl"]),
        ("crawl/2025/*.jsonl", ["a.jsonl"]),
        ("crawl/*/?.jsonl", ["2025/a.jsonl", "2026/c.jsonl"]),
        ("crawl/*/[!a].jsonl*", ["2025/b.jsonl.gz", "2026/c.jsonl"]),
        ("crawl/202[0-5]/*", ["2025/a.jsonl", "2025/b.jsonl.gz"]),
        ("crawl/**/*.jsonl", ["2025/a.jsonl", "2026/c.jsonl", "2026/deep/er/d.jsonl"]),
        ("crawl/2026/**/d.jsonl", ["deep/er/d.jsonl"]),
        ("crawl/**", ["2025/a.jsonl", "2025/b.jsonl.gz", "2026/c.jsonl", "2026/deep/er/d.jsonl"]),
        ("crawl/_tmp/e.jsonl", ["e.jsonl"]),
        ("crawl/_tmp/*.jsonl", ["e.jsonl"]),
    ],
)
def test_paths_are_relative_to_the_folder_before_the_first_wildcard(folder: Path, path: str, found: list[str]) -> None:
    assert paths(folder, path) == found
    assert paths(Path("/"), str(folder / path)) == found


def test_captures_become_columns(folder: Path) -> None:
    listing = list_input("in", Input("crawl/{dump}/{name}.jsonl"), folder)
    assert listing.storage_url == str(folder / "crawl")
    assert listing.captures == {"2025/a.jsonl": {"dump": "2025", "name": "a"}, "2026/c.jsonl": {"dump": "2026", "name": "c"}}


def test_a_capture_that_stands_twice_matches_the_same(folder: Path) -> None:
    (folder / "crawl" / "2026" / "2026.jsonl").write_text("{}")
    assert paths(folder, "crawl/{dump}/{dump}.jsonl") == ["2026/2026.jsonl"]


def test_lists_share_their_common_folder(folder: Path) -> None:
    assert paths(folder, "crawl/2026/*.jsonl", "crawl/2025/a.jsonl", "crawl/2025/*.jsonl") == ["2025/a.jsonl", "2026/c.jsonl"]


@pytest.mark.parametrize(
    ("path", "said", "hint"),
    [
        ("crawl/2027/*.jsonl", "no file matches", "did you mean `202"),
        ("crowl", "no such file or folder", "did you mean `crawl`"),
        ("crawl/2025/a.json", "no such file or folder", "did you mean `a.jsonl`"),
        ("crawl/2025/*.warc", "no file matches", "exists and holds: a.jsonl, b.jsonl.gz"),
        ("crawl/{id}/*.jsonl", "a capture cannot be called `id`", "column of that name"),
        ("crawl/{2025,2026}/*.jsonl", "braces hold the name of a capture", "list of paths"),
        ("mixed", "the files have different formats: a.jsonl is jsonl, b.warc.gz is warc", "`format:`"),
        ("odd", "cannot tell the format of .*odd/SHA256SUMS", "glob"),
        ("", "path is empty", ""),
    ],
)
def test_mistakes_say_what_is_there(folder: Path, path: str, said: str, hint: str) -> None:
    with pytest.raises(PipelineError, match=said) as caught:
        paths(folder, path)
    assert hint in (caught.value.hint or "")


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineError, match="no such file or folder") as caught:
        paths(tmp_path, "empty")
    assert "holds no file" in (caught.value.hint or "")


def test_a_set_format_chooses_in_a_folder_and_is_believed_for_named_files(folder: Path) -> None:
    assert paths(folder, "mixed", format="warc") == ["b.warc.gz"]
    assert paths(folder, "odd/SHA256SUMS", format="text") == ["SHA256SUMS"]
    with pytest.raises(PipelineError, match="no parquet file"):
        paths(folder, "mixed", format="parquet")
    with pytest.raises(PipelineError, match="files of other paths are jsonl"):
        paths(folder, "crawl", "other")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.parquet", "parquet"),
        ("a.JSONL.ZST", "jsonl"),
        ("a.ndjson.bz2", "jsonl"),
        ("CC-MAIN-1.warc.gz", "warc"),
        ("x.arc.gz", "warc"),
        ("x.warc.lz4", "warc"),
        ("CC-MAIN-1.warc.wet.gz", "wet"),
        ("x.wet", "wet"),
        ("a.txt", "text"),
        ("a.md.gz", "text"),
        ("a.htm", "html"),
        ("data-00000-of-00001.arrow", "arrow"),
    ],
)
def test_formats_by_name(tmp_path: Path, name: str, format: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert list_input("in", Input(name), tmp_path).format == format


@pytest.mark.parametrize(
    ("files", "data"),
    [
        (["README.md", "data/train-00000-of-00001.parquet", "dataset_info.json", ".gitattributes"], ["data/train-00000-of-00001.parquet"]),
        (
            ["dataset_dict.json", "train/data-00000-of-00001.arrow", "train/state.json", "train/dataset_info.json"],
            ["train/data-00000-of-00001.arrow"],
        ),
        (["README.md", "a.jsonl", "dataset_info.json"], ["a.jsonl"]),
        (["README.md", "b.txt"], ["README.md", "b.txt"]),
    ],
)
def test_hugging_face_folders(tmp_path: Path, files: list[str], data: list[str]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    assert paths(tmp_path, ".") == data


def test_a_dataset_saved_by_datasets_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"]})
    with pa.OSFile(str(tmp_path / "data-00000-of-00001.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "state.json").write_text("{}")
    listing = list_input("in", Input("."), tmp_path)
    assert listing.format == "arrow"
    assert [file.path for file in listing.files] == ["data-00000-of-00001.arrow"]


def test_identity_is_the_content_and_unchanged_files_are_hashed_once(folder: Path) -> None:
    listing = list_input("in", Input("crawl/*/*.jsonl"), folder)
    cache: dict[str, object] = {}
    first = content_identities(listing, cache)
    assert [(path, size) for path, size, _ in first] == [("2025/a.jsonl", 14), ("2026/c.jsonl", 14)]
    assert len({identity for *_, identity in first}) == 1, "equal content, equal identity, whatever the name and time"
    assert first[0][2].startswith("xxh3:") and len(first[0][2]) == 5 + 32
    stored = cache[str(folder / "crawl/2025/a.jsonl")]
    cache[str(folder / "crawl/2025/a.jsonl")] = [*stored[:2], "xxh3:remembered"]  # type: ignore[index]
    assert content_identities(listing, cache)[0][2] == "xxh3:remembered"
    os.utime(folder / "crawl/2025/a.jsonl", ns=(1, 1))
    assert content_identities(listing, cache) == first


class _EvenReader:
    """Cuts files into slices of exactly the target, the way JSON Lines are cut."""

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        cuts = [*range(0, file.size, target_bytes), file.size]
        return [Slice(file, a, b, b - a) for a, b in pairwise(cuts)] or [Slice(file, 0, None, 0)]


sizes = st.lists(st.integers(0, 300), min_size=1, max_size=40)


@settings(max_examples=200)
@given(sizes, sizes, st.integers(1, 200))
def test_units_hold_everything_once_in_order_and_are_stable(first: list[int], more: list[int], target: int) -> None:
    def grouped(sizes: list[int]) -> list[tuple[Slice, ...]]:
        files = tuple(FileInfo(f"{n:04}", size, "") for n, size in enumerate(sizes))
        return units(Listing("in", "/", files, "jsonl"), _EvenReader(), target)  # type: ignore[arg-type]

    short, long = grouped(first), grouped(first + more)
    flat = [(part.file.path, part.start, part.size) for unit in long for part in unit]
    assert flat == sorted(flat)
    assert sum(size for *_, size in flat) == sum(first + more)
    assert long[: len(short) - 1] == short[:-1], "only the last unit may change when files are appended"
    assert all(target <= sum(part.size for part in unit) < 2 * target for unit in long[:-1])


def test_big_parquet_files_are_cut_by_row_groups_and_small_ones_grouped(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [f"{n}" * 100 for n in range(10_000)]}), tmp_path / "big.parquet", row_group_size=1000, compression="none"
    )
    for n in range(4):
        pq.write_table(pa.table({"text": ["x"]}), tmp_path / f"small-{n}.parquet")
    listing = list_input("in", Input("*.parquet"), tmp_path)
    found = units(listing, reader("parquet"), listing.files[0].size // 4)
    assert [[(part.file.path[:5], part.start, part.stop) for part in unit] for unit in found[:3]] == [
        [("big.p", 0, 3)],
        [("big.p", 3, 6)],
        [("big.p", 6, 9)],
    ]
    assert [part.file.path for part in found[3]] == ["big.parquet", *(f"small-{n}.parquet" for n in range(4))]


def test_a_changed_file_is_refused(folder: Path) -> None:
    listing = list_input("in", Input("crawl/2025/a.jsonl"), folder)
    verify_unchanged(listing.storage, listing.files[0])
    os.utime(folder / "crawl/2025/a.jsonl", ns=(1, 1))
    with pytest.raises(DatasetError, match="changed during the run") as caught:
        verify_unchanged(listing.storage, listing.files[0])
    assert "run again" in (caught.value.hint or "")
