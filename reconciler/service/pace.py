"""How slowly the body of a request may come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service.errors import refuse


class Allowance:
    """Seconds that may be spent on waiting for a body.

    There are `idle` at first. Each byte earns 1/`rate` seconds, up to `idle` again: so silence is cut off after
    `idle`, a trickle below `rate` when it has used that up, and a body that keeps moving never.
    """

    def __init__(self, idle: float, rate: float) -> None:
        self._idle = idle
        self._rate = rate
        self.left = idle

    def waited(self, seconds: float, size: int) -> None:
        """Waiting for `size` bytes took `seconds`."""
        self.left = min(self._idle, self.left - seconds + size / self._rate)


class SteadyBodies:
    """Refuses with 408 when the body comes too slowly. Time in which the service does not wait does not count."""

    def __init__(self, app: ASGIApp, *, idle: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._idle = idle
        self._rate = rate
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._steady(receive)
        await self._app(scope, receive, send)

    def _steady(self, receive: Receive) -> Receive:
        allowance = Allowance(self._idle, self._rate)
        ended = False

        async def steady() -> Message:
            nonlocal ended
            if ended:  # what is waited for now is that the client goes away
                return await receive()
            began = self._clock()
            try:
                async with asyncio.timeout(max(0.0, allowance.left)):
                    message = await receive()
            except TimeoutError:
                ended = True
                raise refuse(
                    408, "request_timeout", "the body of the request came too slowly", "send it again"
                ) from None
            allowance.waited(self._clock() - began, len(message.get("body", b"")))
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        return steady
