"""Work on a Slurm cluster: a place is a Slurm job, and a supervisor in it starts the indexes.

The service's database is the truth, and what Slurm says is a report on it. Slurm may lose a job that it has
acknowledged, give the id to another, start one twice, and be away; so:

* A job is submitted held, with its marker in the comment. Only a job whose id came back, or that was found by its
  marker, is released. A submission of which nobody knows whether it went through can therefore not run unseen.
* A job is ours when both its id and its marker are.
* The supervisor claims the place before anything else, and begins when the service has seen that and admitted the
  job. A second start finds the claim and ends.
* An attempt is a Slurm job of its own (`--no-requeue`): when Slurm ends it, the service decides what follows.
* What has been given up is revoked in the shared folder, which reaches also what Slurm has lost sight of.

All indexes of a job are one Slurm job, a gang: they start and end together, as the service promises, and there is one
id, one state and one place in the queue to look at. An array would be as many jobs as indexes, each with its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.service.engines import places, slurmcommands
from reconciler.service.engines.engine import (
    Capabilities,
    Ending,
    EngineUnavailable,
    Handle,
    Phase,
    Record,
    Work,
    WorkRefused,
)
from reconciler.service.engines.slurmcommands import TERMINAL, CommandFailed, SlurmJob
from reconciler.service.engines.slurmstates import ended_early, impossible, lost
from reconciler.service.engines.tasks import Task, environment, limits

_log = logging.getLogger(__name__)
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_FRESH = 1.0  # seconds that what Slurm said is good for
_LOOK = 0.25  # seconds between looks at the files
_TROUBLE = 300.0  # seconds after the start of its controller in which Slurm cancels jobs by itself
_LATE = 5.0  # seconds that a file may take from the machine that wrote it to this one
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What whoever starts the service may choose. `partitions`: from which priority on jobs go to which partition;
    none: to the cluster's default. `lease`: seconds without a sign of life after which a supervisor is given up.
    `extra`: more options of `sbatch`.
    """

    partitions: tuple[tuple[int, str], ...] = ()
    account: str | None = None
    extra: tuple[str, ...] = ()
    lease: float = 30.0

    def partition(self, priority: int) -> str | None:
        """Where a job of this priority goes; the lowest one takes all that are below it."""
        if not self.partitions:
            return None
        ordered = sorted(self.partitions)
        return next((name for least, name in reversed(ordered) if priority >= least), ordered[0][1])


@dataclass(slots=True)
class _Beats:
    """When each sign of life last changed, by this machine's clock."""

    seen: dict[Path, tuple[str, float]] = field(default_factory=dict)

    def age(self, path: Path) -> float | None:
        """Seconds since it changed; None when there never was one."""
        try:
            content = path.read_text()
        except OSError:
            content = ""
        before = self.seen.get(path)
        now = time.monotonic()
        if before is None and not content:
            return None
        if before is None or (content and content != before[0]):
            self.seen[path] = (content, now)
            return 0.0
        return now - before[1]


