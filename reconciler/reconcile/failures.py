"""What the platform tells about jobs that FAILED: their last events, and the inputs that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from reconciler.client import Client
from reconciler.errors import PlatformError
from reconciler.job import FailureLog, JobStatus, RecordedJob
from reconciler.signals import Stop

JOBS = 50
"""Jobs that are asked about: those that failed last."""
EVENTS, INPUTS = 20, 20
"""How many of each job are kept."""
_AT_ONCE = 4
_PATIENCE = 30.0  # seconds for all of it: a report is not worth more


async def read_failures(
    client: Client, records: Mapping[str, RecordedJob], stop: Stop | None = None
) -> dict[str, FailureLog]:
    """A log for each record that is FAILED. It never fails: each says what could not be read, and why."""
    failed = {name: record for name, record in records.items() if record.status == JobStatus.FAILED and not record.gone}
    latest = sorted(failed, key=lambda name: str(failed[name].observed.get("failed_at") or ""), reverse=True)
    logs = {name: FailureLog(absent="not read: the command was interrupted, or it took too long") for name in failed}
    for name in latest[JOBS:]:
        logs[name] = FailureLog(absent=f"not read: only those of the {JOBS} jobs that failed last are")
    work = _read_all(client, {name: failed[name].job_id for name in latest[:JOBS]}, logs)
    await (work if stop is None else stop.finish(work))
    return logs


async def _read_all(client: Client, jobs: Mapping[str, str], logs: dict[str, FailureLog]) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def read(name: str, job_id: str) -> None:
        async with places:
            logs[name] = await _read(client, job_id)

    try:
        async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
            for name, job_id in jobs.items():
                group.create_task(read(name, job_id))
    except TimeoutError:
        pass  # what was not read says so already


async def _read(client: Client, job_id: str) -> FailureLog:
    try:
        events, left_out = await client.newest_events(job_id, EVENTS)
    except PlatformError as error:
        return FailureLog(absent=f"its events could not be read: {error.message}")
    try:
        inputs = await client.failed_inputs(job_id, INPUTS)
    except PlatformError as error:
        return FailureLog(tuple(events), left_out, absent=f"its inputs could not be read: {error.message}")
    return FailureLog(tuple(events), left_out, tuple(inputs))
