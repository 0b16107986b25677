"""The queue: which job runs when. One process at a time does this for a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from dataclasses import dataclass

from reconciler.service.attempts import Attempts, Superseded
from reconciler.service.engines.engine import Engine, Handle
from reconciler.service.files import Files
from reconciler.service.folder import DataFolder, SchedulerLock
from reconciler.service.handing import Admitted, HandingOver
from reconciler.service.handovers import Handover, Handovers
from reconciler.service.inputs import PinnedInput
from reconciler.service.jobs import Job
from reconciler.service.recovery import greeted, recover, take_up
from reconciler.service.runs import NOT_WANTED, Run, carry_out, width
from reconciler.service.uploads import Uploads

_log = logging.getLogger(__name__)
_STOPS = "the service stops"
POLL = 0.2  # seconds until what another process wrote is noticed


@dataclass(slots=True)
class _Running:
    run: Run
    task: asyncio.Task[None]
    number: int  # counts starts
    ending: bool = False
    preempted: str | None = None  # why

    def end(self, *, preempted: str | None = None) -> None:
        """Kill its workers. With `preempted`, the reason, the job waits again; without, its user does not want it.

        A second cancel would break into the clean-up after the first.
        """
        if not self.ending:
            self.ending = True
            self.preempted = preempted
            self.task.cancel(None if preempted else NOT_WANTED)


class Scheduler:
    """Runs queued jobs in the order of the queue, on `capacity` slots; each index of a job takes one.

    An engine with a queue of its own is given the jobs that wait, and says when there is room. With any other:
    Nothing overtakes the job whose turn it is. When it has a higher priority than jobs that run, and room can be made
    so, those are preempted: the lowest priority first, and of equals the one that was started last.
    """

    def __init__(
        self,
        *,
        folder: DataFolder,
        attempts: Attempts,
        files: Files,
        uploads: Uploads,
        lock: SchedulerLock,
        capacity: int,
        engine: Engine,
        handovers: Handovers,
    ) -> None:
        self._engine = engine
        self._handovers = handovers
        self._handing = HandingOver(engine, handovers, attempts, folder, capacity)
        self._folder = folder
        self._attempts = attempts
        self._files = files
        self._uploads = uploads
        self._lock = lock
        self._capacity = capacity
        self._running: dict[str, _Running] = {}
        self._broken: list[tuple[Job, BaseException]] = []
        self._killed: list[_Running] = []
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._started = 0

    def wake(self) -> None:
        """Look at the queue now; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        """Make `run` come to its end. It is asked, not cancelled, so that no step is left half recorded."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Wait for the lock, then schedule until `stop`. Then running jobs are killed and become PREEMPTED, if the
        engine's work does not outlive the service.
        """
        self._loop = asyncio.get_running_loop()
        while not self._lock.acquire():
            if self._stopping:
                return
            await self._pause()
        try:
            adopted = await asyncio.to_thread(self._take_up)
            for handover, job in adopted:
                await self._adopt(handover, job)
            while not self._stopping:
                await self._tick()
                await self._pause()
        finally:
            self._loop = None
            await self._handing.stop()
            await (self._leave_all() if self._outlives else self._preempt_all())
            self._lock.release()

    @property
    def _outlives(self) -> bool:
        return self._engine.capabilities().outlives

    def _take_up(self) -> list[tuple[Handover, Job]]:
        """Put right what an earlier service left; the jobs that still work where it handed them over."""
        rows = self._handovers.all()
        if not self._outlives:
            for handover, _ in rows:
                self._handovers.remove(handover)
            rows = []
        adopted = [(handover, job) for handover, job in rows if job is not None and handover.works(job)]
        recover(
            self._folder,
            self._attempts,
            places=None if not self._outlives else {handover.marker for handover, _ in rows},
            working={job.id for _, job in adopted},
        )
        self._uploads.sweep()
        self._files.sweep()
        return adopted

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), POLL)
        except TimeoutError:
            return
        self._woken.clear()

    async def _tick(self) -> None:
        try:
            await self._end_superseded()
            await self._fail_broken()
            await self._settle_killed()
            await asyncio.to_thread(self._attempts.requeue)
            if self._engine.capabilities().queues:
                for each in await self._handing.tick(self._busy()):
                    await self._begin(each)
                return
            while await self._admit_next():
                pass
        except sqlite3.OperationalError:
            _log.exception("the database could not be used; trying again")

    async def _admit_next(self) -> bool:
        """Start the job whose turn it is; False when there is none, or no room for it now."""
        job = await asyncio.to_thread(self._attempts.head)
        if job is None or job.id in self._running or any(each.run.job.id == job.id for each in self._killed):
            return False  # cancelled and retried: the earlier attempt has to be gone first
        if self.free <= 0 and all(each.run.job.priority >= job.priority for each in self._running.values()):
            return False
        inputs = await asyncio.to_thread(self._attempts.inputs, job)
        needed = width(job, self._attempts.pipeline(job), inputs, self._capacity) - self.free
        if needed > 0:
            for victim in self._victims(job, needed):
                victim.end(preempted="a job of a higher priority needs its slots")
            return False
        admitted = await asyncio.to_thread(self._attempts.admit, job)
        if admitted is not None:
            await self._start(*admitted)
        return True

    def _victims(self, job: Job, needed: int) -> list[_Running]:
        """Whom to preempt so that `needed` more slots come free for `job`; nobody when that does not suffice.

        Slots of runs that are being ended already count as free: they come without further harm.
        """
        lower = [each for each in self._running.values() if each.run.job.priority < job.priority and not each.ending]
        lower.sort(key=lambda each: (each.run.job.priority, -each.number))
        needed -= sum(each.run.indexes for each in (*self._running.values(), *self._killed) if each.ending)
        chosen = []
        for each in lower:
            if needed <= 0:
                break
            chosen.append(each)
            needed -= each.run.indexes
        return chosen if needed <= 0 else []

    @property
    def at_work(self) -> bool:
        """Whether this process runs the jobs: it has the lock, and `run` has not been stopped and has not broken."""
        return self._loop is not None and self._lock.held and not self._stopping

    @property
    def capacity(self) -> int:
        """Slots in all."""
        return self._capacity

    @property
    def free(self) -> int:
        """Slots that nothing runs on. What was killed keeps its own until that is recorded."""
        return self._capacity - sum(each.run.indexes for each in (*self._running.values(), *self._killed))

    def _busy(self) -> set[str]:
        return {*self._running, *(each.run.job.id for each in self._killed)}

    async def _begin(self, admitted: Admitted) -> None:
        await self._start(admitted.job, admitted.inputs, admitted.handle, admitted.handover.indexes)

    async def _adopt(self, handover: Handover, job: Job) -> None:
        inputs = await asyncio.to_thread(self._attempts.inputs, job)
        told = await asyncio.to_thread(greeted, self._folder.place(handover.marker))
        if told is None:  # so nothing has begun
            inputs = await asyncio.to_thread(self._attempts.given, job)
        else:  # also those that have been completed since
            inputs = [each for each in inputs if each.id in told]
        await self._start(job, inputs, Handle(handover.marker), handover.indexes)

    async def _start(
        self, job: Job, inputs: list[PinnedInput], handle: Handle | None = None, indexes: int | None = None
    ) -> None:
        pipeline = self._attempts.pipeline(job)
        handle = handle or Handle(f"{job.id}-{job.attempt}")
        resume = pipeline is not None and pipeline.definition.resume
        run = Run(
            job=job,
            pipeline=pipeline,
            inputs=tuple(inputs),
            indexes=width(job, pipeline, inputs, indexes or self._capacity),
            folder=self._folder.place(handle.marker),
            handle=handle,
            checkpoints=await asyncio.to_thread(self._attempts.checkpoints, job) if resume else [],
        )
        leaving = lambda: self._stopping and self._outlives  # noqa: E731 - as short as it can be said
        task = asyncio.create_task(carry_out(run, self._attempts, self._engine, leaving=leaving))
        self._started += 1
        self._running[job.id] = _Running(run, task, self._started)
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        ended = self._running.pop(job.id)
        self._woken.set()
        if ended.task.cancelled():
            self._killed.append(ended)
            return
        shutil.rmtree(ended.run.folder, ignore_errors=True)
        if error := ended.task.exception():
            _log.error("the run of job %s broke", job.id, exc_info=error)
            self._broken.append((job, error))

    async def _fail_broken(self) -> None:
        """A run that ended in an error of ours (a full disk, a bug) must not leave its job RUNNING."""
        while self._broken:
            job, error = self._broken[0]
            cause = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
            fault = {
                "code": "internal_error",
                "message": f"the service could not run the job: {type(cause).__name__}: {cause}",
                "suggestion": "see the log of the service, then retry the job",
            }
            with contextlib.suppress(Superseded):
                await asyncio.to_thread(self._attempts.end, job, fault)
            self._broken.pop(0)

    async def _end_superseded(self) -> None:
        jobs = [each.run.job for each in self._running.values()]
        for job in await asyncio.to_thread(self._attempts.superseded, jobs):
            if job.id in self._running:
                self._running[job.id].end()

    async def _settle_killed(self) -> None:
        """What killed workers had written counts: a job that was done by then is COMPLETED, and not PREEMPTED."""
        while self._killed:
            await asyncio.to_thread(self._settle, self._killed[0])
            self._killed.pop(0)  # others may have come behind it meanwhile

    def _settle(self, killed: _Running) -> None:
        take_up(killed.run.job, killed.run.folder, self._attempts)
        if killed.preempted:
            self._attempts.preempt(killed.run.job, killed.preempted)
        shutil.rmtree(killed.run.folder, ignore_errors=True)

    async def _preempt_all(self) -> None:
        running = list(self._running.values())
        for each in running:
            each.end(preempted=_STOPS)
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)
        await self._settle_killed()
        await asyncio.to_thread(self._attempts.preempt_active, _STOPS)

    async def _leave_all(self) -> None:
        """Stop looking at what runs; it goes on, and is taken up by the next start."""
        running = list(self._running.values())
        for each in running:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)