class SlurmEngine:
    """Places on a cluster. `owner`: what the markers of this service begin with, so that several services can share
    a cluster; `runs`: where places have their folders; `since`: when this service first used a cluster, in POSIX time.
    """

    def __init__(
        self, options: SlurmOptions, *, owner: str, runs: Path, slots: int, since: float | None = None
    ) -> None:
        self._since = time.time() if since is None else since
        self._options = options
        self._prefix = f"reconciler/{owner}/"
        self._runs = runs
        self._slots = slots
        self._ids: dict[str, str] = {}
        self._submitted: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._jobs: dict[str, list[SlurmJob]] = {}
        self._asked = float("-inf")  # when Slurm was asked for what is in `_jobs`
        self._failed = float("-inf")
        self._booted = 0.0  # POSIX time
        self._asking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._beats = _Beats()
        self._over: set[str] = set()  # supervisors that have ended; their folders may be gone

    def capabilities(self) -> Capabilities:
        return Capabilities("slurm", self._slots, queues=True, outlives=True, look=_LOOK)

    async def ensure(self, marker: str, attempt: int | None, work: Work) -> Handle:
        if attempt is not None:
            await asyncio.to_thread(_grant, work, attempt)
            return Handle(marker, self._ids.get(marker, ""))
        if marker not in self._ids:
            await self._refresh()
            if self._job(marker) is None:
                if (work.folder / places.CLAIM).exists():
                    return Handle(marker)  # it was started, and Slurm has forgotten it
                self._ids[marker] = await self._submit_or_hear_why(marker, work)
                self._submitted[marker] = time.monotonic()
        await self._release(marker)
        return Handle(marker, self._ids[marker])

    async def _release(self, marker: str) -> None:
        """Let Slurm start it, when it is held."""
        job = self._job(marker)
        if job is None or job.held:
            try:
                await slurmcommands.run("scontrol", "release", self._ids[marker])
            except CommandFailed:
                del self._ids[marker]  # Slurm may have lost it in the meantime: look again
                self._asked = float("-inf")
                raise

    async def _submit_or_hear_why(self, marker: str, work: Work) -> str:
        """The id of the new job. Slurm has refused it when it says so twice and is well in between: while a controller
        dies, sbatch may say anything. Raises `WorkRefused`, and `EngineUnavailable` when nobody knows.
        """
        try:
            return await self._submit(marker, work)
        except WorkRefused:
            self._asked = float("-inf")
            await self._refresh()
        job = self._job(marker)
        return await self._submit(marker, work) if job is None else job.id

    async def _submit(self, marker: str, work: Work) -> str:
        await asyncio.to_thread(work.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-I", "-S", str(_SUPERVISOR), "batch", str(work.folder), str(self._options.lease)]
        script = f"#!/bin/sh\nexec {shlex.join(command)}\n"
        return await slurmcommands.submit(self._sbatch_options(marker, work), script)

    def _sbatch_options(self, marker: str, work: Work) -> list[str]:
        log = str(work.folder / "supervisor.log").replace("\\", "\\\\").replace("%", "%%")
        options = [f"--ntasks={work.indexes}", "--cpus-per-task=1"]
        if work.resources.memory_mb is not None:
            options.append(f"--mem-per-cpu={work.resources.memory_mb}M")
        if work.timeout is not None:  # the service's own limit comes first
            options.append(f"--time={math.ceil(work.timeout / 60) + 1}")
        if partition := self._options.partition(work.priority):
            options.append(f"--partition={partition}")
        if self._options.account:
            options.append(f"--account={self._options.account}")
        options += self._options.extra  # of two that say the same, the later one counts
        return [
            *options,
            "--hold",
            "--export=NONE",
            "--no-requeue",
            f"--comment={self._prefix}{marker}",
            f"--job-name={_NAME.sub('_', work.name)[:60] or 'job'}",
            f"--chdir={work.folder}",
            f"--output={log}",
            "--open-mode=append",
        ]

    async def find(self, marker: str) -> list[Handle]:
        await self._refresh()
        wanted = [marker] if marker else list(self._jobs)
        return [
            Handle(each, job.id) for each in wanted for job in self._jobs.get(each, ()) if job.state not in TERMINAL
        ]

    async def observe(self, handles: Sequence[Handle], patience: float = 0) -> dict[Handle, Record]:
        # Slurm is asked on the side: the files say how far work is, also while it does not answer
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._look_around())
        await asyncio.sleep(patience)
        return await asyncio.to_thread(lambda: {handle: self._record(handle.marker) for handle in handles})

    async def cancel(self, handle: Handle, *, asked: bool = False) -> None:
        marker, folder = handle.marker, self._runs / handle.marker
        await asyncio.to_thread(_revoke, folder, asked=asked)
        begin = time.monotonic()
        while not await asyncio.to_thread(self._quiet, marker):
            if time.monotonic() - begin > _LATE:  # a supervisor that lives has ended by itself before that
                with suppress(EngineUnavailable):
                    await self._scancel(marker)
            await asyncio.sleep(_LOOK)
            with suppress(EngineUnavailable):
                await self._refresh()
        if (folder / places.OVER).exists() and not asked:
            self._over.add(marker)
        with suppress(EngineUnavailable):  # what is still in its queue would end by itself, but need not wait for that
            await self._scancel(marker)
        for known in (self._ids, self._submitted, self._ended):
            known.pop(marker, None)
        for path in list(self._beats.seen):
            if folder in path.parents:
                self._beats.seen.pop(path, None)

    async def _scancel(self, marker: str) -> None:
        if self._submitted.get(marker, 0.0) > self._asked:
            self._asked = float("-inf")  # what it said then cannot have it
        await self._refresh()
        for job in self._jobs.get(marker, ()):
            ends = marker in self._over and job.state != "PENDING"  # by itself, and well
            if job.state not in TERMINAL and not ends:
                await slurmcommands.run("scancel", job.id)

    async def _look_around(self) -> None:
        """Ask Slurm, and release again what is held: a controller that died may have forgotten that it was not."""
        with suppress(EngineUnavailable):
            await self._refresh()
            for marker in list(self._ids):
                job = self._job(marker)
                if job is not None and job.held and self._asked > self._submitted.get(marker, 0.0):
                    await self._release(marker)

    async def _refresh(self) -> None:
        """Ask Slurm for all jobs, unless what it said is fresh. Raises `EngineUnavailable`."""
        async with self._asking:
            began = time.monotonic()
            if began - self._asked < _FRESH:
                return
            if began - self._failed < _FRESH:
                raise EngineUnavailable("Slurm did not answer a moment ago")
            found: dict[str, list[SlurmJob]] = {}
            try:
                jobs = await slurmcommands.jobs()
                ours = [job for job in jobs if job.comment.startswith(self._prefix)]
                if any(job.state == "CANCELLED" for job in ours):
                    self._booted = await slurmcommands.boot_time()
            except EngineUnavailable:
                self._failed = time.monotonic()
                raise
            for job in ours:
                found.setdefault(job.comment.removeprefix(self._prefix), []).append(job)
            for same in found.values():
                same.sort(key=lambda job: (job.state in TERMINAL, int(job.id)))
            self._jobs, self._asked = found, began
            self._over &= found.keys()

    def _job(self, marker: str) -> SlurmJob | None:
        """The job of the place, if both its id and its marker are as we know them."""
        jobs = self._jobs.get(marker, [])
        if jobs and marker not in self._ids:  # as after a start of the service
            owner = places.read(self._runs / marker / places.OWNER)
            self._ids[marker] = owner["id"] if owner else jobs[0].id
        return next((job for job in jobs if job.id == self._ids[marker]), None)

    def _gone(self, marker: str) -> bool:
        """Whether Slurm was asked since the job was submitted, and does not know it."""
        return self._job(marker) is None and self._asked > self._submitted.get(marker, 0.0)

    def _record(self, marker: str) -> Record:
        folder = self._runs / marker
        job = self._job(marker)
        if not (folder / places.OWNER).exists():
            if self._gone(marker):
                return Record(Phase.ENDED, ending=lost(job, "Slurm no longer knows it"))
            if job is not None and job.state in TERMINAL and self._late(marker):
                return Record(Phase.ENDED, ending=self._why(job, folder))
            if job is not None and job.impossible and self._late(marker):
                return Record(Phase.ENDED, ending=impossible(job))
            return Record(Phase.WAITING)
        granted = (folder / places.GRANTED).exists()
        exits = _exits(folder)
        over = places.read(folder / places.OVER)
        ended = over is not None or self._gone(marker) or (job is not None and job.state in TERMINAL)
        if not ended and not (job is not None and job.state == "SUSPENDED") and self._silent(folder):
            return Record(Phase.ENDED, exits, lost(job, f"no sign of life for {self._options.lease:g} seconds"))
        if not ended:
            return Record(Phase.WORKING if granted else Phase.READY, exits)
        # It may take a moment until what was written there, and what Slurm made of it, are seen here.
        settled = self._late(marker) or (job is not None and job.state in TERMINAL and over is not None)
        if not settled:
            return Record(Phase.WORKING if granted else Phase.WAITING, exits)
        return Record(Phase.ENDED, exits, self._why(job, folder) if job else lost(job, "Slurm no longer knows it"))

    def _why(self, job: SlurmJob, folder: Path) -> Ending:
        restarted = self._booted > self._since and time.time() - self._booted < _TROUBLE
        return ended_early(job, folder, troubled=restarted)

    def _late(self, marker: str) -> bool:
        """Whether it was first seen to have ended so long ago that nothing more is to come."""
        return time.monotonic() - self._ended.setdefault(marker, time.monotonic()) > _LATE

    def _silent(self, folder: Path) -> bool:
        """Whether the supervisor has given no sign of life for too long."""
        age = self._beats.age(folder / places.CLAIM / places.BEAT)
        return age is not None and age > self._options.lease

    def _quiet(self, marker: str) -> bool:
        """Whether nothing works at a place that has been revoked, nor can."""
        folder = self._runs / marker
        if not (folder / places.CLAIM).exists():
            return True  # who starts now finds that it is revoked
        job = self._job(marker)
        if job is not None and job.state in TERMINAL and job.state != "NODE_FAIL" and "COMPLETING" not in job.flags:
            return True  # Slurm has ended all processes
        beats = {folder / places.CLAIM / places.BEAT: folder / places.OVER}
        beats |= {each / places.BEAT: each / places.ENDED for each in folder.glob("[0-9]*")}
        return all(self._still(beat, end) for beat, end in beats.items())

    def _still(self, beat: Path, end: Path) -> bool:
        age = self._beats.age(beat)
        return end.exists() or age is None or age > self._options.lease


def _grant(work: Work, attempt: int) -> None:
    """Let the supervisor begin, once."""
    if (work.folder / places.GRANTED).exists():
        return
    for task in work.tasks:
        places.write(task.folder / places.START, _start(task))
    places.write(work.folder / places.GRANTED, {"attempt": attempt, "indexes": len(work.tasks)})


def _start(task: Task) -> dict[str, object]:
    return {
        "command": task.command,
        "limits": limits(task),
        "environment": environment(task),
        "greeting": task.greeting,
    }


def _revoke(folder: Path, *, asked: bool) -> None:
    with suppress(FileNotFoundError):  # then there is nothing to revoke
        places.write(folder / places.REVOKED, {"asked": asked})


def _exits(folder: Path) -> dict[int, int]:
    ends = {int(path.parent.name): places.read(path) for path in folder.glob(f"[0-9]*/{places.ENDED}")}
    return {index: end["status"] for index, end in ends.items() if end is not None and not end["stopped"]}
