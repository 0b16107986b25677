"""A real HTTP server on loopback that answers what a test tells it to, byte for byte."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from reconciler.client import Client, Transport
from reconciler.client.patience import Timing

KEY = "sk_test_0123456789"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Talk: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""An answer that takes its time: it writes by itself."""
Answer: TypeAlias = bytes | Talk
Script: TypeAlias = Sequence[Answer] | Callable[[Request], Answer]
"""The answers in their order, the last one again and again; or the answer to each request."""


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """A whole answer; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(data)), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + data


async def reset(writer: asyncio.StreamWriter) -> None:
    """The connection is reset instead of an answer."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silence(writer: asyncio.StreamWriter) -> None:
    """No answer, ever."""
    await asyncio.Event().wait()


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Talk:
    """An answer that goes on for ever."""

    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return talk


@dataclass
class Server:
    """What the test sees of the server."""

    script: Script
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v0.5"

    def told(self, method: str) -> list[Request]:
        return [r for r in self.requests if r.method == method]

    def _next(self, request: Request) -> Answer:
        self.requests.append(request)
        if callable(self.script):
            return self.script(request)
        return self.script[min(len(self.requests), len(self.script)) - 1]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            said = self._next(await _request(reader))
            if isinstance(said, bytes):
                writer.write(said)
                await writer.drain()
            else:
                await said(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


@asynccontextmanager
async def serve(script: Script) -> AsyncIterator[Server]:
    server = Server(script)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.stop()


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    time: datetime = datetime(2026, 4, 14, 10, 0, 0, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.time

    def timing(self, budget: float = 60.0, heard: list[str] | None = None) -> Timing:
        return Timing(budget, self.sleep, self.now, (lambda _: None) if heard is None else heard.append)


@dataclass(frozen=True)
class Told:
    """What came of a call, what the server was asked meanwhile, and how long was waited."""

    result: Any
    requests: list[Request]
    slept: list[float]


def talk(
    script: Script,
    call: Callable[[Client], Awaitable[_T]],
    clock: Clock | None = None,
    budget: float = 60,
    heard: list[str] | None = None,
) -> Told:
    """Make a call of a client to a server that follows `script`. An exception of the call is its result; `heard` gets
    what people would be told meanwhile.
    """
    clock = clock or Clock()

    async def run() -> Told:
        async with serve(script) as server, Transport(server.url, KEY, timing=clock.timing(budget, heard)) as transport:
            result: Any
            try:
                result = await call(Client(transport))
            except Exception as error:  # noqa: BLE001 - the test says which one it expects
                result = error
            return Told(result, server.requests, clock.slept)

    return asyncio.run(run())
