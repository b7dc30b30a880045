"""Marks documents that are nearly the same as an earlier one; every mark was verified.

Emits attributes, one row per document, in its order:

| column     | type   | is                                                                              |
|------------|--------|---------------------------------------------------------------------------------|
| id         | string | the document                                                                    |
| keep       | bool   | whether it stays                                                                |
| cluster    | string | the document that stays for it, or its own id if others go for it; else null    |
| kept_id    | string | the document that stays in its place, null if `keep`                            |
| similarity | double | the exact Jaccard similarity to `kept_id`; null if `keep` or nobody compared    |
| reason     | string | `duplicate`, `near_duplicate`, `unverified_duplicate`; null if `keep`           |

Phases: `sign` reads the texts, `classes` finds documents with equal shingles, of which only the first goes on; `spread` fills the
buckets, `heads` and `pair` make pairs, `group` connects them, or, when more than 16 Mi documents are in pairs, `link`, `star-1` and
on, `label`, `pack` and `place` do (`minhash_groups.py`). `gather` reads the texts of paired documents again, `route` and `compare`
verify all pairs; `settle` finds who goes in groups of more than 8 blocks, `decide`, a few blocks at a time, for whom; `name`, `inherit`
and `write` tell every document. Through the shuffles go 24 bytes for each document, 20 for each band of each different one, 8 more
for each rule of `keep`, 16 for each pair and band, and for each document in a pair 16 and 8 for each of its shingles; beyond 16 Mi
documents also 32 for each document and round of stars.

What a task holds at most, besides a batch of texts:
- `sign` and `write`: about 150 bytes for each document of a shard; `spread`, `name`, `inherit`: less.
- `classes`, `heads`, `pair`, `link`, `star-…`, `label`, `pack`, `place`: a partition (64 MiB), and copies of it where they sort it.
- `compare`: two blocks (64 MiB each, or a document that is larger), and the pairs of one; `settle`, `decide`: the pairs of a block.
- `group`: about 100 bytes for each document in a pair, 1.6 GiB at most; `route` and `gather` then 16, else 16 for each of their own.
- What grows with the corpus: for each document of the largest group, about 150 bytes in `pack` and 1 in `settle` and `decide`; in
  `count`, 16 for each document that is in a bucket behind its heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT
from curate.errors import DatasetError, PipelineError
from curate.protocols import DatasetOperator
from curate.work import Place, Work
from curate_operators import minhash_canary as canary
from curate_operators import minhash_decide as decide
from curate_operators import minhash_known as known
from curate_operators import minhash_sign as sign
from curate_operators import removal_guard
from curate_operators.copy_order import parse, verify_others
from curate_operators.minhash_curve import Bands, choose
from curate_operators.minhash_search import search
from curate_operators.minhash_sign import BUCKET_BYTES, CLASS_BYTES, Item, ranges

MAX_VALUES, MAX_PLANTED = 4096, 10_000  # of a signature; of each similarity


@dataclass(frozen=True)
class MinhashDedup(DatasetOperator):
    """Marks near-duplicates; of a group of similar documents those stay that no staying one before them resembles.

    ## What it does
    Documents are compared as sets of shingles: n-grams of lower-case words. Signatures (MinHash) find pairs that are probably
    similar; the exact Jaccard similarity of every pair is then computed from the texts. Documents are taken in order (`keep`):
    one goes when a document before it stays and is at least `similarity` alike. So nothing goes because of a chain of
    resemblances, and each mark names the document that stays and the similarity to it. Documents without any word stay.

    ## Why
    Crawls hold the same text with other dates, menus and misprints. Training on it repeatedly costs compute and makes models
    recite (Lee et al., 2022).

    ## Example
        dedup: {from: clean, use: minhash_dedup, params: {similarity: 0.8}}
        corpus: {from: [clean, dedup], apply: [dedup]}

    ## Parameters
    - `similarity`: from which Jaccard similarity on two documents are duplicates.
    - `recall`: the probability with which a pair at exactly that similarity is compared; more alike ones are found more surely.
    - `permutations`: how many values a signature may have at most; bands and rows are chosen within it.
    - `bands`, `rows`: give both to choose yourself: 14 and 8 is FineWeb's choice.
    - `n`, `unit`: n-grams of `words` or `characters`. Between words, punctuation and blanks count for nothing. As characters they do:
      punctuation as it stands unless `fold` is set, and white space between words, however much of it, as a single blank.
    - `fold`: FineWeb's normalisation: digits are zeros, diacritics and punctuation are nothing.
    - `keep`: which of two stays, as for `exact_dedup`: `first`, `longest`, `shortest`, `{highest: COLUMN}`, `{lowest: COLUMN}`,
      `{latest: COLUMN}`, `{earliest: COLUMN}`, `{prefer: {COLUMN: [A, B]}}`, or a list of these; at last the dataset's order.
    - `max_heads`: with how many documents of a bucket each is compared, the first ones.
    - `mode`: `verified`, or `component`: of all documents that pairs connect, by whatever chain, only one stays, and nothing is
      compared. It is what FineWeb did; many of its removals are not similar.
    - `seed`: of the permutations.
    - `planted`: how many near-duplicates of each of six similarities are made of the documents to see whether they are found; they
      change no mark. The report says how many were, beside the curve of `bands` and `rows`; null = none.
    - `max_removed_ratio_per_source`: a warning when more than this share of a source's documents goes; `{ratio: 0.5, column: url,
      min_documents: 100, otherwise: fail}` judges another column (addresses by host), or ends the run; null = off.

    ## Source
    Broder (1997); Lee et al. (2022); FineWeb (Penedo et al., 2024). Permutations as in datasketch (`affine32`).
    """

    version: ClassVar[int] = 1
    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "attributes"

    similarity: float = 0.8
    recall: float = 0.95
    permutations: int = 128
    bands: int | None = None
    rows: int | None = None
    n: int = 5
    unit: Literal["words", "characters"] = "words"
    fold: bool = False
    keep: str | dict[str, Any] | list[str | dict[str, Any]] = "first"
    max_heads: int = 64
    mode: Literal["verified", "component"] = "verified"
    seed: int = 1
    planted: int | None = 100
    max_removed_ratio_per_source: float | dict[str, Any] | None = 0.5

    def __post_init__(self) -> None:
        parse(self.keep)
        removal_guard.parse(self.max_removed_ratio_per_source)
        _in_range(0 < self.similarity <= 1, f"similarity is not above 0 and at most 1: {self.similarity}")
        _in_range(0 < self.recall < 1, f"recall is not above 0 and below 1: {self.recall}")
        _in_range(self.n >= 1 and self.max_heads >= 1 and self.permutations >= 1, "n, max_heads and permutations begin at 1")
        _in_range((self.bands is None) == (self.rows is None), "give both `bands` and `rows`, or neither")
        _in_range(self.bands is None or self.rows is None or min(self.bands, self.rows) >= 1, "bands and rows begin at 1")
        _in_range(self.planted is None or 1 <= self.planted <= MAX_PLANTED, f"planted is not from 1 to {MAX_PLANTED:,}: {self.planted}")
        _in_range(0 <= self.seed < 1 << 32, f"seed does not fit into 32 bits: {self.seed}")
        _in_range(self.permutations <= MAX_VALUES, f"permutations is more than {MAX_VALUES:,}: {self.permutations}")
        values = self.curve().permutations
        _in_range(values <= MAX_VALUES, f"bands of so many rows make signatures of more than {MAX_VALUES:,} values: {values:,}")

    def reads(self) -> tuple[str, ...]:
        rules = [rule.column for rule in parse(self.keep)]
        return tuple(dict.fromkeys([TEXT, *rules, *removal_guard.columns(self.max_removed_ratio_per_source)]))

    def verify(self, schema: pa.Schema) -> None:
        for rule in parse(self.keep):
            rule.verify(schema)

    def adds(self) -> Mapping[str, pa.DataType]:
        text = pa.string()
        return {"keep": pa.bool_(), "cluster": text, "kept_id": text, "similarity": pa.float64(), "reason": text}

    def curve(self) -> Bands:
        """Return the bands that are used; its `probability` is the S-curve."""
        if self.bands is not None and self.rows is not None:
            return Bands(self.bands, self.rows)
        return choose(self.similarity, self.recall, self.permutations)

    def run(self, inputs: list[Dataset], work: Work) -> None:
        documents, index = self._read(inputs)
        work.about = {"operator": "minhash_dedup", "settings": self.settings(), "index": index.manifest.fingerprint if index else None}
        count = len(documents.manifest.shards)
        sizes = [shard.data.bytes for shard in documents.manifest.shards]
        shared = self._shared(documents, index)
        earlier = [shared | item for item in known.items_of(index)]
        first = len(earlier)
        begin = [0, *accumulate(shard.counts.rows_out for shard in documents.manifest.shards)]
        items = [shared | {"path": documents.shard_path(i), "shard": first + i, "begin": begin[i]} for i in range(count)]
        signed = work.map("sign", sign.sign_shard, items, sizes)
        remembered = work.map("remember", known.remember_shard, earlier) if earlier else []
        items = [item | {"local": result["local"], "drawn": result["drawn"]} for item, result in zip(items, signed, strict=True)]
        kinds = [shared | {"parts": parts} for parts in ranges(work.storage, [*remembered, *(result["shuffle"] for result in signed)])]
        same = ranges(work.storage, work.map("classes", sign.join_classes, kinds))
        every = _with([*earlier, *items], same[: first + count])
        verdicts, notes = search(work, shared, every, [*known.sizes_of(index), *sizes])
        named = work.map("name", decide.name_shard, _with(every, verdicts))
        told = ranges(work.storage, [result["shuffle"] for result in named])
        heirs = [item | {"followers": parts} for item, parts in zip(_with(every, told), same[first + count :], strict=True)]
        inherited = work.map("inherit", decide.inherit_shard, heirs)
        also = ranges(work.storage, [result["shuffle"] for result in inherited])
        marks = [
            item | {"parts": told[i] + also[i], "kept": [named[i]["kept"], inherited[i]["kept"]]} for i, item in enumerate(items, first)
        ]
        work.write_shards(mark_shard, marks, sizes)
        for name, verdict in notes.items():
            work.note(name, verdict)
        removal_guard.judge(self.max_removed_ratio_per_source, "minhash_dedup", documents, work)

    def settings(self) -> dict[str, Any]:
        """Return what decides about documents: two dumps of one index must agree in it."""
        names = ("similarity", "n", "unit", "fold", "keep", "max_heads", "mode", "seed")
        return {"version": self.version} | asdict(self.curve()) | {name: getattr(self, name) for name in names}

    def verify_artifacts(self, artifacts: Sequence[Dataset]) -> None:
        known.check_indexes("minhash_dedup", artifacts)
        for index in artifacts:
            _in_range(self.mode == "verified", f"`mode: {self.mode}` cannot be used with an index: earlier decisions would change")
            known.check_settings(index, self.settings())

    def _read(self, inputs: list[Dataset]) -> tuple[Dataset, Dataset | None]:
        """Return the documents and the index."""
        artifacts = [dataset for dataset in inputs if dataset.manifest.kind == "artifact"]
        self.verify_artifacts(artifacts)
        _in_range(len(inputs) == 1 + len(artifacts), f"it reads one set of documents and perhaps an index, found {len(inputs)} datasets")
        index = artifacts[0] if artifacts else None
        known.check_new(index, inputs[0])
        return inputs[0], index

    def _shared(self, documents: Dataset, index: Dataset | None) -> Item:
        """Return what every task knows: the parameters, the bands that were chosen, the numbers of partitions."""
        bands, rules = self.curve(), len(parse(self.keep))
        dump = index.manifest.about["dumps"] if index and rules else None  # without rules shards are in order of their dumps
        rules += dump is not None
        rows, first = documents.rows + (index.rows if index else 0), len(index.manifest.shards) if index else 0
        shards = first + len(documents.manifest.shards)
        told = {"documents": rows, "shards": shards, "copies": shards, "first": first, "rules": rules, "dump": dump}
        told["partitions"] = shuffle.partitions_for(rows, CLASS_BYTES + 8 * rules)
        told["spread"] = shuffle.partitions_for(rows, bands.bands * (BUCKET_BYTES + 8 * rules))
        return asdict(self) | asdict(bands) | told | {"draw": canary.limits(self.planted, documents.rows)}


def _in_range(holds: bool, message: str) -> None:
    if not holds:
        raise PipelineError(f"minhash_dedup: {message}")


def _with(items: list[Item], parts: list[list[Item]]) -> list[Item]:
    return [item | {"parts": own} for item, own in zip(items, parts, strict=True)]


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    leader = place.read_table(item["local"]["leaders"]).column("leader").to_numpy()
    ids = pa.concat_arrays([b.column(ID) for b in read_shard(place.storage, item["path"], [ID])] or [pa.array([], pa.string())])
    if len(ids) != len(leader):
        raise DatasetError(f"{item['path']} changed: {len(ids)} rows, {len(leader)} were signed", "run again")
    verdicts = pa.Table.from_batches(sign.read(item, place, decide.NAMED), decide.NAMED).combine_chunks()
    where = np.full(len(leader), -1, np.int64)
    where[(verdicts.column("document").to_numpy() & sign.ROW).astype(np.int64)] = np.arange(verdicts.num_rows)
    where = where[leader]
    follows = (leader != np.arange(len(leader))) & (where < 0)
    stays = np.zeros(len(leader), np.bool_)  # others go for it
    stays[leader[follows]] = True
    for path in item["kept"]:
        stays[place.read_table(path).column("row").to_numpy()] = True
    keep = (where < 0) & ~follows
    told = pa.array(where, mask=where < 0)
    kept_id = pc.if_else(pa.array(follows), ids.take(pa.array(leader)), verdicts.column("kept_id").take(told).combine_chunks())
    verify_others(ids, kept_id, item["path"])
    similarity = pc.if_else(pa.array(follows), 1.0, verdicts.column("similarity").take(told).combine_chunks())
    yield pa.RecordBatch.from_pydict(
        {
            ID: ids,
            "keep": pa.array(keep),
            "cluster": pc.if_else(pa.array(stays & keep), ids, kept_id),
            "kept_id": kept_id,
            "similarity": similarity,
            "reason": _reasons(keep, similarity),
        }
    )


def _reasons(keep: Any, similarity: pa.Array) -> pa.Array:
    found = pc.if_else(pc.equal(similarity, 1.0), "duplicate", "near_duplicate")
    return pc.if_else(pa.array(keep), pa.scalar(None, pa.string()), pc.fill_null(found, "unverified_duplicate"))
