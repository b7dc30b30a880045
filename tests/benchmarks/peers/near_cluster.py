"""`python near_cluster.py PEER DOCS.jsonl WORK PERMUTATIONS THRESHOLD …`: a peer's near-duplicates; runs in the peer's environment.

Prints one JSON object for each threshold, as soon as it has it: the `threshold`, `bands` (bands × rows), and for every document the
number of the one that its cluster keeps (`cluster`: its own if it stays, -1 if its cluster keeps none). Shingles are five lower-case
words as in `near_sign.py`; datatrove and text-dedup make their own. Each peer chooses its bands by its own rule; datatrove has none and
always runs FineWeb's 14 × 8.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from near_sign import N, shingles


class Found(NamedTuple):
    """The answer for one threshold."""

    threshold: float
    bands: str
    cluster: list[int]


def texts_of(path: Path) -> list[str]:
    """Return the documents."""
    with open(path) as lines:
        return [json.loads(line)["text"] for line in lines]


def root(parents: list[int], node: int) -> int:
    """Return the document that stands for another's set, halving the paths."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def datatrove(path: Path, work: Path, count: int, thresholds: list[float]) -> Iterator[Found]:
    """Its four stages; of each cluster it keeps the document that its union-find made the root."""
    from datatrove.pipeline.readers import JsonlReader
    from datatrove_minhash import config, run

    run(JsonlReader(str(path.parent), glob_pattern=path.name), work, config(count // 8, 8, plain=True))
    cluster = list(range(len(texts_of(path))))
    name = work / "clusters" / "000000"
    if name.with_suffix(".clusters").exists():
        pairs = list(struct.iter_unpack("<2I", name.with_suffix(".clusters").read_bytes()))
        gone = {number for (number,) in struct.iter_unpack("<I", name.with_suffix(".remove").read_bytes())}
        stays = {label: number for number, label in pairs if number not in gone}
        for number, label in pairs:
            cluster[number] = stays[label]
    yield from (Found(threshold, f"{count // 8} × 8", cluster) for threshold in thresholds)


def datasketch(path: Path, work: Path, count: int, thresholds: list[float]) -> Iterator[Found]:
    """`MinHashLSH` on bulk signatures; candidates are joined into sets, of which the first document stays."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    tokens = ([shingle.encode() for shingle in shingles(text)] for text in texts_of(path))
    signed = MinHash.bulk(tokens, num_perm=count, hashfunc=xxhash.xxh32_intdigest)
    for threshold in thresholds:
        index = MinHashLSH(threshold=threshold, num_perm=count)
        parents = list(range(len(signed)))
        for number, one in enumerate(signed):
            for other in index.query(one) if not one.is_empty() else ():
                first, second = sorted((root(parents, other), root(parents, number)))
                parents[second] = first
            index.insert(number, one)
        yield Found(threshold, f"{index.b} × {index.r}", [root(parents, number) for number in range(len(signed))])


def rensa(path: Path, work: Path, count: int, thresholds: list[float]) -> Iterator[Found]:
    """Its deduplicator with LSH; one that goes joins the kept document that its own estimate finds most alike."""
    from rensa import RMinHash, RMinHashDeduplicator

    signed = RMinHash.from_token_sets([shingles(text) for text in texts_of(path)], count, 42)
    for threshold in thresholds:
        index = RMinHashDeduplicator(threshold, count, True)
        keep = index.add_pairs((str(number), one) for number, one in enumerate(signed))
        cluster = list(range(len(signed)))
        for number, kept in enumerate(keep):
            if not kept:
                near = [int(key) for key in index.get_duplicates(signed[number])]
                cluster[number] = max(near, key=lambda other, one=signed[number]: (one.jaccard(signed[other]), -other), default=-1)  # type: ignore[misc]
        yield Found(threshold, "its own", cluster)


def text_dedup(path: Path, work: Path, count: int, thresholds: list[float]) -> Iterator[Found]:
    """Its command with `check_false_positive`, as its documentation shows; a document stays when its cluster has its number."""
    from datasets import load_from_disk
    from text_dedup.config.algorithms.minhash import optimal_param

    number_of = len(texts_of(path))
    environment = {**os.environ, "HF_HOME": str(work / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    for threshold in thresholds:
        folder = work / str(threshold)
        folder.mkdir(parents=True)
        sections = {
            "input": {"input_type": "local_files", "file_type": "json"},
            "input.read_arguments": {"path": "json", "data_files": str(path), "split": "train"},
            "algorithm": {"algorithm_name": "minhash", "text_column": "text", "num_perm": count, "ngram_size": N, "num_proc": 1}
            | {"threshold": threshold, "check_false_positive": True},
            "output": {"output_dir": str(folder / "out"), "skip_filtering": True, "keep_index_column": True, "keep_cluster_column": True},
            "debug": {"enable_profiling": False},
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()) for name, keys in sections.items()
        ]
        (folder / "config.toml").write_text("\n".join(lines))
        subprocess.run([sys.executable, "-m", "text_dedup.minhash"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        cluster = list(range(number_of))
        for row in load_from_disk(str(folder / "out")).select_columns(["__INDEX__", "__CLUSTER__"]):
            cluster[row["__INDEX__"]] = row["__CLUSTER__"]
        yield Found(threshold, "{} × {}".format(*optimal_param(threshold, count)), cluster)


PEERS: dict[str, Callable[[Path, Path, int, list[float]], Iterator[Found]]] = {
    "datatrove": datatrove,
    "datasketch": datasketch,
    "rensa": rensa,
    "text_dedup": text_dedup,
}


def main() -> None:
    """Ask a peer about one set."""
    peer, path, work, count = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    for found in PEERS[peer](path, work, count, list(map(float, sys.argv[5:]))):
        print(json.dumps(found._asdict()), flush=True)


if __name__ == "__main__":
    main()
