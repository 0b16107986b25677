"""Sending files: the simple way, in one request, or the direct way, in parts that a later run can go on with.

A file's name on the platform says its content, so whatever is repeated here is harmless: the same name gets the same
bytes. What is unsure is looked up: a file is there when the platform has it under its name, whole and valid.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reconciler.client.contents import Changed, Parted, Sent, Whole
from reconciler.client.response import Response
from reconciler.client.transport import STORING_TIMEOUT, Transport
from reconciler.errors import PlatformError, PlatformUnavailable
from reconciler.job import JsonObject, Upload

DIRECT_FROM = 64 << 20
"""Bytes from which on a file goes in parts. The platform takes up to eight times as much in one request."""
NDJSON = "application/x-ndjson"
PARTS = 4
"""Parts of one file that are under way at a time."""
_FRESH = 3
"""How often a part gets a fresh URL before it is given up."""
_UPLOADS = "/files/uploads"
_NO_SUCH_WAY = frozenset({404, 405, 501})


async def metadata(transport: Transport, file_id: str) -> JsonObject | None:
    """`GET /files/metadata/{file_id}`; None when there is no such file. Raises `PlatformError`."""
    return _metadata(file_id, await transport.ask("GET", f"/files/metadata/{quote(file_id, safe='')}"))


async def metadata_once(transport: Transport, file_id: str) -> JsonObject | None:
    """`metadata` without patience: the first failure is the answer."""
    return _metadata(file_id, await transport.ask_once("GET", f"/files/metadata/{quote(file_id, safe='')}"))


def _metadata(file_id: str, response: Response) -> JsonObject | None:
    if response.status == 404:
        return None
    if not response.ok:
        raise response.error(f"file {file_id}")
    return response.value if isinstance(response.value, dict) else {}


async def is_there(transport: Transport, upload: Upload) -> bool:
    """Whether the platform has this content already. Raises `PlatformError`."""
    found = await metadata(transport, upload.file_id)
    return found is not None and found.get("num_bytes") == upload.num_bytes and found.get("is_valid") is not False


async def send(transport: Transport, upload: Upload, path: Path, sent: Sent) -> None:
    """Send the file at `path` the way that its type and size ask for. Raises `PlatformError`, OSError.

    JSON lines go the direct way: the simple one does not take them as what they are.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if upload.media_type != NDJSON and size < DIRECT_FROM:
        await _simple(transport, upload, path, sent)
        return
    sized = replace(upload, num_bytes=size)
    told = 0

    def counted(num_bytes: int) -> None:
        nonlocal told
        told += num_bytes
        sent(num_bytes)

    try:
        try:
            await _direct(transport, sized, path, counted)
        except _Over:  # another run has ended the upload meanwhile, or what arrived was damaged on the way
            sent(-told)
            await _direct(transport, sized, path, sent)
    except _NoSuchWay:
        kind = "text/plain" if upload.media_type == NDJSON else upload.media_type
        await _simple(transport, replace(upload, media_type=kind), path, sent)


async def _simple(transport: Transport, upload: Upload, path: Path, sent: Sent) -> None:
    opened: list[Whole] = []

    def files() -> dict[str, Any]:
        # Each attempt reads the file from its beginning.
        if opened:
            opened[-1].close(again=True)
            if opened[-1].changed:
                raise Changed(upload)
        opened.append(Whole(upload, path, sent))
        return {"file": (upload.file_id, opened[-1], upload.media_type)}

    try:
        response = await transport.ask("POST", "/files", make_files=files)
    finally:
        if opened:
            opened[-1].close(again=False)
    if opened[-1].changed:
        raise Changed(upload)
    if not response.ok:
        raise response.error(f"upload of {upload.path}")
    value = response.value if isinstance(response.value, dict) else {}
    if value.get("is_valid") is False or value.get("file_id") != upload.file_id:
        raise PlatformError(f"upload of {upload.path}: the platform did not take it as {upload.file_id}")


class _NoSuchWay(PlatformError):
    """The platform does not know uploads in parts."""


class _Over(PlatformError):
    """The upload has ended without the file: another one can begin."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of the file, and where they go. `number` is the server's own."""

    number: int
    url: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class _Begun:
    """An upload that is under way: what it still needs."""

    id: str
    parts: tuple[_Part, ...]
    with_checksum: bool


async def _direct(transport: Transport, upload: Upload, path: Path, sent: Sent) -> None:
    begun = await _initiate(transport, upload)
    if begun is None:
        sent(upload.num_bytes)
        return
    left = sum(part.length for part in begun.parts)
    with Parted(upload, path) as file:
        try:
            file.still_same()
            checksum = await asyncio.to_thread(file.checksum)
            sent(upload.num_bytes - left)
            tokens = await _send_parts(transport, upload, begun, file, sent)
            file.still_same()
        except Changed:  # a later run must not go on with parts of another content
            await transport.ask("POST", f"{_UPLOADS}/{quote(begun.id, safe='')}/abort")
            raise
    await _complete(transport, upload, begun, tokens, checksum)


