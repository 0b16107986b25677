"""What the loop answers over HTTP: `/healthz`, `/readyz`, `/metrics`, and `POST /hook` where a secret is set.

It has a thread and an event loop of its own, so that it answers also while a round is busy, or hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.errors import UsageError
from reconciler.loop.health import Health
from reconciler.loop.hook import Proof
from reconciler.loop.metrics import Metrics

LONGEST = 25 * 1024 * 1024
"""Bytes of the body of a hook: what GitHub sends at most. It is hashed as it comes, and not kept."""
_PATIENCE = 20.0
"""Seconds for that body."""
_AT_A_TIME = 64
_LIFE = 60.0
"""Seconds that a connection may last: one that says nothing must not take the place of others."""


@dataclass(frozen=True, slots=True)
class Web:
    """What the answers are made of. `asked` is told that somebody who may has asked for a round."""

    health: Health
    metrics: Metrics
    asked: Callable[[], None]
    secret: str | None = field(default=None, repr=False)

    def app(self) -> Starlette:
        """The routes."""
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
        ]
        if self.secret:
            routes.append(Route("/hook", self._hook, methods=["POST"]))
        return Starlette(routes=routes)

    async def _healthz(self, request: Request) -> Response:
        alive = self.health.alive()
        return PlainTextResponse("ok\n" if alive else "no progress for too long\n", 200 if alive else 503)

    async def _readyz(self, request: Request) -> Response:
        document = self.health.document()
        return JSONResponse(document, 200 if document["ready"] else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _hook(self, request: Request) -> Response:
        assert self.secret
        proof = Proof(self.secret, dict(request.headers))
        try:
            async with asyncio.timeout(_PATIENCE):
                small = await _fed(proof, request) if proof.needs_body else True
        except (TimeoutError, ClientDisconnect):
            return self._answer("refused", 408, "the body did not come")
        if not small:
            return self._answer("too_large", 413, f"a body has at most {LONGEST:,} bytes")
        if not proof.holds():
            return self._answer("refused", 401, "the signature, the token or the key is missing or wrong")
        self.asked()
        return self._answer("accepted", 202, "a round was asked for")

    def _answer(self, answer: str, status: int, text: str) -> Response:
        self.metrics.hook(answer)
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"message": text}, status, headers)


async def _fed(proof: Proof, request: Request) -> bool:
    """Give the body to `proof`; whether it was not too large."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > LONGEST:
            return False
        proof.feed(piece)
    return True


def parse_address(text: str) -> tuple[str, int] | None:
    """Host and port of `ADDRESS:PORT`, of `[ADDRESS]:PORT`; None for `none`. Raises `UsageError`."""
    if text == "none":
        return None
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or (":" in host and not text.startswith("[")) or not port.isascii() or not port.isdigit():
        raise UsageError(f"--listen {text!r} is not ADDRESS:PORT", "write for example 127.0.0.1:8751, or none")
    if int(port) > 65535:
        raise UsageError(f"--listen: there is no port {port}")
    return host, int(port)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `UsageError` when there cannot be one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        hint = "another loop may have it: choose another --listen, or none"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint) from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(str(listener.getsockname()[0]).partition("%")[0]).is_loopback


class _Connection(H11Protocol):
    """A connection with an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(_LIFE, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


@contextlib.contextmanager
def served(web: Web, listener: socket.socket) -> Iterator[None]:
    """Answer for the length of the block, in a thread."""
    config = uvicorn.Config(
        web.app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=_Connection,
        limit_concurrency=_AT_A_TIME,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()
