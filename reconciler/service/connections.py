"""Connections of clients that are slow, silent or too many. uvicorn by itself waits for ever.

What a client has to do in time: send the head of a request, send its body (`pace.py`), and read the answer.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.service.errors import refuse
from reconciler.service.middleware import error_response
from reconciler.service.settings import Settings

# Of the system, for each connection. It grows to megabytes by itself, and shows only after a third of it has been read
# that anything was: a slow reader would look like one that does not read.
_SEND_BUFFER = 1 << 17
TRANSPORT = "reconciler.transport"
"""The extension of a request's scope that has its `asyncio.Transport`."""


class Config(uvicorn.Config):
    """uvicorn's, with what `Connection` goes by."""

    def __init__(self, app: ASGIApp, settings: Settings, **more: Any) -> None:
        self.settings = settings
        super().__init__(app, http=Connection, ws="none", **more)  # an upgrade would leave `Connection`


class Connection(H11Protocol):
    """One connection that is closed when the client lets it wait too long."""

    config: Config
    _owed: asyncio.TimerHandle | None = None  # runs while the client owes us bytes
    _unread: asyncio.TimerHandle | None = None  # runs while the client does not read what we sent
    _left = 0  # bytes that were not read when `_unread` was set

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        app = self.app if len(self.connections) <= self.config.settings.connections else _too_many

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport
        self._owe(self.config.settings.head_time)

    def data_received(self, data: bytes) -> None:
        in_head = self.conn.their_state is h11.IDLE
        super().data_received(data)
        if self._discarding:
            return  # the time for that goes on
        if not (in_head and self.conn.their_state is h11.IDLE):
            self._owe(None)
        if self.conn.their_state is h11.IDLE:
            self._owe(self.config.settings.head_time)
        # Otherwise a request is being answered, and its body is the matter of `pace.SteadyBodies`.

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._discarding:  # it was answered before its end; clients read when they have sent it all
            self._owe(self.config.settings.idle_time)
        self._watch_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owe(None)
        self._stop_watching()
        super().connection_lost(exc)

    @property
    def _discarding(self) -> bool:
        """Whether the rest of a body comes in that nobody wants any more."""
        return self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete

    def _owe(self, seconds: float | None) -> None:
        """From now on the client has `seconds`; more bytes do not make it longer. None: it owes nothing."""
        if seconds is None:
            if self._owed:
                self._owed.cancel()
            self._owed = None
        elif self._owed is None:
            self._owed = self.loop.call_later(seconds, self.transport.abort)

    def _watch_reader(self) -> None:
        self._stop_watching()
        self._left = self.transport.get_write_buffer_size()
        if self._left:
            self._unread = self.loop.call_later(self.config.settings.idle_time, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if not (self.flow.write_paused or self.cycle.response_complete):
            return  # more is being written, so what is left says nothing; the end of the answer is watched again
        left = self.transport.get_write_buffer_size()
        settings = self.config.settings
        if left and self._left - left < settings.min_rate * settings.idle_time:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._unread:
            self._unread.cancel()
        self._unread = None


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    error = refuse(
        503, "too_many_connections", "the service has as many connections as it takes", "try again", retry_after=1
    )
    response = error_response(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
