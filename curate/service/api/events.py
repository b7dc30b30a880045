"""`/api/v1/runs/{id}/events`: what happens in a run, as server-sent events.

event: run         the run as `/runs/{id}` shows it, whenever its status changes
event: progress    one line of the run's own event log; its id is where a reader that comes back goes on
event: end         the run has ended, and everything was told
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from curate.errors import TransientError
from curate.service import runs
from curate.service.api.callers import ServiceHere, Viewer
from curate.service.api.problems import PROBLEM
from curate.service.api.runs import run_out
from curate.service.events import Place, Pulses
from curate.service.state import tables

router = APIRouter(prefix="/runs", tags=["runs"], responses=PROBLEM)
QUIET_S = 15.0  # a comment after so long keeps proxies from closing the connection
LIFE_S = 3600.0  # then the client comes back by itself, and shows its token again
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}, 204: {"description": "All was told."}}
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/{run_id}/events", response_class=Response, responses=STREAM)
async def events(
    run_id: str,
    request: Request,
    caller: Viewer,
    service: ServiceHere,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    after: Annotated[str | None, Query(max_length=64, description="Like the header `Last-Event-ID`.")] = None,
) -> Response:
    """Tell what happens in a run, from its beginning or from behind an event, until it ends."""
    last = last_event_id or after
    if last == "end":
        return Response(status_code=204)
    place = Place.after(last) if last is not None else Place()
    run = await asyncio.to_thread(_find, service, run_id)
    pulses: Pulses = request.app.state.pulses
    if pulses.full:
        raise TransientError("too many streams of events are open", "ask again in a moment, or raise `streams` in the settings")
    return StreamingResponse(_told(pulses, run.id, place), media_type="text/event-stream", headers=HEADERS)


def _find(service: ServiceHere, run_id: str) -> tables.Run:
    with service.database.reading() as session:
        return runs.find(session, run_id)


async def _told(pulses: Pulses, run_id: str, place: Place) -> AsyncIterator[bytes]:
    ends = time.monotonic() + LIFE_S
    shown: tuple[str, int] | None = None
    yield b"retry: 2000\n\n"
    async with pulses.joined(run_id) as pulse:
        while time.monotonic() < ends:
            version, run = pulse.version, pulse.run
            if run is None:
                await pulse.news(version, QUIET_S)
                continue
            if shown != (run.status, run.attempt):
                shown = (run.status, run.attempt)
                yield _message("run", run_out(run).model_dump_json().encode())
            lines = await pulse.lines(run, place)
            if lines is not None:
                yield b"".join(_progress(place, lines))
                place = Place(place.attempt, place.segment + 1)
            elif place.attempt < run.attempt:
                place = Place(place.attempt + 1)
            elif run.status in runs.ENDED:
                yield _message("end", run.status.encode(), "end")
                return
            elif not await pulse.news(version, QUIET_S):
                yield b": still here\n\n"


def _progress(place: Place, lines: list[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines, place.line):
        yield _message("progress", line, str(Place(place.attempt, place.segment, number)))


def _message(kind: str, data: bytes, id: str | None = None) -> bytes:
    head = f"event: {kind}\n" + (f"id: {id}\n" if id is not None else "")
    return head.encode() + b"data: " + data + b"\n\n"