async def _initiate(transport: Transport, upload: Upload) -> _Begun | None:
    """Begin, or go on with what an earlier run has begun. None when the file is there already."""
    body = {"filename": upload.file_id, "file_type": upload.media_type, "num_bytes": upload.num_bytes}
    # A repeated request finds the upload that the first one, whose answer was lost, has begun.
    for resume in (True, False):
        response = await transport.ask("POST", f"{_UPLOADS}/initiate", json={**body, "resume_if_started": resume})
        if response.status != 409:
            break
        if await is_there(transport, upload):
            return None
        # Under the name an upload of another type may have begun: this one can be independent of it.
    if response.status in _NO_SUCH_WAY:
        raise _NoSuchWay(f"upload of {upload.path}: the platform takes no uploads in parts", status=response.status)
    if not response.ok:
        raise response.error(f"upload of {upload.path}")
    value = response.value if isinstance(response.value, dict) else {}
    upload_id, rows = value.get("upload_id"), value.get("parts")
    if not isinstance(upload_id, str) or not upload_id or not isinstance(rows, list):
        raise _not_understood(upload)
    parts = tuple(_part(row, upload) for row in rows)
    return _Begun(upload_id, parts, value.get("integrity_algorithm") == "crc32c")


def _part(row: Any, upload: Upload) -> _Part:
    if not isinstance(row, dict) or not isinstance(row.get("url"), str):
        raise _not_understood(upload)
    number, offset, length = (row.get(key) for key in ("part_number", "offset", "length"))
    if not (type(number) is int and type(offset) is int and type(length) is int):
        raise _not_understood(upload)
    if offset < 0 or length < 0 or offset + length > upload.num_bytes:
        raise _not_understood(upload)
    return _Part(number, row["url"], offset, length)


def _not_understood(upload: Upload) -> PlatformError:
    return PlatformError(f"upload of {upload.path}: the platform's answer does not say where its parts go")


async def _send_parts(
    transport: Transport, upload: Upload, begun: _Begun, file: Parted, sent: Sent
) -> list[JsonObject]:
    """Send the parts, a few at a time. The tokens of those that the platform would not remember."""
    turn = asyncio.Semaphore(PARTS)
    forgotten: list[JsonObject] = []

    async def one(part: _Part) -> None:
        async with turn:
            token = {"part_number": part.number, "part_token": await _put(transport, upload, begun, part, file, sent)}
            if not await _checkpoint(transport, begun, token):
                forgotten.append(token)

    tasks = [asyncio.create_task(one(part)) for part in begun.parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return forgotten


async def _put(transport: Transport, upload: Upload, begun: _Begun, part: _Part, file: Parted, sent: Sent) -> str:
    """Send one part; its token. Raises `_Over` when there is no such upload any longer."""

    told = 0

    def counted(num_bytes: int) -> None:
        nonlocal told
        told += num_bytes
        sent(num_bytes)

    def blocks() -> AsyncIterator[bytes]:
        if file.changed:
            raise Changed(upload)
        counted(-told)  # each attempt begins at the part's first byte
        return file.blocks(part.offset, part.length, counted)

    url = part.url
    for left in reversed(range(_FRESH + 1)):
        response = await transport.put(url, part.length, blocks)
        if response.ok:
            break
        if not left or not expired(response):
            raise _refused(response, upload)
        url = await _fresh_url(transport, upload, begun, part)
    token = response.headers.get("etag")
    if not token:
        raise PlatformError(f"upload of {upload.path}: the answer to part {part.number} has no ETag")
    return str(token)


def expired(answer: Response | PlatformError) -> bool:
    """Whether an answer to a storage URL says that its right has run out."""
    text = answer.text if isinstance(answer, Response) else answer.message
    return answer.status == 403 or (answer.status == 400 and "expired" in text.casefold())


def _refused(response: Response, upload: Upload) -> PlatformError:
    error = response.error(f"upload of {upload.path}")
    return _Over(error.message, error.hint, status=error.status) if response.status in (404, 409) else error


async def _fresh_url(transport: Transport, upload: Upload, begun: _Begun, part: _Part) -> str:
    path = f"{_UPLOADS}/{quote(begun.id, safe='')}/parts/urls"
    response = await transport.ask("POST", path, json={"part_numbers": [part.number]})
    if not response.ok:
        raise _refused(response, upload)
    rows = response.value.get("parts") if isinstance(response.value, dict) else None
    if not isinstance(rows, list) or len(rows) != 1:
        raise _not_understood(upload)
    return _part(rows[0], upload).url


async def _checkpoint(transport: Transport, begun: _Begun, token: JsonObject) -> bool:
    """Have the platform remember a part. Whether it does: without that, the token goes with the end of the upload."""
    path = f"{_UPLOADS}/{quote(begun.id, safe='')}/parts/checkpoint"
    try:
        return (await transport.ask("POST", path, json={"parts": [token]})).ok
    except PlatformUnavailable:
        return False


async def _complete(
    transport: Transport, upload: Upload, begun: _Begun, tokens: Sequence[JsonObject], checksum: str
) -> None:
    """Make the file of its parts. Raises `_Over` when what arrived is not what was sent."""
    path = f"{_UPLOADS}/{quote(begun.id, safe='')}/complete"
    body = {"parts": tokens, **({"integrity_checksum": checksum} if begun.with_checksum else {})}

    async def attempt() -> None:
        response = await transport.ask("POST", path, json=body, seconds=STORING_TIMEOUT)
        found = await metadata(transport, upload.file_id)
        if found is not None and found.get("is_valid") is not False and found.get("num_bytes") == upload.num_bytes:
            return  # also when the first answer was lost, or another run was faster
        if found is not None and found.get("is_valid") is False:
            message = f"upload of {upload.path}: what arrived is not what was sent"
            raise _Over(message, "run the command again: all of it is sent anew", status=response.status)
        if response.ok:
            raise PlatformError(f"upload of {upload.path}: the platform did not take it as {upload.file_id}")
        if response.status == 409:  # an earlier request of ours may still be putting the parts together
            raise PlatformUnavailable(response.error(f"upload of {upload.path}").message, status=response.status)
        raise _refused(response, upload)

    await transport.patiently(attempt)
