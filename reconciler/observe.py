"""What the platform says about the jobs we know: once, until they end, and when we look for one of ours."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.client import Client
from reconciler.errors import PlatformError
from reconciler.job import Gone, JsonObject, Observation, ObservedJob, RecordedJob, Seen, is_terminal
from reconciler.plan import declared_in


async def observe(client: Client, jobs: Mapping[str, str]) -> dict[str, Observation]:
    """Ask for each job id once. `jobs` and the result go by name."""
    names = sorted(jobs)
    answers = await asyncio.gather(*(client.observe(jobs[name]) for name in names))
    return dict(zip(names, answers, strict=True))


def in_flight(records: Mapping[str, RecordedJob]) -> dict[str, str]:
    """Job ids by name of the records that may still change. A job that has ended is never asked for again."""
    return {name: r.job_id for name, r in records.items() if not r.gone and not is_terminal(r.status)}


async def identical(client: Client, name: str, request: JsonObject, jobs: Iterable[ObservedJob]) -> list[ObservedJob]:
    """Those of `jobs` that are what `name` and `request` ask for, newest first. Raises `PlatformError`."""
    same = []
    for job in jobs:
        if job.name != name or not _same_pipeline(job, request):
            continue
        full = job
        if request.get("parameters") and not job.parameters:  # list rows may leave the parameters out
            seen = await client.observe(job.id)
            if not isinstance(seen, Seen):
                raise PlatformError(f"job {job.id} is listed, but could not be read")
            full = seen.job
        if not declared_in(request.get("parameters") or {}, full.parameters):
            continue
        if _wanted_inputs(request) == _given_inputs(await client.inputs(job.id)):
            same.append(full)
    return sorted(same, key=lambda j: (j.created_at or "", j.id), reverse=True)


def _same_pipeline(job: ObservedJob, request: JsonObject) -> bool:
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


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time with 0 to 9 digits of a second; None for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def watch(
    client: Client, jobs: Mapping[str, str], *, sleep: Any = asyncio.sleep, first: float = 0.5, longest: float = 15.0
) -> AsyncIterator[dict[str, Observation]]:
    """Observe `jobs` (ids by name) until all have ended; yields the news of each round.

    Rounds come after `first` seconds and then less and less often: each pause is a tenth of the time so far.
    An answer that is no news is yielded, and asked for again.
    """
    left, elapsed = dict(jobs), 0.0
    while left:
        news = await observe(client, left)
        left = {name: job_id for name, job_id in left.items() if not _over(news[name])}
        yield news
        if left:
            pause = min(longest, max(first, elapsed / 10))
            await sleep(pause)
            elapsed += pause


def _over(seen: Observation) -> bool:
    return isinstance(seen, Gone) or (isinstance(seen, Seen) and is_terminal(seen.job.status))


def output_names(rows: Iterable[JsonObject]) -> list[str]:
    """A file name for each output: its own, made harmless; with the output's id in front where two have the same."""
    wanted = [(_safe_name(row), str(row.get("id") or index)) for index, row in enumerate(rows)]
    counts = Counter(name.casefold() for name, _ in wanted)
    return [name if counts[name.casefold()] == 1 else f"{_clean(key)}-{name}" for name, key in wanted]


def _safe_name(row: JsonObject) -> str:
    data = row.get("data")
    name = data.get("filename") if isinstance(data, dict) else None
    return _clean(name if isinstance(name, str) else "") or "output"


def _clean(name: str) -> str:
    """The last part of `name`, without what could leave the folder, hide the file or upset a shell or terminal."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^\w.,=+@-]", "_", last).lstrip(".-")[:150]
