"""`python datatrove_minhash.py DOCS.parquet WORK [BUCKETS HASHES]`: datatrove's four MinHash stages on a Parquet file.

Runs in datatrove's environment, in one process, with FineWeb's 14 × 8 unless told otherwise. Prints one JSON object: `seconds` of CPU
for the four stages, after a first round on a few documents that loads what they need, `peak_rss_bytes`, `kept` documents.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from near_sign import peak_rss

ROWS_TO_BUFFER = 10_000  # records that its readers of signatures hold; the default of 5 makes a system call for every few


def config(buckets: int, hashes: int, plain: bool) -> Any:
    """Return datatrove's settings; `plain` leaves digits and diacritics as they are, as the exact pairs do."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.text import TextNormConfig

    norm = TextNormConfig(norm_numbers=not plain, norm_unicode_diacritics=not plain)
    return MinhashConfig(n_grams=5, num_buckets=buckets, hashes_per_bucket=hashes, norm_config=norm)


def run(reader: Any, work: Path, chosen: Any) -> None:
    """Run the four stages; what they leave is in `work`, documents that stay in `kept`."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.writers import ParquetWriter

    signed, paired, clustered = (str(work / name) for name in ("signatures", "pairs", "clusters"))
    stages: list[tuple[list[Any], int]] = [
        ([reader, MinhashDedupSignature(signed, chosen)], 1),
        ([MinhashDedupBuckets(signed, paired, config=chosen, lines_to_buffer=ROWS_TO_BUFFER)], chosen.num_buckets),
        ([MinhashDedupCluster(paired, clustered, chosen, save_cluster_id=True, lines_to_buffer=ROWS_TO_BUFFER)], 1),
        ([reader, MinhashDedupFilter(clustered), ParquetWriter(str(work / "kept"), compression="zstd")], 1),
    ]
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(work / "logs" / str(number))).run()


def job(source: Path, work: Path, chosen: Any) -> int:
    """Run the four stages on a Parquet file and return how many documents stay."""
    import pyarrow.parquet as pq
    from datatrove.pipeline.readers import ParquetReader

    shutil.rmtree(work, ignore_errors=True)
    run(ParquetReader(str(source.parent), glob_pattern=source.name), work, chosen)
    return sum(pq.read_metadata(path).num_rows for path in (work / "kept").glob("*.parquet"))


def main() -> None:
    """Run once on a few documents, then on all."""
    import pyarrow.parquet as pq

    source, work = Path(sys.argv[1]), Path(sys.argv[2])
    buckets, hashes = map(int, sys.argv[3:] or ("14", "8"))
    chosen = config(buckets, hashes, plain=False)
    few = work.with_name(f"{work.name}-few")
    few.mkdir(parents=True, exist_ok=True)
    pq.write_table(pq.read_table(source).slice(0, 20), few / "0.parquet")
    job(few / "0.parquet", work, chosen)
    begun = time.process_time()
    kept = job(source, work, chosen)
    seconds = time.process_time() - begun
    print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak_rss(), "kept": kept}))


if __name__ == "__main__":
    main()
