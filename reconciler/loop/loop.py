"""When there is a round: at the start, at an interval, when somebody asks, and when a job's back-off is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from reconciler.errors import ExitCode, UsageError
from reconciler.loop.backoff import LONGEST_PLATFORM, pause_after
from reconciler.loop.rounds import OUTAGES, Round, Rounds
from reconciler.signals import Stop

STANDBY = 5.0
"""Seconds after which a loop that stands by looks again whether it may lead."""
LOCKED = 60.0
"""Seconds after which a round is made up for that found people at work on the state."""
SHORTEST = 5.0
"""Seconds between two rounds that nobody asked for, unless the interval is shorter."""
_JITTER = 0.1


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Until `event`, and at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


@dataclass(slots=True)
class Loop:
    """Rounds, one at a time. `interval` in seconds; each pause is up to a tenth shorter or longer.

    `trigger` and `stop` are called in the event loop. `resting` is told how long the next pause is.
    """

    rounds: Rounds
    interval: float
    pause: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for
    random: Callable[[], float] = random.random
    resting: Callable[[float], None] = lambda seconds: None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: str | None = None
    _signal: int | None = None
    _round: Stop | None = None
    _outages: int = 0

    def trigger(self, why: str) -> None:
        """Have a round at once; after the one that is under way, one more, however often this is called meanwhile."""
        self._asked = self._asked or why
        self._wake.set()

    def stop(self, number: int) -> None:
        """A signal asks to stop: the round under way ends in good order, after a second signal at once."""
        self._signal = self._signal or number
        self._wake.set()
        if self._round is not None:
            self._round.signalled(number)

    async def run(self) -> ExitCode:
        """Go on until a signal. Raises `UsageError` when the very first round shows that it was started wrongly."""
        why, first, interrupted = "start", True, False
        while self._signal is None and not interrupted:
            self._wake.clear()
            self._asked = None
            made = await asyncio.create_task(self._one(why))
            if made is None:
                break
            if first and isinstance(made.error, UsageError):
                raise made.error
            first, interrupted = False, made.result == "interrupted"
            if not interrupted:
                why = await self._rest(made)
        if not interrupted:
            return ExitCode.OK
        return ExitCode.SIGINT if self._signal == signal.SIGINT else ExitCode.SIGTERM

    async def _one(self, why: str) -> Round | None:
        if self._signal is not None:
            return None
        self._round = Stop()  # of this task, which a signal may cancel
        try:
            return await self.rounds.one(why, self._round)
        finally:
            self._round = None

    async def _rest(self, made: Round) -> str:
        """Wait for the next round; why there is one."""
        seconds, why = self._next(made)
        if self._signal is None and self._asked is None:
            self.resting(seconds)
            await self.pause(self._wake, seconds)
        return self._asked or why

    def _next(self, made: Round) -> tuple[float, str]:
        """How long to wait after a round, and for what."""
        regular = self.interval * (1 - _JITTER + 2 * _JITTER * self.random())
        self._outages = self._outages + 1 if made.result in OUTAGES else 0
        if made.result == "standby":
            return min(regular, STANDBY), "standby"
        if made.result == "locked":
            return min(regular, LOCKED), "locked"
        if self._outages:
            return max(regular, pause_after(self._outages, LONGEST_PLATFORM)), "backoff"
        now = self.rounds.now()
        due = self.rounds.backoff.next_due(now)
        # Many jobs that failed one after the other are tried again together.
        until = max((due - now).total_seconds(), SHORTEST) if due else regular
        return (until, "backoff") if until < regular else (regular, "interval")
