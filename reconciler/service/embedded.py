"""The service inside another program: no port, no key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.service.service import open_service
from reconciler.service.settings import Settings


@asynccontextmanager
async def embedded(
    data: Path,
    *,
    run_jobs: bool,
    capacity: int | None = None,
    pipelines: Path | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[ASGIApp]:
    """The service on the folder `data` as an ASGI app, for `httpx.ASGITransport`. Raises `ServiceError`.

    With `run_jobs` it runs jobs too, from the moment that no other process does so on this folder. At the end running
    jobs are stopped and become PREEMPTED; they run again when the next process takes over.
    """
    with open_service(
        data, key=None, capacity=capacity, pipelines=pipelines, settings=settings or Settings()
    ) as service:
        if not run_jobs:
            yield service.app
            return
        running = asyncio.create_task(service.scheduler.run())

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if running.done():
                running.result()  # raises what broke it: jobs must not wait for a scheduler that is no more
            await service.app(scope, receive, send)

        try:
            yield app
        finally:
            service.scheduler.stop()
            await running
