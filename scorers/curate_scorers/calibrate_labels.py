"""Fits scores to labels that people gave: how likely a label is at a score, for `label_chance` to tell of other documents.

The artifact has the file `chances.json`:

| field               | is                                                                                                       |
|---------------------|----------------------------------------------------------------------------------------------------------|
| `format`            | 1                                                                                                        |
| `column`, `label`   | what was fitted to what                                                                                  |
| `lowest`, `highest` | the ends of each run of scores that have one chance, ascending                                           |
| `chance`            | the share of the run's documents that have the label                                                     |
| `documents`         | how many documents the run has                                                                           |

Its shard has the same rows: `id` (the number of the run), `lowest`, `highest`, `chance`, `documents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside
from curate.dataset import Dataset
from curate.document import ID, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.hashing import chances
from curate.manifest import Kind
from curate.protocols import DatasetOperator
from curate.work import Place, Work
from curate_scorers.label_curves import LabelCurve, fitted, measured, verdict

Item = dict[str, Any]
FILE, FORMAT = "chances.json", 1
SALT = "held_out"  # else what `sample` drew by the same hash would lie on one side
HINT = "they may be null, or all be held out: lower `held_out`"
ROWS = {"lowest": pa.float64(), "highest": pa.float64(), "chance": pa.float64(), "documents": pa.int64()}
LABELLED = pa.schema({"score": pa.float64(), "wanted": pa.bool_(), "held": pa.bool_()})


@dataclass(frozen=True)
class CalibrateLabels(DatasetOperator):
    """Fits a score to labels that people gave, and says on other labelled documents how good the score is.

    ## What it does
    Of the documents that have a score and a label, a share `held_out` is set aside by the hash of their ids. To the others it fits the
    curve that never falls (isotonic regression): for each score, the chance that a document has the label. A note tells what score and
    chance are worth on those set aside: AUC with its interval, rank correlation, the share of labels that the likelier side agrees
    with, and how far chances are from shares. It does not pass where the AUC may be a half, which is guessing.

    ## Why
    A judge's 3 of 5 means nothing until people have said which of such documents they would keep. A few hundred labels say it, and say too
    whether the judge is worth asking at all.

    ## Example
        judged: {from: labelled, operators: [{use: llm_judge, into: quality, params: {llm: {model: m, endpoint: …}}}]}
        chances: {from: [labelled, judged], use: calibrate_labels, params: {column: judged.quality.score, label: label}}
        kept:
          from: corpus
          operators:
            - {use: llm_judge, into: quality, params: {llm: {model: m, endpoint: …}}}
            - {use: label_chance, into: good, params: {column: quality.score, table: "stage:chances"}}
            - {use: where, params: {keep: "good >= 0.5"}}

    ## Parameters
    - `column`: the score, any number, such as `judged.quality.score`; null and NaN are left out.
    - `label`: the column of labels: true and false, or 1 and 0; null = not labelled.
    - `held_out`: the share to judge by, from 0 up to 1.
    - `seed`: of the hash that sets documents aside.

    ## Source
    Zadrozny and Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability Estimates* (2002).
    """

    emits: ClassVar[Literal["documents", "attributes", "artifact"]] = "artifact"

    column: str
    label: str
    held_out: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise PipelineError(f"calibrate_labels: `held_out` is {self.held_out}, not from 0 up to 1", "0.5 keeps half to judge by")

    def reads(self) -> tuple[str, ...]:
        return (self.column, self.label)

    def verify(self, schema: pa.Schema) -> None:
        score, label = (type_at(schema, path) for path in self.reads())
        if score is not None and not (pa.types.is_integer(score) or pa.types.is_floating(score)):
            raise PipelineError(
                f"calibrate_labels: column `{self.column}` is {score}, not a number", "a field of a struct: `quality.score`"
            )
        if label is not None and not (pa.types.is_integer(label) or pa.types.is_boolean(label)):
            raise PipelineError(f"calibrate_labels: column `{self.label}` is {label}, not a label", "true and false, or 1 and 0")

    def verify_sources(self, sources: Mapping[str, Kind]) -> None:
        beside.verify_sources("calibrate_labels", sources, "SCORES")

    def adds(self) -> Mapping[str, pa.DataType]:
        return ROWS

    def run(self, inputs: list[Dataset], work: Work) -> None:
        shared = {"column": self.column, "label": self.label, "held_out": self.held_out, "seed": self.seed}
        items = [item | shared for item in beside.shard_items("calibrate_labels", inputs, "SCORES")]
        tables = work.map("collect", collect_shard, items, [shard.data.bytes for shard in inputs[0].manifest.shards])
        about = {"format": FORMAT, "column": self.column, "label": self.label}
        [found] = work.map("fit", fit_curve, [{"tables": tables, "about": about}])
        work.about = {"operator": "calibrate_labels", **about, "documents": found["documents"], "held": found["held"]}
        work.write_file(FILE, found["path"])
        work.write_shards(curve_rows, [found["curve"]])
        work.note("held-out", verdict(found["measured"], LabelCurve.of(found["curve"]), found["held"]))


def collect_shard(item: Item, place: Place) -> str:
    """Keep the scores and labels of a shard's documents that have both."""
    tables = [LABELLED.empty_table()]
    for docs in beside.read(item, place, [item["column"], item["label"]]):
        score = pc.cast(leaf(docs, item["column"]), pa.float64())
        label = pc.cast(leaf(docs, item["label"]), pa.int64())
        if odd := sorted(set(pc.unique(label).to_pylist()) - {0, 1, None}):
            raise OperatorError(f"calibrate_labels: `{item['label']}` holds {odd[0]}, which is no label", "true and false, or 1 and 0")
        named = pc.binary_join_element_wise(SALT, docs.column(ID).cast(pa.string()), ":")
        held = pa.array(chances(named, item["seed"]) < item["held_out"])
        usable = pc.and_(pc.and_(pc.is_valid(score), pc.is_valid(label)), pc.fill_null(pc.invert(pc.is_nan(score)), False))
        tables.append(pa.table([score, pc.cast(label, pa.bool_()), held], schema=LABELLED).filter(usable))
    return place.write_table("labelled", pa.concat_tables(tables))


def fit_curve(item: Item, place: Place) -> Item:
    """Fit the curve, write it, and measure it on the documents held out."""
    table = pa.concat_tables([place.read_table(path) for path in item["tables"]])
    score, wanted, held = (table.column(name).to_numpy() for name in LABELLED.names)
    if held.all():
        raise OperatorError(f"calibrate_labels: no document has both `{item['about']['column']}` and `{item['about']['label']}`", HINT)
    curve = fitted(score[~held], wanted[~held])
    path = f"{place.prefix}.{FILE}"
    with place.storage.open_output(path) as out:
        out.write(orjson.dumps(item["about"] | curve.told(), option=orjson.OPT_APPEND_NEWLINE))
    counts = {"documents": len(score), "held": int(held.sum())}
    return {"path": path, "curve": curve.told(), "measured": measured(curve, score[held], wanted[held]), **counts}


def curve_rows(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the runs of the curve."""
    ids = pa.array([str(run) for run in range(len(item["chance"]))], pa.string())
    columns = [pa.array(item[name], kind) for name, kind in ROWS.items()]
    yield pa.RecordBatch.from_arrays([ids, *columns], [ID, *ROWS])
