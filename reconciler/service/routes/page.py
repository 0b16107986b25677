"""`/` and `/page/…`: a page that shows the jobs. An empty shell: what it shows it asks the API for, with a key."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from reconciler.service.errors import refuse

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent.parent / "page"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PARTS = {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
# What jobs say is only ever set as text. Should that fail once, no script of theirs runs, and nothing leaves the page.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.head("/")
@router.get("/")
def get_page() -> Response:
    """The page."""
    return _answer(_FOLDER / "index.html", "text/html")


@router.get("/page/{name}")
def get_part(name: str) -> Response:
    """What the page is made of."""
    path = _PARTS.get(name)
    if path is None:
        raise refuse(404, "not_found", f"the page has no part {name!r}")
    return _answer(path, _TYPES[path.suffix])


def _answer(path: Path, kind: str) -> Response:
    return Response(path.read_bytes(), media_type=kind, headers=_HEADERS)
