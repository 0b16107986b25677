"""From an endpoint to a client: the platform over the network, or the embedded service inside this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.client.patience import Timing
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.client import Client

LOCAL = "local"
"""The endpoint that means the embedded service, in process."""
PLATFORM = "https://api.u1.archetypeai.app/v0.5"


@contextlib.asynccontextmanager
async def connect(
    endpoint: str,
    key: str | None,
    *,
    data: Path,
    parallelism: int,
    timing: Timing,
    run_jobs: bool = False,
    allow_http: bool = False,
) -> AsyncIterator[Client]:
    """A client for `endpoint`. For `local`, `data` is the service's folder, and jobs run only with `run_jobs`.

    Raises `UsageError` when there is no key, or it would travel unprotected.
    """
    from reconciler.client import Client, Transport
    from reconciler.client.address import is_loopback

    if endpoint == LOCAL:
        async with (
            _embedded(data, run_jobs=run_jobs) as app,
            Transport("http://local/v0.5", None, parallelism=parallelism, timing=timing, app=app) as local,
        ):
            yield Client(local)
        return
    if not key:
        raise UsageError(
            f"there is no API key for {endpoint}",
            "set ATAI_API_KEY, or use --endpoint local: it needs no key and costs nothing",
        )
    if urlsplit(endpoint).scheme == "http" and not allow_http and not is_loopback(urlsplit(endpoint).hostname or ""):
        raise UsageError(
            f"{endpoint} would carry the API key without encryption",
            "use https, or set RECONCILER_ALLOW_HTTP=1 if the network is yours",
        )
    async with Transport(endpoint, key, parallelism=parallelism, timing=timing) as transport:
        yield Client(transport)


def ignore_in_git(folder: Path) -> None:
    """Beside a state that may be committed, what must not be: the embedded service's data and key, locks, journals."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".gitignore").open("x") as file:
            file.write("*\n!.gitignore\n!state.json\n!state.*.json\n")


@contextlib.asynccontextmanager
async def _embedded(data: Path, *, run_jobs: bool) -> AsyncIterator[object]:
    try:
        from reconciler.service.embedded import embedded
        from reconciler.service.errors import ServiceError
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'reconciler[service]'"
        raise UsageError(f"the embedded service is not installed (no {error.name})", hint) from error
    ignore_in_git(data.parent)
    try:
        async with embedded(data, run_jobs=run_jobs) as app:
            yield app
    except ServiceError as error:
        raise UsageError(error.message, error.hint) from error
