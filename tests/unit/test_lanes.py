"""Connections are used again, one request at a time on each, and none is lost by a request that ends badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from reconciler.client.lanes import Lanes

pytestmark = pytest.mark.network


@dataclass
class KeepAlive:
    """A server that keeps its connections, and counts them. It holds answers while `go` is not set."""

    url: str = ""
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    left: list[asyncio.Event] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        left = asyncio.Event()
        self.left.append(left)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await self.go.wait()
                await asyncio.sleep(0.001)
                self.at_once -= 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            left.set()


@asynccontextmanager
async def keep_alive() -> AsyncIterator[tuple[KeepAlive, httpx.AsyncClient]]:
    server = KeepAlive()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    server.go.set()
    async with httpx.AsyncClient(transport=Lanes(lambda: False)) as http:
        yield server, http
    listening.close()
    await asyncio.gather(*(left.wait() for left in server.left))  # the client has closed every connection


def run(talk: Callable[[KeepAlive, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def talking() -> None:
        async with keep_alive() as (server, http):
            await talk(server, http)

    asyncio.run(talking())


def test_there_are_as_many_connections_as_requests_at_a_time_and_they_are_used_again() -> None:
    async def talk(server: KeepAlive, http: httpx.AsyncClient) -> None:
        async def row() -> None:
            for _ in range(25):
                assert (await http.get(server.url)).json() == {}

        await asyncio.gather(*(row() for _ in range(8)))
        assert server.most_at_once > 1
        assert server.connections <= 8

    run(talk)


def test_the_connection_that_was_given_back_last_is_taken_first() -> None:
    async def talk(server: KeepAlive, http: httpx.AsyncClient) -> None:
        await asyncio.gather(*(http.get(server.url) for _ in range(4)))
        before = server.connections
        for _ in range(10):
            await http.get(server.url)
        assert server.connections == before

    run(talk)


def test_a_request_that_is_cancelled_gives_its_connection_back() -> None:
    async def talk(server: KeepAlive, http: httpx.AsyncClient) -> None:
        server.go.clear()
        for number in range(1, 6):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await http.get(server.url)
            lanes = http._transport
            assert isinstance(lanes, Lanes)
            assert len(lanes._lanes) == 1, f"{number} requests, one at a time"
        server.go.set()
        assert (await http.get(server.url)).json() == {}

    run(talk)


def test_a_connection_that_the_server_has_closed_is_made_anew() -> None:
    async def talk(server: KeepAlive, http: httpx.AsyncClient) -> None:
        await http.get(server.url)
        server.writers[0].close()
        await server.writers[0].wait_closed()
        await asyncio.sleep(0.01)
        assert (await http.get(server.url)).json() == {}
        assert server.connections == 2

    run(talk)


def test_a_body_that_nobody_reads_to_its_end_does_not_reach_the_next_request() -> None:
    async def talk(server: KeepAlive, http: httpx.AsyncClient) -> None:
        async with http.stream("GET", server.url):
            pass
        assert (await http.get(server.url)).json() == {}
        assert server.connections == 2

    run(talk)
