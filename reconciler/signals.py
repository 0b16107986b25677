"""SIGINT, SIGTERM and SIGHUP: the first asks to stop in good order, the second stops at once. Both are safe."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from reconciler.errors import Interrupted

T = TypeVar("T")
GRACE = 4.0
"""Seconds that requests in flight get to finish; CI systems kill a few seconds after they ask."""


class Stop:
    """Whether a signal asked to stop, and which. `event` is set by the first one.

    Work that must not be cut off runs in `finish`, a watch that can end at any moment in `until`. A signal that comes
    at any other time cancels the task that made this.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.signal_number: int | None = None
        self._main = asyncio.current_task()
        self._work: asyncio.Task[Any] | None = None

    def error(self) -> Interrupted | None:
        """The error that a signal is, if one has come."""
        return Interrupted(self.signal_number) if self.signal_number is not None else None

    def signalled(self, number: int) -> None:
        """A signal has come."""
        if self.signal_number is None:
            self.signal_number = number
            self.event.set()
            if self._work is None and self._main is not None:
                self._main.cancel()
        elif self._work is not None:
            self._work.cancel()

    async def finish(self, work: Coroutine[None, None, None]) -> None:
        """Run `work`; after a signal it gets `GRACE` seconds, after a second signal none."""
        task = asyncio.create_task(work)
        await self._beside(task, GRACE)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def until(self, news: AsyncIterator[T]) -> AsyncIterator[T]:
        """What `news` yields, until it ends or a signal comes."""
        while not self.event.is_set():
            task: asyncio.Task[T] = asyncio.create_task(_next(news))
            await self._beside(task, 0)
            try:
                yield await task
            except (_End, asyncio.CancelledError):
                return

    async def _beside(self, task: asyncio.Task[Any], grace: float) -> None:
        """Wait for `task`, or for a signal and `grace` seconds; then it is cancelled, if it has not ended."""
        self._work = task
        stopping = asyncio.create_task(self.event.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=grace)
        finally:
            task.cancel()
            stopping.cancel()
            self._work = None


async def _next(news: AsyncIterator[T]) -> T:
    try:
        return await anext(news)
    except StopAsyncIteration:
        raise _End from None


class _End(Exception):
    """A task cannot raise StopAsyncIteration."""


@contextlib.contextmanager
def stop_on_signals(told: Callable[[int], None] = lambda number: None) -> Iterator[Stop]:
    """Handle the signals in the current task for the length of the block; `told` once, by the first.

    Raises `Interrupted` when a signal cancelled the block.
    """
    stop = Stop()
    loop = asyncio.get_running_loop()

    def handle(number: int) -> None:
        first = stop.signal_number is None
        stop.signalled(number)
        if first:
            told(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if error := stop.error():
            raise error from None
        raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
