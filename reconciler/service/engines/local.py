"""Work on this machine: each index is a process in a process group of its own.

What a worker writes goes into files and is read from there. So it is still there when the service dies, and a worker
is never stopped by a service that is slow to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.service.engines import strays
from reconciler.service.engines.engine import Capabilities, Ending, Handle, How, Phase, Record, Work
from reconciler.service.engines.tasks import LAUNCHER, Task, environment, limits

LOOK = 0.05  # seconds between looks at what a worker has written
_GONE = Record(
    Phase.ENDED,
    ending=Ending(How.LOST, {"code": "place_lost", "message": "the service that ran it had ended"}),
)


class _Protocol(SubprocessStreamProtocol):
    """Says when the process has ended, whoever may still hold its pipe."""

    def __init__(self, loop: asyncio.AbstractEventLoop, place: _Place) -> None:
        super().__init__(limit=1 << 16, loop=loop)
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self._place = place
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._pid = transport.get_pid()

    def process_exited(self) -> None:
        super().process_exited()
        _kill_group(self._pid)  # now, while the number cannot be another group's yet
        self.ended.set()
        self._place.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


@dataclass(slots=True)
class _Process:
    index: int
    transport: asyncio.SubprocessTransport
    protocol: _Protocol


@dataclass(slots=True)
class _Place:
    folder: Path
    begun: bool = False
    processes: list[_Process] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)  # an index has ended since it was looked at

    def record(self) -> Record:
        self.news.clear()
        ended = [each for each in self.processes if each.protocol.ended.is_set()]
        exits = {each.index: status for each in ended if (status := each.transport.get_returncode()) is not None}
        return Record(Phase.WORKING if self.begun else Phase.READY, exits)


class LocalEngine:
    """Places are made at once: whoever asks has seen to it that there is room. They end with the service."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._places: dict[str, _Place] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities("local", self._slots, queues=False, outlives=False, look=LOOK)

    async def ensure(self, marker: str, attempt: int | None, work: Work) -> Handle:
        """As of every engine. Raises `OSError` when a process cannot be made; those that were are ended."""
        place = self._places.setdefault(marker, _Place(work.folder))
        handle = Handle(marker)
        if attempt is None or place.begun:
            return handle
        place.begun = True
        try:
            for task in work.tasks:
                await _start(task, place)
        except BaseException:
            await asyncio.shield(self.cancel(handle))
            raise
        return handle

    async def find(self, marker: str) -> list[Handle]:
        return [Handle(each) for each in self._places if marker in ("", each)]

    async def observe(self, handles: Sequence[Handle], patience: float = 0) -> dict[Handle, Record]:
        places = {handle: self._places.get(handle.marker) for handle in handles}
        there = [place for place in places.values() if place is not None]
        if patience and len(there) == len(handles) and not any(place.news.is_set() for place in there):
            await _any_news(there, patience)
        return {handle: place.record() if place else _GONE for handle, place in places.items()}

    async def cancel(self, handle: Handle, *, asked: bool = False) -> None:
        place = self._places.get(handle.marker)
        if place is None:
            return
        # No await before the kill: whoever cancels must not be able to keep us from it.
        for each in place.processes:
            if not each.protocol.ended.is_set():
                _kill_group(each.transport.get_pid())
        await asyncio.shield(_buried(place))
        self._places.pop(handle.marker, None)


async def _any_news(places: Sequence[_Place], patience: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            if len(places) == 1:
                await places[0].news.wait()
                return
            waits = [asyncio.ensure_future(place.news.wait()) for place in places]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()


async def _start(task: Task, place: _Place) -> None:
    loop = asyncio.get_running_loop()
    with task.stdout.open("r+b") as stdout, task.stderr.open("r+b") as stderr:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop, place),
            *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), limits(task), *task.command),
            stdout=stdout,
            stderr=stderr,
            cwd=task.work,
            env=environment(task),
            start_new_session=True,
        )
    place.processes.append(_Process(task.index, transport, protocol))
    _tell(transport, task.greeting)


async def _buried(place: _Place) -> None:
    """Wait until the system has let go of the processes, so that no signal of ours can hit a later one, and end what
    they started and put out of their groups.
    """
    for each in place.processes:
        await each.protocol.ended.wait()
        each.transport.close()  # not before: it would take the exit status away from who waits for it
        await each.protocol.gone.wait()
    if place.processes:
        await asyncio.to_thread(strays.kill, str(place.folder))


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is empty; macOS says it the second way
        os.killpg(pid, signal.SIGKILL)


def _tell(transport: asyncio.SubprocessTransport, greeting: dict[str, Any]) -> None:
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(json.dumps(greeting).encode() + b"\n")
