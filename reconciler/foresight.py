"""What the platform would refuse, found out before a job is cancelled for another one that cannot follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.actions import Action
from reconciler.check import Finding
from reconciler.client import Client
from reconciler.errors import PlanRefused, PlatformError, ReconcilerError
from reconciler.findings import place
from reconciler.identities import Identities, literal_files
from reconciler.job import JsonObject, State, Upload
from reconciler.pipeline import Pipeline, check_inputs, check_parameters, check_type
from reconciler.registry import DRAFT, Version, versions
from reconciler.secrets import Secrets, env_names
from reconciler.snapshots import Snapshots
from reconciler.text import one_line


def tells_files(state: State) -> bool:
    """Whether the platform of `state` is known to tell about files."""
    return any(record.files for record in state.jobs.values())


@dataclass(slots=True)
class Foresight:
    """Asks for each file and for the registry once. What the platform does not tell is not held against a job.

    `tells_files`: it has told about files before, so one that it says it does not have is not there. Of a platform that
    never did, the same answer may only mean that it does not tell. `pipelines`: the folder of the snapshots.
    """

    tells_files: bool = False
    pipelines: Path | None = None
    identities: Identities = field(default_factory=Identities)
    _asked: dict[str | None, asyncio.Future[list[Version]]] = field(default_factory=dict)
    _snapshots: Snapshots | None = None

    async def faults(
        self, client: Client | None, actions: Iterable[Action], secrets: Secrets
    ) -> dict[str, ReconcilerError]:
        """What submissions would be refused for, by name. Only where a job is cancelled first the platform is asked."""
        found: dict[str, ReconcilerError] = {}
        for action in actions:
            assert action.request is not None
            fault: ReconcilerError | None = self.unfit(action.pinned or action.request, secrets)
            if fault is None and action.cancels and client is not None:
                fault = await self.fault(client, action.request, action.uploads)
            if fault is not None:
                found[action.name] = fault
        return found

    def unfit(self, request: JsonObject, secrets: Secrets) -> PlanRefused | None:
        """What the snapshot of its pipeline says against `request` as it is sent, without a value of the environment.

        Where the environment has not all that it names, or there is no snapshot of that version, nothing is known.
        """
        if self._snapshots is None:
            self._snapshots = Snapshots(self.pipelines)
        pipeline = self._snapshots.find(str(request["pipeline_key"]), request.get("pipeline_version") or None)
        if pipeline is None or env_names(request) - secrets.environment.keys():
            return None
        sent = secrets.fill(request)
        found = [*check_type(sent, pipeline), *check_inputs(sent, pipeline), *check_parameters(sent, pipeline)]
        found = [finding for finding in found if finding.code != "bad-schema"]
        if not found:
            return None
        message, hint = _told(found[0], request, pipeline)
        return PlanRefused(f"{message} (and {len(found) - 1:,} more)" if len(found) > 1 else message, hint)

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


def _told(finding: Finding, request: JsonObject, pipeline: Pipeline) -> tuple[str, str]:
    """A finding about `request` as it is sent. What the environment has may be a secret, so that nothing which was
    made from a value is told of a request that has some of it.
    """
    look = f"the snapshot of {pipeline} in schemas/pipelines says what it takes"
    about_names = finding.at_key or finding.code == "missing-field" or finding.route[:1] != ("parameters",)
    if about_names or not env_names(request):
        where = place(finding.route)
        message = finding.summary if where in finding.summary else f"{where}: {finding.summary}"
        return message, finding.hint or look
    there = env_names(_at(request, finding))
    values = f"with {', '.join(f'env.{name}' for name in sorted(there))} as set here, " if there else ""
    takes = finding.takes or look
    if there and finding.code == "wrong-type":
        takes += "; what the environment has is always text"
    return f"{values}{place(finding.route)} is not what {pipeline} takes", takes


def _at(request: JsonObject, finding: Finding) -> Any:
    value: Any = request
    for step in finding.route:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None  # one of the pipeline's defaults
    return value


async def _listed(client: Client, status: str | None) -> list[Version]:
    try:
        return versions(await client.pipelines(status))
    except PlatformError:
        return []
