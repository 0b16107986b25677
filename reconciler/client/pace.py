"""How many requests are under way at a time: fewer when the platform says 429, slowly more when it does not.

Additive increase, multiplicative decrease, as TCP does it: halved at most once for the requests of one round, and one
more for each round that went well. When the platform names a time to wait, no request begins before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from reconciler.client.patience import Timing


class Pace:
    """Turns for requests; `most` is the parallelism that was asked for."""

    def __init__(self, most: int, timing: Timing) -> None:
        self._most = most
        self._timing = timing
        self._limit = float(most)
        self._under_way = 0
        self._round = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before: datetime | None = None

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return max(1, int(self._limit))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """Wait for a turn, and hold it for the length of the block. Yields the round that it belongs to."""
        while self._under_way >= self.limit:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(free)
            try:
                await free
            except asyncio.CancelledError:
                self._wake()  # the turn that may have been meant for this request is another's
                raise
        self._under_way += 1
        try:
            if self._not_before is not None and (left := (self._not_before - self._timing.now()).total_seconds()) > 0:
                await self._timing.sleep(min(left, self._timing.budget))  # a clock that was put back is no reason
            yield self._round
        finally:
            self._under_way -= 1
            self._wake()

    def went_well(self) -> None:
        """An answer that was not 429."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def too_fast(self, round_: int, wait: float | None) -> None:
        """A 429 to a request of `round_`, which asks to `wait` some seconds, or does not say."""
        if round_ == self._round:  # the others of this round did not know yet: they do not count again
            self._round += 1
            self._limit = max(1.0, self._limit / 2)
        if wait is not None and wait > 0:
            until = self._timing.now() + timedelta(seconds=min(wait, self._timing.budget))
            self._not_before = max(until, self._not_before or until)

    def _wake(self) -> None:
        free = self.limit - self._under_way
        while self._waiting and free > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
