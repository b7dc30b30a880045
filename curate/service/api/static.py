"""Styles and scripts of the pages: a fixed list of files of this package, which browsers keep as long as their version is asked for."""

from __future__ import annotations

from fastapi import APIRouter, Response

from curate.service.pages.render import STATIC, style
from curate.service.pipelines import NotFound

router = APIRouter(prefix="/static", include_in_schema=False)
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
_FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in (".js", ".svg")}
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml"}


@router.get("/pages.css")
def styles() -> Response:
    """The style sheet of all pages."""
    return Response(style(), media_type="text/css", headers=_HEADERS)


@router.get("/{name}")
def file(name: str) -> Response:
    """A script or the icon."""
    path = _FILES.get(name)
    if path is None:
        raise NotFound(f"no such file: {name}")
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers=_HEADERS)
