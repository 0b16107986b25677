"""One attempt at one job, from admission to its end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.attempts import Attempts, PinnedInput, Speaker, Superseded
from reconciler.service.contents import EscapingOutput
from reconciler.service.engines.local import Sink, Task, WorkerFailed, run_worker
from reconciler.service.jobs import Job
from reconciler.service.protocol import BadLine, Line, printable
from reconciler.service.registry import Pipeline

PROTOCOL = 1
_BAD_LINES = 100  # that one index may have logged; a worker that prints garbage must not fill the disk


@dataclass(frozen=True, slots=True)
class Run:
    """What one attempt consists of. `folder` is its own and is removed at its end."""

    job: Job
    pipeline: Pipeline | None
    inputs: tuple[PinnedInput, ...]
    indexes: int
    folder: Path


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


async def carry_out(run: Run, attempts: Attempts) -> None:
    """Run all indexes and record how it ended. When cancelled, the workers are killed and nothing is recorded."""
    try:
        await asyncio.to_thread(attempts.begin, run.job)
        if run.pipeline is None:
            await asyncio.to_thread(attempts.fail, run.job, _no_pipeline(run.job))
        else:
            await _run_indexes(run, run.pipeline, attempts)
    except Superseded:
        return
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)


async def _run_indexes(run: Run, pipeline: Pipeline, attempts: Attempts) -> None:
    shares = share(pipeline, run.inputs, run.indexes)
    failures: list[BaseException] = []
    superseded = False
    try:
        async with asyncio.TaskGroup() as group:  # the first that fails stops the others
            for index, inputs in enumerate(shares):
                task = _task(run, pipeline, index, inputs)
                group.create_task(run_worker(task, _sink(run.job, pipeline, task, inputs, attempts)))
    except* Superseded:
        superseded = True
    except* WorkerFailed as group_of_failures:
        failures += group_of_failures.exceptions
    if superseded:
        return
    if failures:
        first = failures[0]
        assert isinstance(first, WorkerFailed)
        mine = [each.id for each in shares[first.task.index]]
        await asyncio.to_thread(attempts.fail, run.job, first.error, mine)
    else:
        await asyncio.to_thread(attempts.complete, run.job)


def _sink(job: Job, pipeline: Pipeline, task: Task, inputs: Sequence[PinnedInput], attempts: Attempts) -> Sink:
    speaker = Speaker(
        job=job,
        index=task.index,
        input_ids=frozenset(each.id for each in inputs),
        ports=frozenset(pipeline.definition.outputs),
        output_dir=task.folder / "outputs",
    )

    quota = _BAD_LINES

    async def keep(task: Task, lines: Sequence[Line]) -> None:
        nonlocal quota
        bad = [line for line in lines if isinstance(line, BadLine)]
        excess = {id(line) for line in bad[quota:]}
        quota = max(0, quota - len(bad))
        lines = [line for line in lines if id(line) not in excess]
        try:
            await asyncio.to_thread(attempts.record, speaker, lines)
        except EscapingOutput as error:
            details = {"index": task.index}
            fault = {"code": "invalid_output", "message": printable(str(error)), "details": details}
            raise WorkerFailed(task, fault) from error

    return keep


def _task(run: Run, pipeline: Pipeline, index: int, inputs: Sequence[PinnedInput]) -> Task:
    job, folder = run.job, run.folder / str(index)
    ports: dict[str, list[dict[str, Any]]] = {port: [] for port in pipeline.definition.inputs}
    for each in inputs:
        ports[each.port_name].append(
            {
                "id": each.id,
                "file_id": each.file_id,
                "filename": each.path.name,
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
        "config": job.parameters[pipeline.component]["config"],
        "inputs": ports,
        "output_dir": str(folder / "outputs"),
    }
    return Task(pipeline.command(), folder, greeting)


def _no_pipeline(job: Job) -> dict[str, Any]:
    return {
        "code": "pipeline_not_found",
        "message": f"the pipeline {job.pipeline_key} {job.pipeline_version} is no longer installed",
        "suggestion": "start the service with the folder that has it, then retry the job",
    }
