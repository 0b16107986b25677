"""The service on a port of its own."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from reconciler.service.app import PREFIX
from reconciler.service.errors import ServiceError
from reconciler.service.folder import DataFolder
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
    announce: Callable[[str], None],
    settings: Settings | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then running jobs become PREEMPTED. Port 0 takes a free one.

    Without `key` the one in the folder is used, and made on first use. `announce` gets lines for the user to read,
    never the key. Raises `ServiceError` when the port is taken, or the folder cannot be used or is used by another
    service.
    """
    folder = DataFolder(data.absolute())
    folder.prepare()
    key_file = None
    if key is None:
        key_file = folder.api_key
        with folder.setup():
            key = folder.secret(key_file.name, "sk_local_")
    with open_service(
        data, key=key, capacity=capacity, pipelines=pipelines, settings=settings or Settings()
    ) as service:
        if not service.lock.acquire():
            raise ServiceError(
                f"another process (pid {service.lock.holder()}) runs the jobs of {folder.root}",
                "stop it first, or use another data folder",
            )
        try:
            with _bind(host, port) as listener:
                for line in _welcome(listener, host, folder, key_file, service.capacity):
                    announce(line)
                asyncio.run(_serve(service, listener))
        finally:
            service.lock.release()


async def _serve(service: Service, listener: socket.socket) -> None:
    app: ASGIApp = service.app
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE)
    server = _Server(config)
    running = asyncio.create_task(service.scheduler.run())
    # A scheduler that broke must not leave an API behind that takes jobs nobody runs.
    running.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=[listener])
    finally:
        service.scheduler.stop()
        await running


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"port {port} on {host} is taken", "stop the program that uses it, or choose another with --port"
            ) from error
        raise ServiceError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", "choose another --host or --port"
        ) from error
    # Connections inherit it. asyncio would set it, but not on those of a socket that was made by hand; without it the
    # body of each answer waits for the client to acknowledge the head, which takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _welcome(listener: socket.socket, host: str, folder: DataFolder, key_file: Path | None, capacity: int) -> list[str]:
    port = listener.getsockname()[1]
    url = f"http://[{host}]:{port}{PREFIX}" if ":" in host else f"http://{host}:{port}{PREFIX}"
    lines = [f"The batch service listens on {url}", f"  export ATAI_API_ENDPOINT={url}"]
    if key_file:
        lines.append(f'  export ATAI_API_KEY="$(cat {shlex.quote(str(key_file))})"')
    else:
        lines.append("  export ATAI_API_KEY to the key that the service was started with")
    lines += [f"Slots for parallel work: {capacity}", f"Data: {folder.root}"]
    if not _loopback(listener):
        lines.append("Other machines can reach it, and the traffic is not encrypted.")
    return [*lines, "Stop with Ctrl-C; jobs that are running then start again at the next start."]


def _loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
