"""Errors as `application/problem+json` (RFC 9457), with the message and the hint that the command line would print."""

from __future__ import annotations

import logging
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from curate.errors import CurateError, DatasetError, PipelineError, TransientError, WorkspaceError
from curate.service.auth import Forbidden, Unauthorized
from curate.service.pipelines import NotFound, mistakes

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[CurateError], int] = {
    NotFound: 404,
    Unauthorized: 401,
    Forbidden: 403,
    PipelineError: 422,
    DatasetError: 404,
    WorkspaceError: 507,
    TransientError: 503,
}
_log = logging.getLogger(__name__)


class MistakeOut(BaseModel):
    """One thing that is wrong with a pipeline; `line` counts from 1."""

    line: int | None
    message: str
    hint: str | None


class Problem(BaseModel):
    """What went wrong, and what to do about it. `mistakes` are those of a pipeline, each with its line."""

    title: str
    status: int
    detail: str
    hint: str | None = None
    mistakes: list[MistakeOut] = []


PROBLEM: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in (400, 401, 403, 404, 409, 413, 422, 503, 507)
}
"""What routes declare, so that the OpenAPI document tells of it."""


def problem(status: int, detail: str, hint: str | None = None, **more: Any) -> JSONResponse:
    """Return the answer for an error."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "hint": hint, **more}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn everything that requests raise into problems; what nobody expected is logged by the server, which gets it after the answer."""
    app.add_exception_handler(CurateError, _curate_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DataError, _unfit)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, _database)
    app.add_exception_handler(Exception, _unexpected)
    described = app.openapi
    app.openapi = lambda: _as_problems(described())  # type: ignore[method-assign]


def _as_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Give the errors of an OpenAPI document their media type: FastAPI knows one for all answers of a route."""
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        for answer in operation["responses"].values():
            told: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
            if told.get("schema", {}).get("$ref", "").endswith("/Problem"):
                answer["content"] = {MEDIA_TYPE: told}
    return document


def status_of(error: CurateError) -> int:
    """Return the status that answers an error."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 409)


def _curate_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CurateError)
    status = status_of(error)
    found = [asdict(mistake) for mistake in mistakes(error)] if isinstance(error, PipelineError) else []
    return problem(status, error.message, error.hint, mistakes=found)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [{"line": None, "message": f"`{_place(entry['loc'])}`: {entry['msg']}", "hint": None} for entry in error.errors()]
    return problem(422, "\n".join(entry["message"] or "" for entry in found), "`/api/v1/docs` says what this takes", mistakes=found)


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc[1:]) or str(loc[0])


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _database(request: Request, error: Exception) -> JSONResponse:
    _log.error("the database does not answer: %s", error)
    return problem(503, "the database of the service does not answer", "nothing was changed: try again in a moment")


def _unfit(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DataError)
    return problem(422, f"a value that the database cannot hold: {str(error.orig).splitlines()[0][:200]}")


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem(500, "the service made a mistake", "its log says more")
