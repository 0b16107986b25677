"""The service on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from reconciler.service.app import PREFIX
from reconciler.service.connections import Config
from reconciler.service.engines.slurm import SlurmOptions
from reconciler.service.errors import ServiceError
from reconciler.service.folder import DataFolder
from reconciler.service.listening import bind, demand_key, is_loopback
from reconciler.service.logs import LogFormat, RequestLog, logging_as
from reconciler.service.pace import SteadyBodies
from reconciler.service.service import Service, open_service
from reconciler.service.settings import Settings

_GRACE = 5  # seconds that answers under way get when the service stops


class _Server(uvicorn.Server):
    """The first signal asks for a clean stop, the second ends the process. The next start puts things right."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


def serve(
    *,
    host: str,
    port: int,
    data: Path,
    capacity: int | None,
    key: str | None,
    pipelines: Path | None,
    keys_file: Path | None = None,
    announce: Callable[[str], None],
    settings: Settings | None = None,
    log_format: LogFormat = "text",
    faults: Path | None = None,
    slurm: SlurmOptions | None = None,
    shared: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then running jobs become PREEMPTED, or go on where `slurm` runs them. Port 0
    takes a free one.

    Without `key` and `keys_file` the key in the folder is used, and made on first use; it takes keys that a person has
    set to let other machines in. `announce` gets lines for the user to read, never the key. `faults`: a file of faults
    on demand, for tests of clients. Raises `ServiceError` when the port is taken, or the folder cannot be used or is
    used by another service.
    """
    settings = settings or Settings()
    demand_key(host, port, key, key_file=keys_file is not None)
    layer = _layers(settings, log_format, faults)
    folder = DataFolder(data.resolve())
    folder.prepare()
    key_file = folder.api_key if key is None and keys_file is None else None
    if key_file is not None:
        with folder.setup():
            key = folder.secret(key_file.name, "sk_local_")
    with open_service(
        data,
        key=key,
        keys_file=keys_file,
        capacity=capacity,
        pipelines=pipelines,
        settings=settings,
        slurm=slurm,
        shared=shared,
    ) as service:
        secrets = [key] if key else []
        with _alone(service, folder), bind(host, port) as listener, logging_as(log_format, secrets=secrets):
            for line in _welcome(listener, host, folder, key_file, service):
                announce(line)
            if faults:
                announce(f"WARNING: it lies on purpose, by the rules in {faults}. For tests only.")
            asyncio.run(_serve(service, layer(service.app), listener, settings))


@contextlib.contextmanager
def _alone(service: Service, folder: DataFolder) -> Iterator[None]:
    """While no other process runs the jobs of `folder`. Raises `ServiceError` when one does."""
    if not service.lock.acquire():
        raise ServiceError(
            f"another process (pid {service.lock.holder()}) runs the jobs of {folder.root}",
            "stop it first, or use another data folder",
        )
    try:
        yield
    finally:
        service.lock.release()


def _layers(settings: Settings, log_format: LogFormat, faults: Path | None) -> Callable[[ASGIApp], ASGIApp]:
    """What a service on a port has around it. Raises `ServiceError` for rules that are none."""
    if faults:
        from reconciler.service.faults import Faults, load

        rules = load(faults)

    def layer(app: ASGIApp) -> ASGIApp:
        app = SteadyBodies(app, idle=settings.idle_time, rate=settings.min_rate)
        if log_format == "json":
            app = RequestLog(app)
        return Faults(app, rules) if faults else app

    return layer


async def _serve(service: Service, app: ASGIApp, listener: socket.socket, settings: Settings) -> None:
    config = Config(app, settings, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE)
    server = _Server(config)
    running = asyncio.create_task(service.scheduler.run())
    # A scheduler that broke must not leave an API behind that takes jobs nobody runs.
    running.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=[listener])
    finally:
        service.scheduler.stop()
        await running


def _welcome(
    listener: socket.socket, host: str, folder: DataFolder, key_file: Path | None, service: Service
) -> list[str]:
    port = listener.getsockname()[1]
    url = f"http://[{host}]:{port}{PREFIX}" if ":" in host else f"http://{host}:{port}{PREFIX}"
    lines = [f"The batch service listens on {url}", f"  export ATAI_API_ENDPOINT={url}"]
    if key_file:
        lines.append(f'  export ATAI_API_KEY="$(cat {shlex.quote(str(key_file))})"')
    else:
        lines.append("  the key, ATAI_API_KEY, is one that the service was started with")
    lines.append(f"A page to look at it: {url.removesuffix(PREFIX)}/")
    lines += [
        f"Slots for parallel work: {service.capacity}",
        f"Pipelines: {', '.join(service.pipelines)}",
        f"Data: {folder.root}",
    ]
    if not is_loopback(listener.getsockname()[0]):
        lines.append("Other machines can reach it, and the traffic is not encrypted.")
    if service.outlived:
        return [*lines, "Stop with Ctrl-C; jobs that are running go on, and the next start looks after them again."]
    return [*lines, "Stop with Ctrl-C; jobs that are running then start again at the next start."]
