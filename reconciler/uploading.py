"""Local files → files of the platform, before the jobs that read them: several at a time, each once a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.client import Client
from reconciler.job import Upload

Sent = Callable[[Upload, int], None]
"""Told of bytes of a file that have left: a negative number takes back what must be sent again, and 0 says that the
file is there already.
"""


@dataclass(frozen=True, slots=True)
class Uploading:
    """The uploads of one run. `turn` bounds how many files of all jobs are under way."""

    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))
    sent: Sent = lambda upload, num_bytes: None
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)


async def upload_all(
    uploads: Sequence[Upload], client: Client, root: Path, stop: asyncio.Event, run: Uploading
) -> bool:
    """Have `uploads`, whose paths are below `root`, on the platform. False when `stop` was set before all were begun.

    Raises what the first that failed raised, `PlatformError` or OSError; those under way are given up, and a later run
    goes on with them.
    """

    async def one(upload: Upload) -> bool:
        async with (
            run.locks.setdefault(upload.file_id, asyncio.Lock()),
            run.turn,
        ):  # jobs that share a file send it once
            if upload.file_id in run.there:
                return True
            if stop.is_set():
                return False
            if await client.has_file(upload):
                run.sent(upload, 0)
            else:
                await client.upload(upload, root / upload.path, lambda num_bytes: run.sent(upload, num_bytes))
            run.there.add(upload.file_id)
            return True

    tasks = [asyncio.create_task(one(upload)) for upload in uploads if upload.file_id not in run.there]
    try:
        return all(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
