"""What the platform says about the jobs we know: once, until they end, and when we look for one of ours."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from reconciler.client import Client
from reconciler.compare import declared_in
from reconciler.errors import PlatformError
from reconciler.job import Gone, JsonObject, Observation, ObservedJob, Seen, is_terminal


async def observe(client: Client, jobs: Mapping[str, str]) -> dict[str, Observation]:
    """Ask for each job id once. `jobs` and the result go by name."""
    names = sorted(jobs)
    answers = await asyncio.gather(*(client.observe(jobs[name]) for name in names))
    return dict(zip(names, answers, strict=True))


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


async def watch(
    client: Client, jobs: Mapping[str, str], *, sleep: Any = asyncio.sleep, first: float = 0.5, longest: float = 15.0
) -> AsyncIterator[dict[str, Observation]]:
    """Observe `jobs` (ids by name) until all have ended; yields the news of each round.

    Rounds come after `first` seconds and then less and less often: each pause is a tenth of the time so far.
    An answer that is no news is yielded, and asked for again.
    """
    left, elapsed = dict(jobs), 0.0
    missing: set[str] = set()
    while left:
        news = await observe(client, left)
        # One answer that a job is not there may come from a server that lags behind: two in a row are believed.
        gone = {name for name in left if isinstance(news[name], Gone)}
        left = {n: i for n, i in left.items() if not _ended(news[n]) and not (n in gone and n in missing)}
        missing = gone
        yield news
        if left:
            pause = min(longest, max(first, elapsed / 10))
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
