"""The phases of `train_family`: which documents, what is made of them once, and then each model by itself.

count      per shard of the text: its bytes
choose     per shard of the text: those that are trained on, by a seeded hash of the id, with their groups
aim        per shard of the target: as many as are measured
prepare    one task: groups, what is held out, the tokenizer, tokens
train      per model: its folder
measure    per model: its losses on held-out documents and on the target
describe   one task: `family.json`
(write)    one shard: the models
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, read_shard
from curate.document import ID, TEXT, leaf
from curate.errors import OperatorError
from curate.hashing import hash64
from curate.report.units import plural
from curate.work import Place
from curate_scorers.lm_loss_model import MODELS
from curate_scorers.make_model_family_ranking import documents_losses, mean_score, measured
from curate_scorers.make_model_family_training import Recipe, make_tokenizer, split, streams, train
from curate_scorers.proxy.keeping import Kept, Teller

Item = dict[str, Any]

FAMILY = "family.json"
CHOSEN = pa.schema({"order": pa.uint64(), ID: pa.string(), "group": pa.string(), TEXT: pa.large_string()})
MADE = {"rank": pa.int64(), "parameters": pa.int64(), "tokens": pa.int64(), "score": pa.float64()}
GROUPS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
UNKNOWN, OTHERS = "unknown", "(others)"
TOKEN_BYTES = 16  # of text, at most, taken for one token where a group must fill a window


def shard_items(dataset: Dataset) -> list[Item]:
    """Return where each shard lies."""
    return [{"path": dataset.shard_path(shard)} for shard in range(len(dataset.manifest.shards))]


def count_shard(item: Item, place: Place) -> Item:
    """Count the bytes of a shard's texts."""
    texts = (docs.column(TEXT) for docs in read_shard(place.storage, item["path"], [TEXT]))
    return {"bytes": sum(pc.sum(pc.binary_length(each)).as_py() or 0 for each in texts)}


def choose_shard(item: Item, place: Place) -> str:
    """Keep the documents of a shard that a seeded hash chooses, with their groups; of each group at most `most`, if that is given."""
    by, most = item["by"], item["most"]
    heads = dict.fromkeys([ID, TEXT, *([by.partition(".")[0]] if by else [])])
    found = CHOSEN.empty_table()
    for docs in read_shard(place.storage, item["path"], list(heads)):
        order = hash64(docs.column(ID), item["seed"])
        groups = pc.fill_null(leaf(docs, by).cast(pa.string()), UNKNOWN) if by else pa.array([item["name"]] * docs.num_rows, pa.string())
        rows = pa.table([pa.array(order), docs.column(ID), groups, docs.column(TEXT).cast(pa.large_string())], schema=CHOSEN)
        words = pc.not_equal(pc.utf8_trim_whitespace(rows.column(TEXT)), "")
        chosen = pc.and_(pc.fill_null(words, False), pa.array(order * 2.0**-64 < item["share"]))
        found = pa.concat_tables([found, rows.filter(chosen)])
        found = found if most is None else _first(found, most)
    return place.write_table("chosen", found)


def _first(rows: pa.Table, most: int | None) -> pa.Table:
    """Return rows by their order, of each group so many at most."""
    rows = rows.sort_by([("order", "ascending"), (ID, "ascending")]).combine_chunks()
    if most is None:
        return rows
    seen: Counter[str] = Counter()
    kept = []
    for group in rows.column("group").to_pylist():
        seen[group] += 1
        kept.append(seen[group] <= most)
    return rows.filter(pa.array(kept, pa.bool_()))


