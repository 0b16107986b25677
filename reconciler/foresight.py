"""What the platform would refuse, found out before a job is cancelled for another one that cannot follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from reconciler.client import Client
from reconciler.errors import PlatformError
from reconciler.identities import Identities, literal_files
from reconciler.job import JsonObject, State, Upload
from reconciler.registry import DRAFT, Version, versions
from reconciler.text import one_line


def tells_files(state: State) -> bool:
    """Whether the platform of `state` is known to tell about files."""
    return any(record.files for record in state.jobs.values())


@dataclass(slots=True)
class Foresight:
    """Asks for each file and for the registry once. What the platform does not tell is not held against a job.

    `tells_files`: it has told about files before, so one that it says it does not have is not there. Of a platform that
    never did, the same answer may only mean that it does not tell.
    """

    tells_files: bool = False
    identities: Identities = field(default_factory=Identities)
    _asked: dict[str | None, asyncio.Future[list[Version]]] = field(default_factory=dict)

    async def fault(self, client: Client, request: JsonObject, uploads: Collection[Upload]) -> PlatformError | None:
        """Why the platform would not take `request`, as far as that can be known."""
        files = literal_files(request, uploads)
        found = await self.identities.of(client, files)
        missing = sorted(files & self.identities.missing)
        if missing and (found or self.tells_files):
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            message = f"the platform has no file {one_line(missing[0], 100)!r}{more}"
            return PlatformError(message, "write path: for a file that is here, or upload it under that name")
        return await self._missing_version(client, request)

    async def _missing_version(self, client: Client, request: JsonObject) -> PlatformError | None:
        key, version = str(request["pipeline_key"]), request.get("pipeline_version")
        if not version:
            return None
        there: list[str] = []
        for status in (None, DRAFT):  # drafts are not among the rows of all
            if status not in self._asked:
                self._asked[status] = asyncio.ensure_future(_listed(client, status))
            there += [v.version for v in await self._asked[status] if v.key == key and v.runs]
            if not there or version in there:
                return None
        named = f"version {one_line(str(version), 60)!r} of {one_line(key, 60)}"
        return PlatformError(f"the platform does not run {named}", f"it has {one_line(', '.join(there[-8:]), 300)}")


async def _listed(client: Client, status: str | None) -> list[Version]:
    try:
        return versions(await client.pipelines(status))
    except PlatformError:
        return []
