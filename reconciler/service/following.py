"""Reads what the indexes of a job write, until each has come to an end; the same for every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from reconciler.service.engines.engine import Ending, Engine, EngineUnavailable, Handle, Phase, Record
from reconciler.service.engines.tasks import Task, WorkerFailed, died, silent
from reconciler.service.protocol import DoneLine, ErrorLine, Line, LineSplitter
from reconciler.service.recording import Recorded

_CHUNK = 1 << 20

Sink = Callable[[Task, Sequence[Line], int, int], Awaitable[None]]
"""Takes lines that were written, and the positions in the output up to which it had been given and now has been."""


class PlaceEnded(Exception):
    """The engine ended the place before the work was done."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.error["message"])
        self.ending = ending


class Reading:
    """What a worker has written so far, on its way to the sink. It goes on where `recorded` ended."""

    def __init__(self, task: Task, sink: Sink, recorded: Recorded) -> None:
        self.task = task
        self._sink = sink
        self._splitter = LineSplitter()
        self._base = self._position = self._delivered = recorded.position
        self.failure: dict[str, Any] | None = recorded.failure
        self.done = recorded.done
        self.heard = asyncio.get_running_loop().time()

    async def look(self) -> bool:
        """Deliver what is new; whether there was anything."""
        with self.task.stdout.open("rb") as file:
            file.seek(self._position)
            chunk = file.read(_CHUNK)
        self._position += len(chunk)
        if chunk:
            self.heard = asyncio.get_running_loop().time()
            await self._deliver(self._splitter.feed(chunk))
        return bool(chunk)

    async def rest(self) -> None:
        """Deliver all that is left of a worker that has ended."""
        while await self.look():
            pass
        await self._deliver(self._splitter.end())

    def judge(self, status: int) -> None:
        """What the end of the worker means. Raises `WorkerFailed`."""
        if self.failure is not None:
            raise WorkerFailed(self.task, self.failure)
        if status != 0 and not self.done:
            raise WorkerFailed(self.task, died(self.task, status))

    def check_silence(self) -> None:
        """Raises `WorkerFailed` when nothing was heard for too long."""
        silence = self.task.silence
        if silence is not None and asyncio.get_running_loop().time() - self.heard > silence:
            raise WorkerFailed(self.task, silent(self.task))

    async def _deliver(self, lines: list[Line]) -> None:
        if self.done:
            return  # nothing after it counts
        for number, line in enumerate(lines):
            if isinstance(line, ErrorLine) and self.failure is None:
                self.failure = line.error.model_dump(exclude_none=True)
            if isinstance(line, DoneLine):
                self.done = True
                del lines[number + 1 :]
                break
        if lines:
            end = self._base + self._splitter.consumed
            await self._sink(self.task, lines, self._delivered, end)
            self._delivered = end


async def follow(readings: Sequence[Reading], engine: Engine, handle: Handle) -> None:
    """Read until every index has ended well, or said that it is done. Raises `WorkerFailed` for the first that did
    not, and `PlaceEnded`.
    """
    going = [each for each in readings if not each.done]
    patience = 0.0
    while going:
        record = await _record(engine, handle, patience)
        patience = engine.capabilities().look
        for reading in tuple(going):
            # The engine was asked first: what it says has ended has written all that it will.
            status = record.exits.get(reading.task.index)
            if status is not None:
                await reading.rest()
                reading.judge(status)
                going.remove(reading)
                continue
            if await reading.look():
                patience = 0.0  # there may be more
            if reading.done:
                reading.judge(0)
                going.remove(reading)
            elif record.ending is None:
                reading.check_silence()
        if going and record.ending is not None:
            await last_words(going, record, record.ending)
            return


async def _record(engine: Engine, handle: Handle, patience: float) -> Record:
    try:
        return (await engine.observe([handle], patience))[handle]
    except EngineUnavailable:
        await asyncio.sleep(patience)
        return Record(Phase.WORKING)


async def last_words(readings: Sequence[Reading], record: Record, ending: Ending) -> None:
    """The place has ended: what its workers had done counts. Raises `WorkerFailed`, and `PlaceEnded` when that was not
    all of the work.
    """
    for reading in readings:
        status = record.exits.get(reading.task.index)
        if status is not None:
            await reading.rest()
            reading.judge(status)
            continue
        while await reading.look():
            pass
        if reading.failure is not None:
            raise WorkerFailed(reading.task, reading.failure)
        if not reading.done:
            raise PlaceEnded(ending)
