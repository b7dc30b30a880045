"""Gives documents the nearest of centroids that `cluster` has trained before, on these or other documents.

Emits a struct, null for a document without a vector: `cluster` (int32), `distance` (float, 1 - cosine), and `group` (int32), null where
clusters were not merged or only the file of the centroids is known.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import orjson
import pyarrow as pa

from curate.document import ID, leaf
from curate.errors import DatasetError, PipelineError
from curate.files import local_file
from curate.protocols import Scorer
from curate_scorers import cluster_vectors as vectors
from curate_scorers.cluster_phases import CENTROIDS, DESCRIPTION
from curate_scorers.clustering import assign
from curate_scorers.clustering_nearest import Device, Search, Vectors, search_on, unit

SUFFIX = ".npy"
OUTPUT = pa.struct([pa.field("cluster", pa.int32()), pa.field("distance", pa.float32()), pa.field("group", pa.int32())])


@dataclass(frozen=True)
class NearestCentroid(Scorer):
    """Gives each document the cluster whose centroid is nearest to its vector.

    ## What it does
    Emits `cluster`, `distance` (1 - the cosine to the centroid) and, where clusters were merged, `group`; null for a document without a
    vector. They are those that `cluster` gives the same vectors. A vector that is not finite, or of another length than the centroids,
    is an error, quarantined within the stage's `max_errors`.

    ## Why
    What was decided about clusters of a sample, or of last month's crawl, holds for documents that come later.

    ## Example
        kinds:
          from: [new_crawl, vectors]
          operators:
            - use: nearest_centroid
              into: kind
              params: {column: vectors.embedding, centroids: "stage:clusters"}

    ## Parameters
    - `column`: the vectors, of the model that the centroids were made with.
    - `centroids`: a stage of `cluster`, the folder of its dataset, or a file `centroids.npy` (float, clusters × dimension).
    - `device`: as in `cluster`.

    ## Source
    Assignment as in k-means; see `cluster`.
    """

    files: ClassVar[tuple[str, ...]] = ("centroids",)
    folders: ClassVar[tuple[str, ...]] = ("centroids",)

    column: str
    centroids: str
    device: Device = "auto"

    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def verify(self, schema: pa.Schema) -> None:
        vectors.verify_type("nearest_centroid", schema, self.column)
        width, given = self.__dict__.get("_width"), vectors.width_of(schema, self.column)
        if width is not None and given is not None and width != given:
            raise PipelineError(
                f"nearest_centroid: the centroids have {width} dimensions, and vectors in `{self.column}` have {given}",
                "embed with the model that the centroids were made with",
            )

    def output(self) -> pa.DataType:
        return OUTPUT

    def score(self, docs: pa.RecordBatch) -> pa.Array:
        centroids, groups, search = self._trained
        found = vectors.vectors_of(docs.column(ID), leaf(docs, self.column), centroids.shape[1])
        clusters, cosines = assign(found.vectors, centroids, search)
        at = np.full(docs.num_rows, -1)
        at[found.rows] = np.arange(len(found.rows))
        rows = pa.array(at, mask=at < 0)
        kinds = groups.take(pa.array(clusters)) if groups is not None else pa.nulls(len(clusters), pa.int32())
        columns = [values.take(rows) for values in (pa.array(clusters), pa.array((1 - cosines).astype(np.float32)), kinds)]
        return pa.StructArray.from_arrays(columns, fields=list(OUTPUT), mask=pa.array(at < 0))

    def verify_file(self, parameter: str, path: Path) -> None:
        """Read the centroids, where the pipeline's file says that they are; `verify` then knows their dimensions."""
        self.__dict__["_width"] = read_centroids(str(path if path.suffix == SUFFIX else path / CENTROIDS)).shape[1]

    @functools.cached_property
    def _trained(self) -> tuple[Vectors, pa.Array | None, Search]:
        """The centroids, their groups, and what finds the nearest."""
        if self.centroids.endswith(SUFFIX):
            centroids, clusters = read_centroids(self.centroids), {}
        else:
            centroids = read_centroids(f"{self.centroids}/{CENTROIDS}")
            clusters = orjson.loads(local_file(f"{self.centroids}/{DESCRIPTION}").read_bytes())["clusters"]
        groups = pa.array(clusters["group"], pa.int32()) if "group" in clusters else None
        return centroids, groups, search_on(centroids, self.device)


def read_centroids(path: str) -> Vectors:
    """Return the centroids in a file of `cluster`, or in any NumPy file of a matrix of floats; raise `DatasetError` for another one."""
    file = local_file(path)
    hint = "name a stage of `cluster`, or its `centroids.npy`"
    try:
        found = np.load(file, allow_pickle=False)
    except ValueError as error:  # NumPy's words are advice to load pickles
        raise DatasetError(f"{path}: not a NumPy file of numbers, or damaged; pickled objects are never read", hint) from error
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path}: not a NumPy file of numbers: {error}", hint) from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind != "f" or not found.size:
        raise DatasetError(f"{path}: no matrix of floats (clusters × dimension)", hint)
    centroids = unit(found)
    if not np.isfinite(centroids).all() or not centroids.any(axis=1).all():
        raise DatasetError(f"{path}: a centroid has no direction: zeros only, or a number that is not finite", hint)
    return centroids
