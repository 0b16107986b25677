"""Which content a `file_id` stood for: noted when a job is submitted, and compared when a plan is made.

The platform lets anybody replace a file under its name. It tells no checksum, so a content is known by its `file_uid`
and its size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.client import Client
from reconciler.errors import PlatformError, PlatformUnavailable
from reconciler.guards import with_name
from reconciler.job import JsonObject, PlatformFile, RecordedJob, Upload

LIMIT = 1_000
"""Files that one run asks the platform about by their names."""
FEW = 4
"""So many are asked for by name without a look at the list."""


@dataclass(slots=True)
class Identities:
    """What the platform says of files, each asked for once, and at most `LIMIT` of them. Not knowing is no fault."""

    known: dict[str, asyncio.Future[PlatformFile | None]] = field(default_factory=dict)
    failure: str | None = None
    missing: set[str] = field(default_factory=set)
    """Those that the platform says it does not have."""

    async def of(self, client: Client, file_ids: Collection[str]) -> dict[str, PlatformFile]:
        """Those of `file_ids` that the platform has and told about."""
        for file_id in sorted(file_ids):
            if file_id not in self.known and len(self.known) < LIMIT:
                self.known[file_id] = asyncio.ensure_future(self._ask(client, file_id))
        asked = {file_id: self.known[file_id] for file_id in sorted(file_ids) if file_id in self.known}
        answers = await asyncio.gather(*asked.values())
        return {file_id: found for file_id, found in zip(asked, answers, strict=True) if found is not None}

    async def _ask(self, client: Client, file_id: str) -> PlatformFile | None:
        if self.failure is not None:
            return None  # the platform does not answer: one such answer is enough
        try:
            row = await client.file(file_id)
        except PlatformUnavailable as error:
            self.failure = error.message
            return None
        except PlatformError as error:
            self.failure = self.failure or (error.message if error.status in (401, 403) else None)
            return None
        if row is None:
            self.missing.add(file_id)
            return None
        return _identity(row)


def _identity(row: JsonObject) -> PlatformFile | None:
    uid, size = row.get("file_uid"), row.get("num_bytes")
    if not isinstance(uid, str) or not uid:
        return None
    return PlatformFile(file_uid=uid, num_bytes=size if type(size) is int else None)


async def from_pages(client: Client, wanted: Collection[str]) -> dict[str, PlatformFile]:
    """What pages of the list of files tell of those `wanted`, but for a name that is on them with two contents.

    Pages are read as long as they tell of any. When the list cannot be read, there is less in the answer.
    """
    found: dict[str, PlatformFile] = {}
    twice: set[str] = set()
    cursor: str | None = None
    more = len(wanted) > FEW
    try:
        while more and len(found) < len(wanted):
            rows, cursor = await client.files_page(cursor)
            before = len(found)
            for row in rows:
                name, now = row.get("file_id"), _identity(row)
                if isinstance(name, str) and name in wanted and now is not None and found.setdefault(name, now) != now:
                    twice.add(name)
            more = cursor is not None and len(found) > before
    except PlatformError:
        pass  # what it would have told is asked for by name
    return {name: now for name, now in found.items() if name not in twice}


def literal_files(request: JsonObject, uploads: Collection[Upload]) -> set[str]:
    """The files that a request names by their `file_id`, without those that come from here: their names say their
    content.
    """
    ours = {upload.file_id for upload in uploads}
    items = [item for port in (request.get("inputs") or {}).values() for item in port]
    return {item["file_id"] for item in items if isinstance(item.get("file_id"), str)} - ours


async def content_drift(
    client: Client, jobs: Mapping[str, RecordedJob], replaced: Collection[str] = ()
) -> tuple[str, ...]:
    """A warning for `jobs` with the same inputs that were uploaded anew, or are gone; and for what was not looked at.

    `replaced`: the names that --replace was given for.
    """
    noted: dict[str, list[PlatformFile]] = {}
    for record in jobs.values():
        for file_id, then in sorted(record.files.items()):
            noted.setdefault(file_id, []).append(then)
    listed = await from_pages(client, noted.keys())
    # A list may lag behind: only what it has just as it was is not asked for.
    wanted = [f for f, then in noted.items() if f not in listed or any(_differs(each, listed[f]) for each in then)]
    if not wanted:
        return ()
    identities = Identities()
    now = await identities.of(client, wanted[:1])  # a platform that does not answer is found out by one request
    if identities.failure is None:
        now |= await identities.of(client, wanted[1:LIMIT])
    gone = _lost(jobs, identities.missing)
    return (*_drifted(jobs, now, replaced), *gone, *_left_out(len(wanted), len(noted), identities.failure))


def _drifted(
    jobs: Mapping[str, RecordedJob], now: Mapping[str, PlatformFile], replaced: Collection[str]
) -> Iterator[str]:
    groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for name, record in jobs.items():
        changed = tuple(f for f, then in sorted(record.files.items()) if f in now and _differs(then, now[f]))
        if changed:
            groups.setdefault((changed, name in replaced), []).append(name)
    for (changed, again), names in groups.items():
        what = "was uploaded anew" if len(changed) == 1 else "were uploaded anew"
        one = len(names) == 1
        since = f"{jobs[names[0]].job_id} was submitted" if one else "their jobs were submitted"
        option = with_name((), "--replace", names[0]) if one else "--replace NAME"
        way_out = "" if again else f"; {option} submits it again"
        yield f"{_those(names)}: {_inputs(changed)} {what} after {since} (drift){way_out}"


def _lost(jobs: Mapping[str, RecordedJob], missing: Collection[str]) -> Iterator[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, record in jobs.items():
        if gone := tuple(f for f in sorted(record.files) if f in missing):
            groups.setdefault(gone, []).append(name)
    for gone, names in groups.items():
        what = "is" if len(gone) == 1 else "are"
        yield f"{_those(names)}: {_inputs(gone)} {what} no longer on the platform (drift)"


def _those(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _inputs(names: Sequence[str]) -> str:
    return ("input " if len(names) == 1 else "inputs ") + _those(names)


def _differs(then: PlatformFile, now: PlatformFile) -> bool:
    sizes = {size for size in (then.num_bytes, now.num_bytes) if size is not None}
    return then.file_uid != now.file_uid or len(sizes) > 1


def _left_out(wanted: int, noted: int, failure: str | None) -> Iterator[str]:
    if failure is not None:
        yield f"whether inputs have other content than when their jobs were submitted is not known: {failure}"
    elif wanted > LIMIT:
        compared = noted - wanted + LIMIT
        yield f"only {compared:,} of {noted:,} inputs were compared with what they were when their jobs were submitted"
