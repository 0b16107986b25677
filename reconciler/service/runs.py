"""One attempt at one job, from admission to its end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reconciler.service.attempts import Attempts, Superseded
from reconciler.service.contents import EscapingOutput
from reconciler.service.definition import Resources
from reconciler.service.diskfaults import disk_fault
from reconciler.service.engines.engine import Ending, Engine, EngineUnavailable, Handle, How, Work, WorkRefused
from reconciler.service.engines.tasks import Task, WorkerFailed, prepare
from reconciler.service.following import PlaceEnded, Reading, Sink, follow, last_words
from reconciler.service.inputs import PinnedInput
from reconciler.service.jobs import Job, JobStatus
from reconciler.service.protocol import Line
from reconciler.service.recording import Speaker, invalid_output
from reconciler.service.registry import Pipeline
from reconciler.service.threads import to_its_end

_log = logging.getLogger(__name__)
PROTOCOL = 1
NOT_WANTED = "its user does not want it any more"  # what the task of such a run is cancelled with
ENGINE_PAUSE = 1.0  # seconds until an engine that gave no answer is asked again
DISK_PAUSE = 0.5  # seconds until a disk that could not be used is tried again
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """What one attempt consists of. `handle` is the place where it works, `folder` that place's own."""

    job: Job
    pipeline: Pipeline | None
    inputs: tuple[PinnedInput, ...]
    indexes: int
    folder: Path
    handle: Handle
    checkpoints: list[dict[str, Any]] = field(default_factory=list)


def width(job: Job, pipeline: Pipeline | None, inputs: Sequence[PinnedInput], capacity: int) -> int:
    """How many indexes the job gets: no more than asked for, than there is room, than there are inputs to share."""
    if pipeline is None:
        return 1
    ports = pipeline.definition.inputs
    shared = sum(1 for each in inputs if each.port_name in ports and ports[each.port_name].distribute == "scatter")
    asked = int(job.parameters[pipeline.component]["parallelism"])
    return min(asked, capacity, max(1, shared))


def share(pipeline: Pipeline, inputs: Sequence[PinnedInput], indexes: int) -> list[list[PinnedInput]]:
    """The inputs of each index: those of scattered ports dealt out in turn, those of replicated ports for all."""
    shares: list[list[PinnedInput]] = [[] for _ in range(indexes)]
    dealt = 0
    for each in inputs:
        if pipeline.definition.inputs[each.port_name].distribute == "replicate":
            for one in shares:
                one.append(each)
        else:
            shares[dealt % indexes].append(each)
            dealt += 1
    return shares


async def insist(write: Callable[..., T], *args: Any) -> T:
    """`write(*args)`, in a thread, again and again while the disk is full or cannot be used.

    What workers have said lies in files meanwhile, so nothing is lost by waiting.
    """
    while True:
        try:
            return await to_its_end(asyncio.to_thread(write, *args))
        except (sqlite3.Error, OSError) as error:
            if disk_fault(error) is None:
                raise
            _log.exception("what a job does cannot be recorded; trying again")
            await asyncio.sleep(DISK_PAUSE)


async def carry_out(run: Run, attempts: Attempts, engine: Engine, *, leaving: Callable[[], bool]) -> None:
    """Run all indexes and record how it ended. When cancelled, the workers are killed and nothing is recorded; they
    are left alone if `leaving` says so then.

    What they wrote stays in the run's folder, for `recovery.take_up`.
    """
    with suppress(Superseded):
        if run.job.status is JobStatus.ADMITTED:
            await insist(attempts.begin, run.job)
        if run.pipeline is None:
            await insist(attempts.end, run.job, _no_pipeline(run.job))
        else:
            await _run_indexes(run, run.pipeline, attempts, engine, leaving)


async def _run_indexes(
    run: Run, pipeline: Pipeline, attempts: Attempts, engine: Engine, leaving: Callable[[], bool]
) -> None:
    shares = share(pipeline, run.inputs, run.indexes)
    if _nothing_left(pipeline, run):
        shares = []  # an earlier attempt had done all of it
    tasks = [_task(run, pipeline, index, inputs) for index, inputs in enumerate(shares)]
    limit = pipeline.definition.timeout_seconds
    try:
        async with asyncio.timeout(None if limit is None else limit - attempts.elapsed(run.job)):
            await _work(run, pipeline, tasks, attempts, engine, leaving)
    except WorkerFailed as failure:
        blamed = [item["id"] for items in failure.task.greeting["inputs"].values() for item in items]
        await insist(attempts.end, run.job, failure.error, blamed)
    except TimeoutError:
        await insist(attempts.end, run.job, _too_long(limit or 0))
    except WorkRefused as refusal:
        await insist(attempts.end, run.job, refusal.error)
    except PlaceEnded as end:
        await insist(place_ended, run.job, end.ending, attempts)
    else:
        await insist(attempts.end, run.job, None)


