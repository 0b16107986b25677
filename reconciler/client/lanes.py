"""Connections, each taken by one request at a time.

httpx's pool looks through all its connections and all waiting requests whenever a request begins or ends, so that 256
at a time are slower than one. Here a request takes the connection that was given back last; how many requests there
are at a time is the pace's business.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import httpx

_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)


class Lanes(httpx.AsyncBaseTransport):
    """An httpx transport over as many connections as there are requests at a time. `verify`: as httpx takes it, asked
    for when the first connection is made.
    """

    def __init__(self, verify: Callable[[], ssl.SSLContext | bool]) -> None:
        self._verify = verify
        self._trust: ssl.SSLContext | bool | None = None
        self._lanes: list[httpx.AsyncHTTPTransport] = []
        self._free: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lane = self._free.pop() if self._free else self._new()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Held(response.stream, lambda: self._free.append(lane))
        return response

    def _new(self) -> httpx.AsyncHTTPTransport:
        if self._trust is None:
            self._trust = self._verify()
        lane = httpx.AsyncHTTPTransport(verify=self._trust, limits=_ONE)
        self._lanes.append(lane)
        return lane

    async def aclose(self) -> None:
        for lane in self._lanes:
            await lane.aclose()


class _Held(httpx.AsyncByteStream):
    """The body of an answer; its connection is given back when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._give_back: Callable[[], None] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            give_back, self._give_back = self._give_back, None
            if give_back is not None:
                give_back()
