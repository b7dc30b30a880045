"""The floor for a pass-through: one process, one core, pyarrow reads Parquet and writes it with the same codec."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def main(source: Path, target: Path) -> None:
    """Copy every Parquet file of a folder, row group by row group."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.parquet")):
        file = pq.ParquetFile(path)
        with pq.ParquetWriter(target / path.name, file.schema_arrow, compression="zstd", compression_level=3) as writer:
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group, use_threads=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