async def _work(
    run: Run,
    pipeline: Pipeline,
    tasks: list[Task],
    attempts: Attempts,
    engine: Engine,
    leaving: Callable[[], bool],
) -> None:
    """Let the indexes work, until all have ended well. Whatever happens, nothing of them works afterwards."""
    ended: PlaceEnded | None = None
    asked = False
    try:
        tasks = [await insist(prepare, task) for task in tasks]
        if tasks:
            await _ensure(engine, run, work_of(run.job, pipeline, run.indexes, run.folder, tasks))
        readings = [
            Reading(task, sink(run.job, pipeline, task, attempts), await insist(attempts.recorded, run.job, task.index))
            for task in tasks
        ]
        await follow(readings, engine, run.handle)
    except PlaceEnded as end:
        ended = end
    except (Superseded, asyncio.CancelledError) as why:
        asked = isinstance(why, Superseded) or NOT_WANTED in why.args
        raise
    finally:
        if not leaving():
            await asyncio.shield(engine.cancel(run.handle, asked=asked))
    if ended is not None:  # what came to its end before it was stopped counts, and is not done again
        record = (await engine.observe([run.handle]))[run.handle]
        await last_words(readings, record, ended.ending)


async def _ensure(engine: Engine, run: Run, work: Work) -> None:
    while True:
        try:
            await engine.ensure(run.handle.marker, run.job.attempt, work)
        except EngineUnavailable:
            await asyncio.sleep(ENGINE_PAUSE)
        else:
            return


def work_of(job: Job, pipeline: Pipeline | None, indexes: int, folder: Path, tasks: Sequence[Task] = ()) -> Work:
    """What a place is asked to hold."""
    definition = pipeline.definition if pipeline else None
    return Work(
        name=job.name,
        folder=folder,
        indexes=indexes,
        resources=definition.resources if definition else Resources(),
        priority=job.priority,
        timeout=definition.timeout_seconds if definition else None,
        tasks=tuple(tasks),
    )


def place_ended(job: Job, ending: Ending, attempts: Attempts) -> None:
    """Record that the engine ended the place of an attempt before its work was done. Raises `Superseded`."""
    match ending.how:
        case How.PREEMPTED:
            attempts.preempt(job, ending.error["message"])
        case How.CANCELLED:
            attempts.cancelled(job, ending.error["message"])
        case How.LOST:
            attempts.end(job, ending.error, lost=True)
        case How.FAILED:
            attempts.end(job, ending.error)


def _nothing_left(pipeline: Pipeline, run: Run) -> bool:
    """Whether a job that was resumed has no tracked input left, though it has tracked ports with inputs."""
    ports = pipeline.definition.inputs
    tracked = any(port.tracked and port.required for port in ports.values())
    return tracked and pipeline.definition.resume and not any(ports[each.port_name].tracked for each in run.inputs)


def speaker(job: Job, pipeline: Pipeline, greeting: dict[str, Any]) -> Speaker:
    """Who speaks: the index that was greeted so."""
    return Speaker(
        job=job,
        index=greeting["index"],
        input_ids=frozenset(each["id"] for items in greeting["inputs"].values() for each in items),
        ports=frozenset(pipeline.definition.outputs),
        output_dir=Path(greeting["output_dir"]),
    )


def sink(job: Job, pipeline: Pipeline, task: Task, attempts: Attempts) -> Sink:
    """Where the lines of an index go. Raises `Superseded`, and `WorkerFailed` for an output that cannot be taken."""
    who = speaker(job, pipeline, task.greeting)

    async def keep(task: Task, lines: Sequence[Line], start: int, end: int) -> None:
        try:
            await insist(attempts.record, who, lines, start, end)
        except EscapingOutput as error:
            raise WorkerFailed(task, invalid_output(error, task.index)) from error

    return keep


def _task(run: Run, pipeline: Pipeline, index: int, inputs: Sequence[PinnedInput]) -> Task:
    job, folder, definition = run.job, run.folder / str(index), pipeline.definition
    ports: dict[str, list[dict[str, Any]]] = {port: [] for port in definition.inputs}
    for each in inputs:
        ports[each.port_name].append(
            {
                "id": each.id,
                "kind": each.kind,
                "file_id": each.file_id,
                "filename": each.filename,
                "path": str(each.path),
                "num_bytes": each.num_bytes,
                "file_type": each.file_type,
                "metadata": each.metadata,
            }
        )
    greeting = {
        "protocol": PROTOCOL,
        "job": {
            "id": job.id,
            "name": job.name,
            "pipeline_key": job.pipeline_key,
            "pipeline_version": job.pipeline_version,
        },
        "component": pipeline.component,
        "index": index,
        "parallelism": run.indexes,
        "attempt": job.attempt,
        "config": job.parameters[pipeline.component]["config"],
        "inputs": ports,
        "checkpoints": run.checkpoints,
        "heartbeat_seconds": definition.heartbeat_seconds,
        "output_dir": str(folder / "outputs"),
    }
    return Task(pipeline.command(), folder, greeting, definition.resources, definition.heartbeat_seconds)


def _no_pipeline(job: Job) -> dict[str, Any]:
    return {
        "code": "pipeline_not_found",
        "message": f"the service no longer has version {job.pipeline_version} of pipeline {job.pipeline_key}",
        "suggestion": "put the pipeline's folder back and retry the job",
    }


def _too_long(seconds: float) -> dict[str, Any]:
    return {
        "code": "timeout",
        "message": f"it ran for more than {seconds:g} seconds, which is the limit of the pipeline",
        "suggestion": "split the job, or raise timeout_seconds in the pipeline",
    }
