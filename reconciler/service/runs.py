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
from reconciler.service.diskfaults import disk_fault
from reconciler.service.engines.local import Sink, Task, WorkerFailed, prepare, run_worker
from reconciler.service.inputs import PinnedInput
from reconciler.service.jobs import Job
from reconciler.service.protocol import Line
from reconciler.service.recording import Speaker, invalid_output
from reconciler.service.registry import Pipeline

_log = logging.getLogger(__name__)
PROTOCOL = 1
DISK_PAUSE = 0.5  # seconds until a disk that could not be used is tried again
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """What one attempt consists of. `folder` is its own."""

    job: Job
    pipeline: Pipeline | None
    inputs: tuple[PinnedInput, ...]
    indexes: int
    folder: Path
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
            return await asyncio.to_thread(write, *args)
        except (sqlite3.Error, OSError) as error:
            if disk_fault(error) is None:
                raise
            _log.exception("what a job does cannot be recorded; trying again")
            await asyncio.sleep(DISK_PAUSE)


async def carry_out(run: Run, attempts: Attempts) -> None:
    """Run all indexes and record how it ended. When cancelled, the workers are killed and nothing is recorded.

    What they wrote stays in the run's folder, for `recovery.take_up`.
    """
    with suppress(Superseded):
        await insist(attempts.begin, run.job)
        if run.pipeline is None:
            await insist(attempts.end, run.job, _no_pipeline(run.job))
        else:
            await _run_indexes(run, run.pipeline, attempts)


async def _run_indexes(run: Run, pipeline: Pipeline, attempts: Attempts) -> None:
    shares = share(pipeline, run.inputs, run.indexes)
    if _nothing_left(pipeline, run):
        shares = []  # an earlier attempt had done all of it
    failures: list[BaseException] = []
    superseded = overdue = False
    limit = pipeline.definition.timeout_seconds
    try:
        async with asyncio.timeout(limit), asyncio.TaskGroup() as group:  # the first that fails stops the others
            for index, inputs in enumerate(shares):
                task = _task(run, pipeline, index, inputs)
                group.create_task(_run_index(task, sink(run.job, pipeline, task, attempts)))
    except* Superseded:
        superseded = True
    except* WorkerFailed as group_of_failures:
        failures += group_of_failures.exceptions
    except* TimeoutError:
        overdue = True
    if superseded:
        return
    if overdue:
        await insist(attempts.end, run.job, _too_long(limit or 0))
    elif failures:
        first = failures[0]
        assert isinstance(first, WorkerFailed)
        mine = [each.id for each in shares[first.task.index]]
        await insist(attempts.end, run.job, first.error, mine)
    else:
        await insist(attempts.end, run.job, None)


async def _run_index(task: Task, sink: Sink) -> None:
    await insist(prepare, task)
    await run_worker(task, sink)


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
