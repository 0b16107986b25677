"""`/files/uploads`: large files, in parts that may be sent again."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from reconciler.service import wire
from reconciler.service.errors import ApiError, refuse
from reconciler.service.routes.context import Context, Ctx, Org
from reconciler.service.routes.files import media_type
from reconciler.service.threads import to_its_end
from reconciler.service.uploadrows import Part

router = APIRouter(prefix="/files/uploads", tags=["uploads"])

_BLOCK = 1 << 20  # bytes that are gathered before they go to disk
_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/initiate", response_model=wire.UploadAnswer)
def initiate_upload(body: wire.InitiateUpload, request: Request, context: Ctx, org: Org) -> dict[str, Any]:
    """Begin an upload in parts, or go on with one.

    The types are those of `POST /files` and `application/x-ndjson`. A file of that name is never replaced: 409
    (a corrupt one is no file). Files may have 250 GB: `num_bytes` beyond that is 400.

    With `resume_if_started`, an upload that was begun under the name with the same type and size goes on: `parts` are
    then those without a checkpoint. Is one under way with another type or size: 409. Without `resume_if_started` a
    second upload begins, independent of the first; the name goes to the one that is complete first, and the other gets
    409 at its end. What nobody has touched for seven days is given up.

    Part numbers begin at 1, and there are at most 1000: parts of very large files are larger. `strategy` is `simple`
    when there is one part. `expires_at` is when the URLs expire, an hour from now; the upload does not.
    """
    upload, parts, is_resume = context.uploads.initiate(
        org, body.filename, media_type(body.file_type), body.num_bytes, resume=body.resume_if_started
    )
    return {
        "upload_id": upload.id,
        "file_uid": upload.file_uid,
        "file_name": upload.filename,
        "total_bytes": upload.num_bytes,
        "num_parts": upload.num_parts,
        "part_size": upload.part_size,
        "is_resume": is_resume,
        "strategy": "simple" if upload.num_parts == 1 else "multipart",
        "integrity_algorithm": "crc32c",
        "expires_at": context.links.sign(upload.id).expires_at,
        "parts": _urls(request, context, upload.id, parts),
    }


def _subject(upload_id: str, number: int) -> str:
    return f"PUT {upload_id} {number}"


def _urls(request: Request, context: Context, upload_id: str, parts: Sequence[Part]) -> list[dict[str, Any]]:
    found = []
    for part in parts:
        url = request.url_for("put_part", upload_id=upload_id, part_number=part.number)
        signed = context.links.sign(_subject(upload_id, part.number))
        found.append(
            {
                "part_number": part.number,
                "url": f"{url}?{signed.query}",
                "offset": part.offset,
                "length": part.length,
                "expires_at": signed.expires_at,
            }
        )
    return found


@router.post("/{upload_id}/parts/urls", response_model=wire.UploadParts)
def part_urls(upload_id: str, body: wire.PartNumbers, request: Request, context: Ctx, org: Org) -> dict[str, Any]:
    """Fresh URLs, in the order of the request; a number may be there twice. Earlier URLs work until they expire."""
    parts = context.uploads.parts(org, upload_id, body.part_numbers)
    return {"parts": _urls(request, context, upload_id, parts)}


@router.put(
    "/{upload_id}/parts/{part_number:int}",
    response_class=Response,
    openapi_extra=_BYTES | {"security": []},
    responses={403: {"model": wire.ErrorEnvelope}, 411: {"model": wire.ErrorEnvelope}},
)
async def put_part(
    request: Request,
    upload_id: str,
    part_number: int,
    context: Ctx,
    expires: Annotated[int, Query(ge=0, lt=1 << 53)] = 0,
    signature: str = "",
) -> Response:
    """Send the bytes of one part to a URL that this service gave; the URL is the permission, a key is not looked at.

    `Content-Length` must be the length of the part: 411 without it, 400 for less, 413 for more. The answer has an
    `ETag`, the token of the part (an MD5, in quotes), once the bytes are safe on disk. A part that is sent again
    replaces the earlier one, and its checkpoint when the bytes differ. 403 after an hour: ask `parts/urls` for a fresh
    URL.
    """
    hint = "POST …/parts/urls gives a fresh one"
    context.links.check(_subject(upload_id, part_number), expires, signature, suggestion=hint)
    part = await run_in_threadpool(context.uploads.expected, upload_id, part_number)
    _check_length(request.headers.get("content-length"), part)
    writer = context.uploads.begin(upload_id)
    try:
        async for block in _blocks(request, part):
            await to_its_end(run_in_threadpool(writer.write, block))
    except BaseException:
        writer.discard()
        raise
    token = await to_its_end(run_in_threadpool(context.uploads.keep, upload_id, part_number, writer))
    return Response(headers={"ETag": f'"{token}"'})


def _check_length(declared: str | None, part: Part) -> None:
    wanted = f"part {part.number} has {part.length} bytes"
    if declared is None:
        raise refuse(411, "missing_parameter", "the request has no Content-Length", wanted)
    if not (declared.isascii() and declared.isdigit()):
        raise refuse(400, "invalid_parameter", "Content-Length is no number", wanted)
    if int(declared[:20]) != part.length:
        raise _wrong_length(int(declared[:20]), part)


def _wrong_length(size: int, part: Part) -> ApiError:
    status, code = (413, "invalid_file_size") if size > part.length else (400, "invalid_parameter")
    return refuse(status, code, f"part {part.number} has {part.length} bytes, not {size}")


async def _blocks(request: Request, part: Part) -> AsyncGenerator[bytes, None]:
    """The body in pieces of some size, never more of it than the part has."""
    size = 0
    block = bytearray()
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > part.length:
                raise _wrong_length(size, part)
            block += chunk
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
    except ClientDisconnect:
        raise _wrong_length(size, part) from None
    if size != part.length:
        raise _wrong_length(size, part)
    yield bytes(block)


@router.post("/{upload_id}/parts/checkpoint", response_model=wire.CheckpointedParts)
def checkpoint_parts(upload_id: str, body: wire.PartTokens, context: Ctx, org: Org) -> dict[str, Any]:
    """Remember parts, so that `initiate` with `resume_if_started` leaves them out and `complete` need not name them.

    All parts of the request, or none when a token is wrong: 400 names the parts. `num_checkpointed` is the number of
    parts in this request, also of those that had a checkpoint.
    """
    context.uploads.parts(org, upload_id, [])  # that there is no such upload is said first
    tokens = _tokens(body.parts)
    context.uploads.checkpoint(org, upload_id, tokens)
    return {"num_checkpointed": len(tokens)}


@router.post("/{upload_id}/complete", response_model=wire.CompleteAnswer)
def complete_upload(upload_id: str, body: wire.CompleteUpload, context: Ctx, org: Org) -> dict[str, Any]:
    """Make the file from its parts. Each part must have a checkpoint or be named with its token; 400 names those that
    are missing or wrong, and the upload goes on.

    `integrity_checksum` is the CRC32C of the whole file: four bytes, the highest first, in base64. When it is not that
    of the bytes that came, the answer is 400 with both, and the upload is over: nobody can say which part is wrong. The
    file is then there as `FILE_STATUS_CORRUPT`, so that whoever looks sees why it cannot be used. It has no content, no
    job takes it, and a new upload under its name replaces it.

    409 when a file of that name has come meanwhile (the upload stays, until it is aborted), when the upload is over,
    or when another request is ending it. `file_attributes` is empty for files that are too large for `POST /files`.
    """
    context.uploads.parts(org, upload_id, [])  # that there is no such upload is said first
    tokens = _tokens(body.parts)
    checksum = body.integrity_checksum
    if checksum is not None:
        _check_checksum(checksum)
    stored = context.uploads.complete(org, upload_id, tokens, checksum)
    return {
        "file_uid": stored.file_uid,
        "file_name": stored.file_id,
        "num_bytes": stored.num_bytes,
        "file_status": "Registered",
        "file_attributes": stored.attributes,
    }


@router.post("/{upload_id}/abort", response_class=Response)
def abort_upload(upload_id: str, context: Ctx, org: Org) -> Response:
    """Give up an upload and free its bytes. The answer has no body; twice is like once. 409 when it is complete."""
    context.uploads.abort(org, upload_id)
    return Response()


def _tokens(parts: Sequence[wire.PartToken]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in parts:
        token = part.part_token.removeprefix('"').removesuffix('"')
        if found.setdefault(part.part_number, token) != token:
            raise refuse(400, "invalid_parameter", f"parts: {part.part_number} is there twice, with two tokens")
    return found


def _check_checksum(given: str) -> None:
    try:
        raw = base64.b64decode(given.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    if len(raw) != 4:
        raise refuse(
            400,
            "invalid_parameter",
            "integrity_checksum: not a CRC32C",
            "send its four bytes, highest first, in base64",
        )
