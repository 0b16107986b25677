"""Gives jobs to an engine with a queue of its own, and says which of them have got room there."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from reconciler.service.attempts import Attempts
from reconciler.service.engines.engine import (
    NOT_STARTED,
    Ending,
    Engine,
    EngineUnavailable,
    Handle,
    How,
    Phase,
    WorkRefused,
)
from reconciler.service.folder import DataFolder
from reconciler.service.handovers import Handover, Handovers
from reconciler.service.inputs import PinnedInput
from reconciler.service.jobs import Job, JobStatus
from reconciler.service.runs import width, work_of

_log = logging.getLogger(__name__)
_MOST_TRIES = 3  # places that a job gets when nothing can be started there
_AT_ONCE = 20  # places that are asked for between two looks at the others
_SWEEP = 50  # ticks between two looks for places that nobody knows
_ENDED_BY_ITSELF = (JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that has room, and is admitted. `handle` is the place."""

    job: Job
    inputs: list[PinnedInput]
    handover: Handover
    handle: Handle


@dataclass(slots=True)
class HandingOver:
    """The rows in the database say what is to be so; each tick makes it so. `most`: jobs of one priority, or a higher
    one, that wait at the engine at a time; the others keep waiting here.
    """

    engine: Engine
    handovers: Handovers
    attempts: Attempts
    folder: DataFolder
    capacity: int
    most: int = 200
    _handles: dict[int, Handle] = field(default_factory=dict)
    _leaving: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _tries: dict[tuple[str, int], int] = field(default_factory=dict)
    _ticks: int = 0

    async def tick(self, running: Collection[str]) -> list[Admitted]:
        """Hand over, give up, and admit. `running`: the jobs whose places somebody else looks after."""
        rows = [
            row
            for row in await asyncio.to_thread(self.handovers.all)
            if row[0].job_id not in running and row[0].number not in self._leaving
        ]
        waiting = [(each, job) for each, job in rows if job is not None and each.waits(job)]
        for handover, job in rows:
            if not handover.waits(job):
                self._give_up(handover, asked=job is None or job.status not in _ENDED_BY_ITSELF)
        waiting += await asyncio.to_thread(self._hand_over, [job for _, job in waiting])
        try:
            await self._ask_for_places(waiting)
            admitted = await self._admit(waiting)
            await self._sweep(rows)
        except EngineUnavailable as error:
            _log.warning("the engine does not answer, trying again: %s", error)
            return []
        return admitted

    def _hand_over(self, waiting: Sequence[Job]) -> list[tuple[Handover, Job]]:
        self.attempts.end_waits()
        chosen: list[Job] = []
        for job in self.handovers.next(self.most):
            before = sum(each.priority >= job.priority for each in (*waiting, *chosen))
            if before < self.most:
                chosen.append(job)
        return self.handovers.add(chosen, self._width) if chosen else []

    def _width(self, job: Job) -> int:
        return width(job, self.attempts.pipeline(job), self.attempts.inputs(job), self.capacity)

    async def _ask_for_places(self, waiting: Sequence[tuple[Handover, Job]]) -> None:
        new = [row for row in waiting if row[0].number not in self._handles]
        for handover, job in new[:_AT_ONCE]:
            place = self.folder.place(handover.marker)
            work = work_of(job, self.attempts.pipeline(job), handover.indexes, place)
            try:
                handle = await self.engine.ensure(handover.marker, None, work)
            except WorkRefused as refusal:
                await asyncio.to_thread(self._fail, handover, job, refusal.error)
                continue
            self._handles[handover.number] = handle
            message = f"waits as job {handle.id} of {self.engine.capabilities().name}"
            await asyncio.to_thread(self.attempts.note, job, "handed_over", message)

    async def _admit(self, waiting: Sequence[tuple[Handover, Job]]) -> list[Admitted]:
        placed = [(each, job, self._handles[each.number]) for each, job in waiting if each.number in self._handles]
        records = await self.engine.observe([handle for _, _, handle in placed]) if placed else {}
        admitted = []
        for handover, job, handle in placed:
            record = records[handle]
            if record.ending is not None:
                await self._ended(handover, job, record.ending)
            elif record.phase is not Phase.WAITING:
                found = await asyncio.to_thread(self.attempts.admit, job, handover.number)
                self._tries.pop((job.id, job.attempt), None)
                if found is not None:
                    now = Handover(handover.number, job.id, handover.ticket, handover.indexes, found[0].attempt)
                    admitted.append(Admitted(*found, now, handle))
        return admitted

    async def _ended(self, handover: Handover, job: Job, ending: Ending) -> None:
        """The place ended before any work was begun there."""
        if ending.how is How.CANCELLED:
            await asyncio.to_thread(self.attempts.cancelled, job, ending.error["message"])
            return
        code = ending.error["code"]
        tries = self._tries[job.id, job.attempt] = self._tries.get((job.id, job.attempt), 0) + (code == NOT_STARTED)
        if ending.how is How.FAILED or tries >= _MOST_TRIES:
            await asyncio.to_thread(self._fail, handover, job, ending.error)
        else:
            _log.warning("job %s gets another place: %s", job.id, ending.error["message"])
            self._give_up(handover)

    def _fail(self, handover: Handover, job: Job, error: dict[str, object]) -> None:
        self._tries.pop((job.id, job.attempt), None)
        found = self.attempts.admit(job, handover.number)
        if found is not None:
            self.attempts.end(found[0], error)

    def _give_up(self, handover: Handover, *, asked: bool = False) -> None:
        if handover.number not in self._leaving:
            handle = self._handles.pop(handover.number, Handle(handover.marker))
            task = asyncio.get_running_loop().create_task(self._leave(handover, handle, asked=asked))
            self._leaving[handover.number] = task

    async def _leave(self, handover: Handover, handle: Handle, *, asked: bool) -> None:
        try:
            await self.engine.cancel(handle, asked=asked)
            await asyncio.to_thread(shutil.rmtree, self.folder.place(handover.marker), ignore_errors=True)
            await asyncio.to_thread(self.handovers.remove, handover)
        except EngineUnavailable as error:
            _log.warning("the place of job %s cannot be given up yet: %s", handover.job_id, error)
        except (OSError, sqlite3.Error):
            _log.exception("the place of job %s cannot be given up yet", handover.job_id)
        finally:
            self._leaving.pop(handover.number, None)

    async def _sweep(self, rows: Sequence[tuple[Handover, Job | None]]) -> None:
        """Give up places that no row is about: the engine had them twice, or did not hear that they were given up."""
        self._ticks += 1
        if self._ticks % _SWEEP:
            return
        found = await self.engine.find("")
        known = {each.marker for each, _ in await asyncio.to_thread(self.handovers.all)}
        for handle in found:
            if handle.marker not in known:
                await self.engine.cancel(handle)

    async def stop(self) -> None:
        """Leave all places as they are."""
        for task in tuple(self._leaving.values()):
            task.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
