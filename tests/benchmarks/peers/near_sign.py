"""`python near_sign.py PEER DOCS.jsonl PERMUTATIONS SIGNATURES.npy`: a peer's MinHash signatures; runs in the peer's environment.

Prints one JSON object: `bytes` of text, CPU seconds from `text` to signatures and from `hashes` of shingles to signatures, each the
average of calls that take a second together, `peak_rss_bytes`. Shingles are five lower-case words; datatrove makes its own. Writes
the signatures, one row for each document.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WORD = re.compile(r"\w+")
N = 5
MIN_SECONDS = 1.0
Sign = Callable[[], Any]
Both = tuple[Sign, Sign]


def shingles(text: str) -> list[str]:
    """Return the n-grams of lower-case words; a text with fewer words is one shingle, as it is for curate."""
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + N]) for i in range(max(len(words) - N + 1, len(words) > 0))]


def datatrove(texts: list[str], count: int) -> Both:
    """Its class of the first stage; 64-bit hashes."""
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove_minhash import config

    step = MinhashDedupSignature("unused", config(count // 8, 8, plain=False))
    hashed = [found for text in texts if (found := step.get_shingles(text)).size]

    def sign() -> Any:
        return [step.get_signature(found) for text in texts if (found := step.get_shingles(text)).size]

    return lambda: np.array(sign()).reshape(-1, count), lambda: [step.get_signature(found) for found in hashed]


def datasketch(texts: list[str], count: int) -> Both:
    """Its bulk interface with its own hash, SHA-1; numbers pass through `int` as their own hashes."""
    from datasketch import hashfunc

    return _datasketch(texts, count, hashfunc.sha1_hash32)


def datasketch_xxh32(texts: list[str], count: int) -> Both:
    """The same with a faster hash."""
    import xxhash

    return _datasketch(texts, count, xxhash.xxh32_intdigest)


def _datasketch(texts: list[str], count: int, hashed_by: Callable[[bytes], int]) -> Both:
    from datasketch import MinHash

    hashed = [[hashed_by(shingle.encode()) for shingle in shingles(text)] for text in texts]

    def sign() -> Any:
        made = MinHash.bulk(([s.encode() for s in shingles(text)] for text in texts), num_perm=count, hashfunc=hashed_by)
        return np.array([one.hashvalues for one in made])

    return sign, lambda: MinHash.bulk(hashed, num_perm=count, hashfunc=int)


def rensa(texts: list[str], count: int) -> Both:
    """R-MinHash into a matrix, from tokens and from one flat array of hashes."""
    from rensa import RMinHash

    hashed = RMinHash.hash_token_sets([shingles(text) for text in texts])
    flat = np.concatenate([np.array(one, np.uint64) for one in hashed])
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in hashed])]).astype(np.uint64)

    def sign() -> Any:
        return RMinHash.digest_matrix_from_token_sets([shingles(text) for text in texts], count, 42)

    return sign, lambda: RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, count, 42)


PEERS = {"datatrove": datatrove, "datasketch": datasketch, "datasketch xxh32": datasketch_xxh32, "rensa": rensa}


def timed(work: Sign) -> tuple[float, Any]:
    """Return the CPU seconds of one call, after one that warms up, and what it returned."""
    made = work()
    calls, begun = 0, time.process_time()
    while time.process_time() - begun < MIN_SECONDS:
        made = work()
        calls += 1
    return (time.process_time() - begun) / calls, made


def peak_rss() -> int:
    """Return this process's peak memory; `getrusage` would give the parent's where that is larger."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Time a peer and keep its signatures."""
    peer, path, count, target = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    with open(path) as lines:
        texts = [json.loads(line)["text"] for line in lines]
    sign, sign_hashes = PEERS[peer](texts, count)
    text, made = timed(sign)
    hashes, _ = timed(sign_hashes)
    np.save(target, np.array(made.to_rows() if peer == "rensa" else made))
    found = {"bytes": sum(len(one.encode()) for one in texts), "text": text, "hashes": hashes, "peak_rss_bytes": peak_rss()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
