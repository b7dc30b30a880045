"""What pages and the API of one run start from: who looks, the run in the database, and the run in its workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends

from curate.dataset import Dataset
from curate.errors import DatasetError
from curate.service import runs
from curate.service.api.callers import ServiceHere, Viewer
from curate.service.auth import Caller
from curate.service.state import tables
from curate.service.views.follow import Follower
from curate.service.views.limits import Limits
from curate.service.views.runs import Run, open_run, open_stage
from curate.storage import Storage, open_storage

FOLLOWER = Follower()
"""The progress of the runs that somebody watches; what segments hold never changes, so that all services may share it."""


@dataclass(frozen=True)
class Viewing:
    """A run that somebody looks at; `row` is what the database has of it, `run` what its workspace has."""

    who: Caller
    row: tables.Run
    run: Run
    storage: Storage

    @property
    def address(self) -> str:
        """The page of the run."""
        return f"/runs/{self.row.id}"

    @property
    def limits(self) -> Limits:
        """The limits that documents of this run broke."""
        return Limits(self.run.pipeline)

    def context(self) -> dict[str, Any]:
        """Return what every page of a run shows."""
        return {"who": self.who, "place": "Runs", "run_page": self.address, "run_name": self.row.id}

    def dataset(self, stage: str) -> Dataset:
        """Return a stage's finished dataset; raise `DatasetError` while there is none."""
        self.run.stage(stage)
        found = open_stage(self.storage, self.run.stages[stage])
        if found is None:
            raise DatasetError(f"stage {stage} of run {self.row.id} has no finished dataset", "it is there once the stage is done")
        return found


def view(row: tables.Run, who: Caller) -> Viewing:
    """Return a run's last attempt as its workspace has it."""
    storage = open_storage(row.workspace)
    return Viewing(who, row, open_run(storage, row.attempt_id, FOLLOWER), storage)


def viewing(run_id: str, who: Viewer, service: ServiceHere) -> Viewing:
    """Return a run that a caller looks at; raise `NotFound`."""
    with service.database.reading() as session:
        row = runs.find(session, run_id)
    return view(row, who)


Seen = Annotated[Viewing, Depends(viewing)]
