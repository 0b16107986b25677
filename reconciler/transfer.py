"""What one job made → inputs of another: its files become files of the platform, its checkpoints are named.

A file's name says which output of which job it is. The outputs of a COMPLETED job do not change, so the same name is
the same content, whoever looks: that is how a job whose answer was lost is found again, without fetching anything.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reconciler.chains import FROM, source_names, sources, with_sources
from reconciler.client import Client
from reconciler.errors import PlatformError, PlatformUnavailable
from reconciler.job import JsonObject, Upload
from reconciler.localfiles import content_name, media_type
from reconciler.observe import output_names

LAST = "last"
"""The checkpoint with the most steps."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An output, and the name that it has as a file."""

    file_id: str
    row: JsonObject


async def named(client: Client, request: JsonObject, jobs: Mapping[str, str]) -> tuple[JsonObject, tuple[Taken, ...]]:
    """`request` as the platform gets it, and the outputs that must be its files by then.

    `jobs`: the ids of the COMPLETED jobs that it takes from, by name. Raises `PlatformError`, also when one of them has
    not made what is asked for.
    """
    made: dict[str, Any] = {name: await _made(client, name, jobs[name], request) for name in source_names(request)}
    taken: dict[str, Taken] = {}

    def resolved(item: JsonObject) -> list[JsonObject]:
        source = item[FROM]
        rest = {key: value for key, value in item.items() if key != FROM}
        outputs, checkpoints = made[source["job"]]
        if "checkpoint" in source:
            return [{"kind": "checkpoint", "checkpoint_id": _checkpoint(source, checkpoints), **rest}]
        found = [each for each in outputs if each.row.get("port_name") == source["port"]]
        if not found:
            ports = sorted({str(each.row.get("port_name")) for each in outputs})
            hint = "it has " + ", ".join(ports) if ports else "it has made no files"
            raise PlatformError(f"{source['job']} has made nothing on the port {source['port']!r}", hint)
        taken.update({each.file_id: each for each in found})
        return [{"file_id": each.file_id, **rest} for each in found]

    return with_sources(request, resolved), tuple(taken[file_id] for file_id in sorted(taken))


async def as_sent(client: Client, request: JsonObject, jobs: Mapping[str, str]) -> JsonObject | None:
    """`request` as the platform gets it; None while a job that it takes from is not among the COMPLETED `jobs`.

    Raises `PlatformError`.
    """
    if not source_names(request) <= jobs.keys():
        return None
    return (await named(client, request, jobs))[0] if source_names(request) else request


async def _made(client: Client, name: str, job_id: str, request: JsonObject) -> tuple[list[Taken], list[JsonObject]]:
    wanted = [item[FROM] for _, item in sources(request) if item[FROM]["job"] == name]
    outputs: list[Taken] = []
    if any("port" in source for source in wanted):
        rows = await client.outputs(job_id)
        rows.sort(key=lambda row: str(row.get("id")))
        for row, file_name in zip(rows, output_names(rows), strict=True):
            mark = hashlib.sha256(f"{job_id}\n{row.get('id')}".encode()).hexdigest()
            outputs.append(Taken(content_name(file_name, mark), row))
    checkpoints = await client.checkpoints(job_id) if any("checkpoint" in source for source in wanted) else []
    return outputs, checkpoints


def _checkpoint(source: JsonObject, checkpoints: list[JsonObject]) -> str:
    usable = [row for row in checkpoints if isinstance(row.get("id"), str)]
    if source["checkpoint"] == LAST:
        usable.sort(key=lambda row: row["step"] if isinstance(row.get("step"), int) else -1)
        found = usable[-1:]
    else:
        found = [row for row in usable if row.get("name") == source["checkpoint"]]
    if not found:
        names = ", ".join(str(row.get("name")) for row in usable[:10])
        hint = f"it has {names}" if names else "it has made none"
        raise PlatformError(f"{source['job']} has no checkpoint {source['checkpoint']!r}", hint)
    identity: str = found[-1]["id"]
    return identity


async def transfer(client: Client, taken: Taken, folder: Path) -> None:
    """Make `taken` a file of the platform, unless it is one already. `folder`, which exists, holds it for that long.

    Raises `PlatformError`, OSError.
    """
    data = taken.row.get("data")
    told = data.get("num_bytes") if isinstance(data, dict) else None
    upload = Upload(taken.file_id, taken.file_id, "", told if type(told) is int else -1, media_type(taken.file_id))
    if await client.has_file(upload):
        return
    with TemporaryDirectory(dir=folder, prefix="transfer-") as place:
        path = Path(place) / "output"
        size = await client.download(taken.row, path)
        if type(told) is int and size != told:
            raise PlatformUnavailable(f"{taken.file_id}: {size} of {told} bytes came", "run the command again")
        await client.upload(upload, path)


async def transfer_all(client: Client, taken: tuple[Taken, ...], folder: Path, parallelism: int) -> None:
    """`transfer` each, several at a time. Raises what the first that failed raised, when all have ended."""
    turn = asyncio.Semaphore(parallelism)

    async def one(each: Taken) -> None:
        async with turn:
            await transfer(client, each, folder)

    for failure in await asyncio.gather(*(one(each) for each in taken), return_exceptions=True):
        if failure is not None:
            raise failure
