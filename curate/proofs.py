"""The ledger of proofs: one immutable file for each judgement of a corpus by models, under `<workspace>/proofs/`.

A file's name is the hash of what was judged and how, so that a run which reuses finished trials writes nothing, and no two runs can
be in each other's way: a file is created whole or is there already.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from curate.dataset import Dataset, join_url
from curate.errors import DatasetError
from curate.fingerprint import digest
from curate.storage import Storage, join
from curate.work import Verdict, Work

FORMAT = 1
FOLDER = "proofs"
SHORT = 12  # digits of a hash that a person reads

Proof = Mapping[str, Any]


def keep(work: Work, verdict: Verdict, judged: Sequence[Dataset], entry: Proof) -> str:
    """Write a judgement into the ledger unless it stands there, and return its id; `entry` is what the judge adds of its own."""
    run, check = _where(work)
    datasets = {dataset.name: dataset.manifest.fingerprint for dataset in judged}
    identity = digest({"check": check, "datasets": datasets, "entry": entry, "passed": verdict.passed})
    told = {
        "format": FORMAT,
        "id": identity[:SHORT],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),  # two checks of a run may judge within a second
        "pipeline": _pipeline(work.storage, run),
        "run": run,
        "check": check,
        "passed": verdict.passed,
        "message": verdict.message,
        "datasets": datasets,
        **entry,
        "measures": verdict.measures,
    }
    work.storage.create(join(FOLDER, f"{identity[:SHORT]}.json"), orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return identity[:SHORT]


def read(storage: Storage) -> list[dict[str, Any]]:
    """Return all judgements of a workspace, oldest first; raise `DatasetError` for one that cannot be read."""
    found = [_proof(storage, info.path) for info in storage.list(FOLDER) if info.path.endswith(".json")]
    return sorted(found, key=lambda proof: (proof["time"], proof["id"]))


def find(storage: Storage, name: str) -> dict[str, Any]:
    """Return the judgement whose id begins with `name`, or the `last`; raise `DatasetError` when there is none, or several."""
    proofs = read(storage)
    found = proofs[-1:] if name == "last" else [proof for proof in proofs if proof["id"].startswith(name)]
    if len(found) == 1:
        return found[0]
    hint = f"`curate proofs -w {storage.url}` lists them" if proofs else "a `proxy_compare` among the checks of a pipeline makes one"
    raise DatasetError(f"{len(found) or 'no'} proofs in {join_url(storage.url, FOLDER)} are called `{name}`", hint)


def _where(work: Work) -> tuple[str, str]:
    """Return the run and the check that a judge works for: its folder is `runs/RUN/checks/CHECK`."""
    _, run, _, check = work.folder.split("/")
    return run, check


def _pipeline(storage: Storage, run: str) -> str | None:
    path = join("runs", run, "plan.json")
    return str(orjson.loads(storage.read(path))["pipeline"]) if storage.info(path) is not None else None


def _proof(storage: Storage, path: str) -> dict[str, Any]:
    where = join_url(storage.url, path)
    try:
        proof = orjson.loads(storage.read(path))
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{where}: damaged: {error}", "remove the file: the check writes it again") from error
    if not isinstance(proof, dict) or proof.get("format") != FORMAT:
        raise DatasetError(f"{where}: no proof of format {FORMAT}", "a later version of curate wrote it")
    return proof
