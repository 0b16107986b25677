"""SIGINT, SIGTERM and SIGHUP: the first asks to stop in good order, the second stops at once. Both are safe."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator

from reconciler.errors import Interrupted

GRACE = 4.0
"""Seconds that requests in flight get to finish; CI systems kill a few seconds after they ask."""


class Stop:
    """Whether a signal asked to stop, and which. `event` is set by the first one."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.signal_number: int | None = None

    def error(self) -> Interrupted | None:
        """The error that a signal is, if one has come."""
        return Interrupted(self.signal_number) if self.signal_number is not None else None

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not past a signal."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), seconds)

    async def finish(self, work: Coroutine[None, None, None]) -> None:
        """Run `work`; after a signal it gets `GRACE` seconds, after a second signal none."""
        self._task = asyncio.create_task(work)
        stopping = asyncio.create_task(self.event.wait())
        try:
            await asyncio.wait({self._task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self.event.is_set():
                await asyncio.wait({self._task}, timeout=GRACE)
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        finally:
            self._task.cancel()
            stopping.cancel()

    _task: asyncio.Task[None] | None = None

    def _signalled(self, number: int) -> None:
        if self.signal_number is not None:
            if self._task is not None:
                self._task.cancel()
            return
        self.signal_number = number
        self.event.set()


@contextlib.contextmanager
def stop_on_signals(told: Callable[[int], None] = lambda number: None) -> Iterator[Stop]:
    """Handle them inside a running event loop for the length of the block; `told` once, by the first."""
    stop = Stop()
    loop = asyncio.get_running_loop()

    def handle(number: int) -> None:
        first = stop.signal_number is None
        stop._signalled(number)
        if first:
            told(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
