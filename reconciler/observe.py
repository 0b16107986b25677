"""What the platform says about the jobs we know: once, until they end, and when we look for one of ours."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from reconciler.client import Client
from reconciler.compare import declared_in
from reconciler.errors import PlatformError
from reconciler.job import Gone, JsonObject, Observation, ObservedJob, RecordedJob, Seen, is_terminal
from reconciler.listing import from_pages

_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def observe(
    client: Client,
    jobs: Mapping[str, str],
    last: Mapping[str, JsonObject] = _NOTHING,
    also: Mapping[str, str] = _NOTHING,
) -> dict[str, Observation]:
    """What the platform says of each job id, asked once. `jobs` and the result go by name.

    `last`: job objects as they were seen before, by id. With them many jobs are read from pages of the list, where that
    needs fewer requests. What such a page happens to tell of the jobs in `also` is in the result too.
    """
    listed = await from_pages(client, jobs.values(), last)
    ids = {**jobs, **{name: job_id for name, job_id in also.items() if job_id in listed}}
    rest = sorted(name for name, job_id in ids.items() if job_id not in listed)
    answers = dict(zip(rest, await asyncio.gather(*(client.observe(ids[name]) for name in rest)), strict=True))
    return {name: answers[name] if name in answers else Seen(listed[ids[name]]) for name in sorted(ids)}


async def identical(client: Client, name: str, request: JsonObject, jobs: Iterable[ObservedJob]) -> list[ObservedJob]:
    """Those of `jobs` that are what `name` and `request` ask for, newest first. Raises `PlatformError`."""
    named = [await whole(client, job) for job in jobs if job.name == name and same_pipeline(job, request)]
    same = [job for job in named if await difference(client, name, request, job) is None]
    return sorted(same, key=lambda j: (j.created_at or "", j.id), reverse=True)


async def whole(client: Client, job: ObservedJob) -> ObservedJob:
    """`job` with its parameters, which rows of a list may leave out. Raises `PlatformError`."""
    if job.parameters:
        return job
    seen = await client.observe(job.id)
    if not isinstance(seen, Seen):
        raise PlatformError(f"job {job.id} is listed, but could not be read")
    return seen.job


async def difference(client: Client, name: str, request: JsonObject, job: ObservedJob) -> str | None:
    """What tells `job` from what `name` and `request` ask for; None when nothing does. Raises `PlatformError`."""
    if job.name != name:
        return "name"
    if not same_pipeline(job, request):
        return "pipeline"
    if not declared_in(request.get("parameters") or {}, job.parameters):
        return "parameters"
    if _wanted_inputs(request) != _given_inputs(await client.inputs(job.id)):
        return "inputs"
    return None


def same_pipeline(job: ObservedJob, request: JsonObject) -> bool:
    """Whether `job` runs the pipeline, and the pinned version if there is one, that `request` asks for."""
    return (
        job.pipeline_key == request["pipeline_key"]
        and job.pipeline_type in ("", request["pipeline_type"])
        and request.get("pipeline_version") in (None, job.pipeline_version)
    )


def _wanted_inputs(request: JsonObject) -> Counter[tuple[str, str, str]]:
    items = [(port, item) for port, files in (request.get("inputs") or {}).items() for item in files]
    return Counter(
        (port, str(i.get("file_id") or i.get("checkpoint_id")), _label(i.get("metadata"))) for port, i in items
    )


def _given_inputs(rows: Iterable[JsonObject]) -> Counter[tuple[str, str, str]]:
    return Counter(
        (
            str(row.get("port_name")),
            str(row.get("file_id") or row.get("checkpoint_id")),
            _label((row.get("data") or {}).get("metadata") if isinstance(row.get("data"), dict) else None),
        )
        for row in rows
    )


def _label(metadata: Any) -> str:
    return str(metadata.get("class", "")) if isinstance(metadata, dict) else ""


def last_seen(records: Mapping[str, RecordedJob]) -> dict[str, JsonObject]:
    """The job objects that are recorded, by id."""
    return {record.job_id: record.observed for record in records.values()}


async def watch(
    client: Client,
    jobs: Mapping[str, str],
    *,
    last: Mapping[str, JsonObject] = _NOTHING,
    ages: Mapping[str, float] = _NOTHING,
    sleep: Any = asyncio.sleep,
    first: float = 0.5,
    longest: float = 15.0,
) -> AsyncIterator[dict[str, Observation]]:
    """Observe `jobs` (ids by name) until all have ended; yields the news of each round, which need not be about all.

    A job is asked for less and less often, the longer it runs: each pause is a tenth of its age. `ages`: the seconds
    that jobs had run before, by name; `last` as for `observe`. An answer that is no news is yielded, and asked for
    again.
    """
    left, seen_last, elapsed = dict(jobs), dict(last), 0.0
    due = dict.fromkeys(left, 0.0)
    missing: set[str] = set()
    while left:
        # Who is nearly due is asked as well: one page has room for all of them.
        now = {n: i for n, i in left.items() if due[n] <= elapsed + first / 2}
        news = await observe(client, now, seen_last, left)
        # One answer that a job is not there may come from a server that lags behind: two in a row are believed.
        gone = {name for name, seen in news.items() if isinstance(seen, Gone)}
        left = {n: i for n, i in left.items() if n not in news or not (_ended(news[n]) or (n in gone and n in missing))}
        missing = (missing - news.keys()) | gone
        for name, seen in news.items():
            due[name] = elapsed + min(longest, max(first, (elapsed + ages.get(name, 0.0)) / 10))
            if isinstance(seen, Seen):
                seen_last[seen.job.id] = seen.job.raw
        yield news
        if left:
            pause = max(first, min(due[name] for name in left) - elapsed)
            await sleep(pause)
            elapsed += pause


def _ended(seen: Observation) -> bool:
    return isinstance(seen, Seen) and is_terminal(seen.job.status)


def output_names(rows: Iterable[JsonObject]) -> list[str]:
    """A file name for each output: its own, made harmless; with the output's id in front where two have the same."""
    wanted = [(_safe_name(row), str(row.get("id") or index)) for index, row in enumerate(rows)]
    counts = Counter(name.casefold() for name, _ in wanted)
    taken = {name for name, count in counts.items() if count == 1}
    names = []
    for index, (plain, key) in enumerate(wanted):
        name = plain if counts[plain.casefold()] == 1 else f"{_clean(key) or index}-{plain}"
        if name != plain and name.casefold() in taken:  # its id is not its own either
            name = f"{index}-{name}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _safe_name(row: JsonObject) -> str:
    data = row.get("data")
    name = data.get("filename") if isinstance(data, dict) else None
    return _clean(name if isinstance(name, str) else "") or "output"


def _clean(name: str) -> str:
    """The last part of `name`, without what could leave the folder, hide the file or upset a shell or terminal."""
    last = re.split(r"[/\\]", name)[-1]
    safe = re.sub(r"[^\w.,=+@-]", "_", last).lstrip(".-")
    return safe.encode()[:100].decode(errors="ignore")  # file systems take 255 bytes: the id, the name, and a suffix
