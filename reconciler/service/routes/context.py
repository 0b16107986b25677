"""What the routes work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from reconciler.service.clock import Clock
from reconciler.service.contents import Contents
from reconciler.service.details import Details
from reconciler.service.files import Files
from reconciler.service.health import Readiness
from reconciler.service.links import Links
from reconciler.service.metrics import Metrics
from reconciler.service.progress import Progress
from reconciler.service.registry import Registry
from reconciler.service.settings import Settings
from reconciler.service.store import Store

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
    registry: Registry
    settings: Settings
    clock: Clock
    wake: Callable[[], None]
    readiness: Readiness
    metrics: Metrics


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Ctx = Annotated[Context, Depends(_context)]


def _organisation(request: Request) -> str:
    return str(request.state.org_id)


Org = Annotated[str, Depends(_organisation)]


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
