"""Many jobs at the price of a few requests: what the pages of the platform's list tell of jobs that we know.

A page is only ever news, never the absence of it: a list may leave out jobs or fields, lag behind, and shift while it
is read. A job that it did not show whole and recent is asked for by its id, by whoever calls this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from reconciler.client import Client
from reconciler.errors import PlatformError
from reconciler.job import JobStatus, JsonObject, ObservedJob, is_terminal, parse_time

FEW = 4
"""So many jobs are asked for by id without a look at the list."""
_MANY = 20
"""From so many on it is worth to ask for each status by itself, when the whole list is too long."""
_IN_FLIGHT = (JobStatus.RUNNING, JobStatus.PENDING, JobStatus.ADMITTED, JobStatus.PREEMPTED)


@dataclass(slots=True)
class _Reading:
    """What the pages have shown so far. `last`: what each job of interest was seen as before, by id."""

    client: Client
    wanted: set[str]
    last: Mapping[str, JsonObject]
    found: dict[str, ObservedJob] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)

    def left(self) -> int:
        """How many of the wanted jobs would still be asked for by id."""
        return len(self.wanted - self.found.keys())

    def take(self, rows: Iterable[ObservedJob]) -> None:
        for row in rows:
            if row.id not in self.last or row.id in self.doubtful:
                continue
            job = as_seen(row, self.last[row.id])
            known = self.found.get(row.id)
            if job is None or (known is not None and known.status != job.status):
                self.doubtful.add(row.id)  # another page showed it otherwise: it has changed meanwhile
                self.found.pop(row.id, None)
            else:
                self.found[row.id] = job


async def from_pages(client: Client, wanted: Collection[str], last: Mapping[str, JsonObject]) -> dict[str, ObservedJob]:
    """What list pages tell of the jobs `wanted`, and for nothing more of others in `last`; by id.

    `last`: the job objects that were seen last, by id. Pages are read only as long as that may need fewer requests than
    asking for each job. When the list cannot be read, there is less in the answer.
    """
    reading = _Reading(client, {job_id for job_id in wanted if last.get(job_id)}, last)
    if reading.left() <= FEW:
        return {}
    try:
        too_long = await _read(reading, None)
        for status in _IN_FLIGHT:
            if too_long and reading.left() > _MANY:
                await _read(reading, status)
    except PlatformError:
        pass  # no list, or none now: what it would have told is asked for otherwise
    return reading.found


async def _read(reading: _Reading, status: str | None) -> bool:
    """Read pages while they are fewer than the jobs that are left; whether that ended it. Raises `PlatformError`."""
    jobs, size, total = await reading.client.jobs_page(0, status)
    reading.take(jobs)
    if not size or total is None:
        return False
    pages, done = ceil(total / size), 1
    while 0 < pages - done < reading.left():
        # So many are needed in any case: no page holds more than the first one did.
        wave = range(done, min(pages, done + ceil(reading.left() / size)))
        pages_read = (reading.client.jobs_page(number * size, status) for number in wave)
        answers = await asyncio.gather(*pages_read, return_exceptions=True)
        for answer in answers:
            if not isinstance(answer, BaseException):
                reading.take(answer[0])
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        done = wave.stop
    return done < pages


def as_seen(row: ObservedJob, last: JsonObject) -> ObservedJob | None:
    """The job that `row` of a list shows, with what such rows leave out; None when it must be asked for by its id.

    Parameters cannot change. A row that is older than what was seen before is no news.
    """
    if not _is_recent(row, last):
        return None
    absent: dict[str, Any] = {}
    if not row.parameters and isinstance(last.get("parameters"), dict) and last["parameters"]:
        absent["parameters"] = last["parameters"]
    if missing := last.keys() - row.raw.keys() - absent.keys():
        if row.status != last.get("status"):
            return None  # what changed with the status may be just what the row leaves out
        absent |= {key: last[key] for key in missing}
    if not absent:
        return row
    return replace(row, parameters=absent.get("parameters", row.parameters), raw={**row.raw, **absent})


def _is_recent(row: ObservedJob, last: JsonObject) -> bool:
    then, now = parse_time(_text(last.get("updated_at"))), parse_time(row.updated_at)
    if then is None or now is None:
        return not is_terminal(row.status)  # an end that may be that of an earlier run is read again
    retries = last.get("retry_count")
    return now >= then and row.retry_count >= (retries if isinstance(retries, int) else 0)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