def prepare(item: Item, place: Place) -> Item:
    """Make the tokenizer, the tokens of each group, and the texts that models are measured on; return where they are."""
    recipe = Recipe(**item["recipe"])
    target = _texts(item["target"], item["most"], place)
    if not target:
        raise OperatorError("train_family: the target has no text", "name documents with a column `text` as the second source")
    aims = {text for group in target.values() for text in group}
    text = _texts(item["text"], None, place)
    in_target = sum(each in aims for group in text.values() for each in group)
    text = {name: [each for each in group if each not in aims] for name, group in text.items()}
    try:
        trained, held_out = grouped(text, item["max_groups"], recipe)
    except OperatorError as error:
        if not in_target:
            raise
        hint = "give it text that is not in the target"
        raise OperatorError(f"{error.message}; {in_target:,} are left out, whose text is in the target", hint) from error
    tokenizer = make_tokenizer([each for group in trained.values() for each in group], recipe.vocabulary)
    tokens = streams(tokenizer, trained, recipe.window)
    what, texts = zip(*((name, each) for name, group in measured(held_out, target).items() for each in group), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = _kept(Path(folder), place)
    rows = pa.table({"what": pa.array(what, pa.string()), TEXT: pa.array(texts, pa.large_string())})
    return {
        "groups": {name: {"documents": len(trained[name]), "tokens": len(tokens[name])} for name in tokens},
        "tokens": place.write_table("tokens", pa.table({"token": np.concatenate(list(tokens.values()))})),
        "tokenizer": files,
        "measured": place.write_table("measured", rows),
        "in_target": in_target,
    }


def grouped(text: Mapping[str, Sequence[str]], most: int, recipe: Recipe) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what is trained on and what is held out, by group: the largest ones, and all others together where that is enough text."""
    alone = [each for group in text.values() if len(group) == 1 for each in group]
    pairs = {name: group for name, group in text.items() if len(group) > 1} | ({OTHERS: alone} if len(alone) > 1 else {})
    trained, held_out = split(pairs, recipe.seed)
    size = {name: sum(len(each.encode()) for each in group) for name, group in trained.items()}
    least = TOKEN_BYTES * recipe.window
    large = sorted((name for name in trained if size[name] >= least and name != OTHERS), key=lambda name: (-size[name], name))
    kept = large if len(trained) <= most else large[: most - 1]
    others = [name for name in trained if name not in kept]
    if sum(size[name] for name in others) < least:
        others = []
    if not kept and not others:
        told = plural(sum(map(len, text.values())), "document")
        raise OperatorError(f"train_family: {told} to train on, less text than a window of {recipe.window} tokens", "give it more text")
    return _joined(trained, kept, others), _joined(held_out, kept, others)


def _joined(groups: Mapping[str, list[str]], kept: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    joined = {OTHERS: [each for name in others for each in groups[name]]} if others else {}
    return {name: groups[name] for name in sorted(kept)} | joined


def _texts(paths: Sequence[str], most: int | None, place: Place) -> dict[str, list[str]]:
    """Return the chosen texts by group, in an order that no layout of shards changes."""
    rows = _first(pa.concat_tables([CHOSEN.empty_table(), *(place.read_table(path) for path in paths)]), most)
    found: dict[str, list[str]] = {}
    for group, text in zip(rows.column("group").to_pylist(), rows.column(TEXT).to_pylist(), strict=True):
        found.setdefault(group, []).append(text)
    return found


def train_model(item: Item, place: Place) -> Item:
    """Train one model; return what it was made of, and where its files are."""
    prepared = item["prepared"]
    recipe = Recipe(**item["recipe"] | {"mixture": tuple((name, share) for name, share in item["recipe"]["mixture"])})
    stream = place.read_table(prepared["tokens"]).column("token").to_numpy()
    ends = np.cumsum([group["tokens"] for group in prepared["groups"].values()])
    tokens = dict(zip(prepared["groups"], np.split(stream, ends[:-1]), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        words, model = Path(folder, "words"), Path(folder, "model")
        _fetched(prepared["tokenizer"], words, place)
        about = train(model, MODELS.tokenizer(words, words), tokens, recipe, Teller(place))
        return {"about": about, "files": _kept(model, place)}


def measure_model(item: Item, place: Place) -> Item:
    """Return bits and bytes of each document that models are measured on, by what it is."""
    table = place.read_table(item["prepared"]["measured"])
    texts: dict[str, list[str]] = {}
    for what, text in zip(table.column("what").to_pylist(), table.column(TEXT).to_pylist(), strict=True):
        texts.setdefault(what, []).append(text)
    with tempfile.TemporaryDirectory() as folder:
        _fetched(item["files"], Path(folder), place)
        losses = {what: documents_losses(Path(folder), group) for what, group in texts.items()}
    return {what: [bits.tolist(), size.tolist()] for what, (bits, size) in losses.items()}


def describe_family(item: Item, place: Place) -> str:
    """Write `family.json`."""
    kept = Kept(place)
    kept.write(FAMILY, orjson.dumps(item, option=orjson.OPT_INDENT_2) + b"\n")
    return kept.path(FAMILY)


def write_models(item: Sequence[Item], place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the models as rows."""
    same = ("parameters", "tokens")
    rows = [
        {ID: each["folder"], "rank": int(each["folder"]), "score": mean_score(each)} | {name: each[name] for name in same} for each in item
    ]
    yield pa.RecordBatch.from_pylist(rows, pa.schema({ID: pa.string(), **MADE}))


def _kept(folder: Path, place: Place) -> dict[str, str]:
    """Keep the files of a folder beside the task's scratch, and return where each is."""
    kept, names = Kept(place), sorted(path.name for path in folder.iterdir() if path.is_file())
    for name in names:
        kept.write(name, (folder / name).read_bytes())
    return {name: kept.path(name) for name in names}


def _fetched(files: Mapping[str, str], folder: Path, place: Place) -> None:
    """Put kept files into a folder of this machine."""
    folder.mkdir(exist_ok=True)
    for name, path in files.items():
        (folder / name).write_bytes(place.storage.read(path))
