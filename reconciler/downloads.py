"""Outputs of a job → files of a folder: several at a time, each whole or not at all, and none twice.

A file gets the time at which the platform made the output. That is how a later run knows it: a file with this size and
time is this output, and one that was edited, or that another job made under the same name, is not. What was cut off
lies beside it under a hidden name that says which output it is of, so that a later run goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from reconciler.client import Client
from reconciler.errors import PlatformError, PlatformUnavailable, ReconcilerError
from reconciler.job import JsonObject, parse_time
from reconciler.observe import output_names

_STALE = frozenset({400, 403, 404, 410})
"""What a reference is answered with when its right, or the place that it leads to, is no more."""
_FRESH = 2
"""How often a file gets a fresh reference before it is given up."""


class Came(Protocol):
    """Told of a file's `name` and bytes that came: a negative number when they come again, 0 when the file is there
    already. `size`: all its bytes, -1 when that is not known.
    """

    def __call__(self, name: str, num_bytes: int, /, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What became of the outputs, by the names of their files: bytes by name, what was there, and what failed."""

    fetched: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    failed: dict[str, ReconcilerError] = field(default_factory=dict)


@dataclass(slots=True)
class _References:
    """The rows of the job's outputs, listed again when a reference is stale: once for all that find it out together."""

    client: Client
    job_id: str
    rows: dict[str, JsonObject]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self, stale: JsonObject) -> JsonObject | None:
        """The row again, with another reference; None when the platform has none. Raises `PlatformError`."""
        key = str(stale.get("id"))
        async with self.lock:
            if _ref(self.rows.get(key)) in (None, _ref(stale)):
                self.rows = {str(row.get("id")): row for row in await self.client.outputs(self.job_id)}
        found = self.rows.get(key)
        return found if _ref(found) not in (None, _ref(stale)) else None


def size_of(row: JsonObject) -> int | None:
    """The bytes that the platform says an output has."""
    data = row.get("data")
    told = data.get("num_bytes") if isinstance(data, dict) else None
    return told if type(told) is int and told >= 0 else None


async def download_all(
    client: Client, job_id: str, rows: Sequence[JsonObject], folder: Path, parallelism: int, came: Came
) -> Downloaded:
    """Write the outputs `rows` of a job into `folder`, at most `parallelism` at a time.

    What fails for one does not stop the others. Raises OSError when the folder cannot be written to: that stops all.
    """
    result = Downloaded()
    references = _References(client, job_id, {str(row.get("id")): row for row in rows})
    queue = iter(list(zip(output_names(rows), rows, strict=True)))

    async def work() -> None:
        for name, row in queue:
            path, told = folder / name, size_of(row)
            if (there := _kept(path, row, told)) is not None:
                result.kept[name] = there
                came(name, 0, there)
                continue
            if path.is_dir() and not path.is_symlink():
                hint = "move it away, or give --download another folder"
                result.failed[name] = PlatformError("a folder has the name of this file", hint)
                continue
            try:
                result.fetched[name] = await _download(
                    references, row, path, partial(came, name, size=-1 if told is None else told)
                )
            except PlatformError as error:
                result.failed[name] = error

    tasks = [asyncio.create_task(work()) for _ in range(min(parallelism, len(rows)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return result


def _kept(path: Path, row: JsonObject, told: int | None) -> int | None:
    """The bytes of the file at `path` when it is this output already."""
    made = _made_at(row)
    try:
        status = path.lstat()
    except OSError:
        return None
    same = made is not None and stat.S_ISREG(status.st_mode) and status.st_mtime_ns // 1000 == made
    return status.st_size if same and told in (None, status.st_size) else None


def _made_at(row: JsonObject) -> int | None:
    """When the output was made, in microseconds since 1970; None when the platform does not say it."""
    text = row.get("created_at")
    moment = parse_time(text) if isinstance(text, str) else None
    if moment is None:
        return None
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


async def _download(references: _References, row: JsonObject, path: Path, came: Callable[[int], None]) -> int:
    identity = hashlib.sha256(f"{references.job_id}\n{row.get('id')}\n{row.get('created_at')}".encode()).hexdigest()
    part = path.with_name(f".{path.name}.{identity[:12]}.part")
    with _alone(part):
        size = await _fetch(references, row, part, came)
        if (made := _made_at(row)) is not None:
            with contextlib.suppress(OSError, OverflowError):  # a time that the file system does not have
                os.utime(part, ns=(made * 1000, made * 1000))
        part.replace(path)
    return size


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Two commands must not add to one file. Raises `PlatformError` when another one is at it."""
    if part.is_symlink():
        part.unlink()
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError("another command is downloading it", "wait for its end") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if not part.stat().st_size:
                    part.unlink()


async def _fetch(references: _References, row: JsonObject, part: Path, came: Callable[[int], None]) -> int:
    """Fill `part`, from where it ends. Its bytes, as many as were told. Raises `PlatformError`, OSError."""
    told = size_of(row)
    if told is not None and (there := os.stat(part).st_size) >= told:  # noqa: PTH116 - as quick as it looks
        if there == told and told:
            came(told)
            return told
        os.truncate(part, 0)
    for left in reversed(range(_FRESH + 1)):
        try:
            size = await references.client.download(row, part, resume=True, came=came)
        except PlatformError as error:
            fresh = await references.fresh(row) if left and error.status in _STALE else None
            if fresh is None:
                raise
            row = fresh
            continue
        if told is None or size == told:
            return size
        if size > told:  # what lay there was not of this output, or the platform does not know it
            os.truncate(part, 0)
            came(-size)
        if not left or size < told:
            break
    raise PlatformUnavailable(f"{size} of {told} bytes came", "run the command again")


def _ref(row: JsonObject | None) -> object:
    data = (row or {}).get("data")
    return data.get("ref") if isinstance(data, dict) else None
