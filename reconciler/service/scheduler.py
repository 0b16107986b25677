"""The queue: which job runs when. One process at a time does this for a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from dataclasses import dataclass

from reconciler.service.attempts import Attempts, PinnedInput, Superseded
from reconciler.service.files import Files
from reconciler.service.folder import DataFolder, SchedulerLock
from reconciler.service.jobs import Job
from reconciler.service.registry import Pipeline, Registry
from reconciler.service.runs import Run, carry_out, width
from reconciler.service.uploads import Uploads

_log = logging.getLogger(__name__)
POLL = 0.2  # seconds until what another process wrote is noticed


@dataclass(frozen=True, slots=True)
class _Running:
    run: Run
    task: asyncio.Task[None]


class Scheduler:
    """Runs queued jobs, first in first out, on `capacity` slots; each index of a job takes one."""

    def __init__(
        self,
        *,
        folder: DataFolder,
        attempts: Attempts,
        files: Files,
        uploads: Uploads,
        registry: Registry,
        lock: SchedulerLock,
        capacity: int,
    ) -> None:
        self._folder = folder
        self._attempts = attempts
        self._files = files
        self._uploads = uploads
        self._registry = registry
        self._lock = lock
        self._capacity = capacity
        self._running: dict[str, _Running] = {}
        self._broken: list[tuple[Job, BaseException]] = []
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    def wake(self) -> None:
        """Look at the queue now; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        """Make `run` come to its end. It is asked, not cancelled, so that no step is left half recorded."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Wait for the lock, then schedule until `stop`; then running jobs are killed and become PREEMPTED."""
        self._loop = asyncio.get_running_loop()
        while not self._lock.acquire():
            if self._stopping:
                return
            await self._pause()
        try:
            await asyncio.to_thread(self._take_up)
            while not self._stopping:
                await self._tick()
                await self._pause()
        finally:
            self._loop = None
            await self._preempt_all()
            self._lock.release()

    def _take_up(self) -> None:
        for path in self._folder.runs.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        self._uploads.sweep()
        self._files.sweep()
        self._attempts.recover()

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
            while self._free() > 0 and await asyncio.to_thread(self._attempts.waiting):
                admitted = await asyncio.to_thread(self._attempts.admit, self._fits)
                if admitted is None:
                    return
                self._start(*admitted)
        except sqlite3.OperationalError:
            _log.exception("the database could not be used; trying again")

    def _pipeline(self, job: Job) -> Pipeline | None:
        return self._registry.find(job.pipeline_key, job.pipeline_version)

    def _fits(self, job: Job, inputs: list[PinnedInput]) -> bool:
        if job.id in self._running:
            return False  # cancelled and retried: the earlier attempt has to be gone first
        return width(job, self._pipeline(job), inputs, self._capacity) <= self._free()

    def _free(self) -> int:
        # A copy, since this runs in a thread while jobs may end in the loop.
        return self._capacity - sum(each.run.indexes for each in list(self._running.values()))

    def _start(self, job: Job, inputs: list[PinnedInput]) -> None:
        pipeline = self._pipeline(job)
        run = Run(
            job=job,
            pipeline=pipeline,
            inputs=tuple(inputs),
            indexes=width(job, pipeline, inputs, self._capacity),
            folder=self._folder.runs / f"{job.id}-{job.attempt}",
        )
        task = asyncio.create_task(carry_out(run, self._attempts))
        self._running[job.id] = _Running(run, task)
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        ended = self._running.pop(job.id)
        self._woken.set()
        if not ended.task.cancelled() and (error := ended.task.exception()):
            _log.error("the run of job %s broke", job.id, exc_info=error)
            self._broken.append((job, error))

    async def _fail_broken(self) -> None:
        """A run that ended in an error of ours (a full disk, a bug) must not leave its job RUNNING."""
        while self._broken:
            job, error = self._broken[-1]
            cause = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
            fault = {
                "code": "internal_error",
                "message": f"the service could not run the job: {type(cause).__name__}: {cause}",
                "suggestion": "see the log of the service, then retry the job",
            }
            with contextlib.suppress(Superseded):
                await asyncio.to_thread(self._attempts.fail, job, fault)
            self._broken.pop()

    async def _end_superseded(self) -> None:
        jobs = [each.run.job for each in self._running.values()]
        for job in await asyncio.to_thread(self._attempts.superseded, jobs):
            if job.id in self._running:
                self._running[job.id].task.cancel()

    async def _preempt_all(self) -> None:
        tasks = [each.task for each in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._attempts.preempt_active)
