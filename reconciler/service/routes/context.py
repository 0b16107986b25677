"""What the routes work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request

from reconciler.service.clock import Clock
from reconciler.service.contents import Contents
from reconciler.service.details import Details
from reconciler.service.errors import ApiError, Fault
from reconciler.service.files import Files
from reconciler.service.links import Links
from reconciler.service.progress import Progress
from reconciler.service.registry import Registry
from reconciler.service.settings import Settings
from reconciler.service.store import Store
from reconciler.service.uploads import Uploads

_FAR = 1 << 53


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one service. `wake` makes the scheduler of this process look at the queue."""

    details: Details
    progress: Progress
    store: Store
    files: Files
    contents: Contents
    links: Links
    uploads: Uploads
    registry: Registry
    settings: Settings
    clock: Clock
    wake: Callable[[], None]


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Ctx = Annotated[Context, Depends(_context)]


def _organisation(request: Request) -> str:
    return str(request.state.org_id)


Org = Annotated[str, Depends(_organisation)]


@cache
def _query_names(app: FastAPI) -> dict[str, list[str]]:
    """The query parameters of each operation."""
    operations = [each for path in app.openapi()["paths"].values() for each in path.values()]
    return {
        operation["operationId"]: [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        for operation in operations
    }


def known_query(request: Request) -> None:
    """Refuse query parameters that the route does not have: a filter with a typing error would match everything."""
    if not request.query_params:
        return
    names = _query_names(request.app)[request.scope["endpoint"].__name__]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in names]
    if unknown:
        known = f"it has {', '.join(sorted(names))}" if names else "it has none"
        raise ApiError(400, [Fault("invalid_parameter", f"{name}: unknown query parameter", known) for name in unknown])


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list, in bounds."""

    offset: int
    limit: int


def _paging(
    offset: Annotated[int, Query(description="Rows to skip; below 0 means 0.")] = 0,
    limit: Annotated[int, Query(description="Rows to return; brought into 1 to 100, and echoed.")] = 20,
) -> Paging:
    return Paging(min(max(offset, 0), _FAR), min(max(limit, 1), 100))


Page = Annotated[Paging, Depends(_paging)]
