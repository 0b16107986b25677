"""`/files`: what jobs read."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from reconciler.service import wire
from reconciler.service.errors import refuse
from reconciler.service.files import ACCEPTED_TYPES, CORRUPT, StoredFile
from reconciler.service.routes.context import Ctx, Org

router = APIRouter(prefix="/files", tags=["files"])

_FRAMING = 1 << 16  # bytes that the boundaries and headers of a multipart body may take on top of the file
_CURSOR = r"^[0-9]{1,18}$"
_MULTIPART = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                },
                "encoding": {"file": {"contentType": ", ".join(ACCEPTED_TYPES)}},
            }
        },
    }
}


class _Capped:
    """A body that is cut off when it grows too large."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._limit = limit
        self.exceeded = False

    async def stream(self) -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            if size > self._limit:
                self.exceeded = True
                raise MultiPartException("too large")  # the parser closes its temporary files on this one
            yield chunk


@router.post("", response_model=wire.FileHandle, openapi_extra=_MULTIPART)
async def upload_file(request: Request, context: Ctx, org: Org) -> dict[str, Any]:
    """Store a file under its name; a file of that name gets the new content. The form field may have any name.

    The part's content type is the file's, and must be one of those that are taken. `application/x-ndjson` goes as
    `text/plain`, or through `POST /files/uploads/initiate`.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise refuse(400, "invalid_parameter", "the body must be multipart/form-data with one file")
    limit = context.settings.upload_limit
    body = _Capped(request, limit + _FRAMING)
    too_large = refuse(
        413, "invalid_file_size", f"the file is larger than {limit:,} bytes", "POST /files/uploads/initiate takes it"
    )
    try:
        form = await MultiPartParser(request.headers, body.stream(), max_files=1).parse()
    except MultiPartException as error:
        if body.exceeded:
            raise too_large from None
        raise refuse(400, "invalid_parameter", f"the multipart body is broken: {error.message}") from None
    try:
        parts = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(parts) != 1:
            raise refuse(400, "missing_parameter", "the form has no file", "send one part with filename=…")
        part = parts[0]
        if (part.size or 0) > limit:
            raise too_large
        kind = media_type(part.content_type or "")
        stored = await run_in_threadpool(context.files.put, org, part.filename or "", kind, part.file)
    finally:
        await form.close()
    return _handle(stored)


@router.post("/base64", response_model=wire.FileHandle)
def upload_base64(body: wire.Base64File, context: Ctx, org: Org) -> dict[str, Any]:
    """Store a small file that comes inside of JSON, under the rules of `POST /files`: a file of that name gets the
    new content. The body is read into memory and has a limit of its own, 64 MiB unless the service was started with
    another.
    """
    try:
        content = base64.b64decode(body.data.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        hint = "use the standard alphabet, padded, without line breaks"
        raise refuse(400, "invalid_parameter", f"data: not base64: {error}", hint) from None
    limit = context.settings.upload_limit
    if len(content) > limit:
        raise refuse(413, "invalid_file_size", f"the file is larger than {limit:,} bytes")
    return _handle(context.files.put(org, body.filename, media_type(body.file_type), io.BytesIO(content)))


def media_type(declared: str) -> str:
    """The type without its parameters, in lower case."""
    return declared.partition(";")[0].strip().lower()


def _handle(stored: StoredFile) -> dict[str, Any]:
    return {"is_valid": stored.status != CORRUPT, "file_id": stored.file_id, "file_uid": stored.file_uid}


def _metadata(stored: StoredFile) -> dict[str, Any]:
    return _handle(stored) | {
        "file_type": stored.file_type,
        "num_bytes": stored.num_bytes,
        "file_status": f"FILE_STATUS_{stored.status}",
        "file_attributes": stored.attributes,
        "ingested": False,
        "file_index": stored.seq,
        "file_tags": [],
    }


@router.get("/metadata", response_model=wire.FilePage)
def list_files(
    context: Ctx,
    org: Org,
    limit: Annotated[int, Query(description="Rows to return; brought into 1 to 1000.")] = 100,
    after: Annotated[str | None, Query(description="A `next_cursor`: what is older.", pattern=_CURSOR)] = None,
    before: Annotated[str | None, Query(description="A `prev_cursor`: what is newer.", pattern=_CURSOR)] = None,
    file_type: Annotated[str | None, Query(description="Only files of this type, as it was declared.")] = None,
) -> dict[str, Any]:
    """The files, newest first."""
    page = context.files.page(
        org, limit=min(max(limit, 1), 1000), after=after, before=before, file_type=file_type or None
    )
    return {
        "data": [_metadata(stored) for stored in page.files],
        "has_more": page.next_cursor is not None,
        "next_cursor": page.next_cursor,
        "prev_cursor": page.prev_cursor,
    }


@router.get("/metadata/{file_id}", response_model=wire.FileMetadata)
def get_file(file_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """One file. A file is there once it is complete; what is being uploaded has no metadata yet. With
    `FILE_STATUS_CORRUPT` the bytes that came were not those that the sender's checksum was made of.
    """
    return _metadata(context.files.get(org, file_id))


@router.get("/info", response_model=wire.FilesInfo)
def files_info(context: Ctx, org: Org) -> dict[str, Any]:
    """Totals."""
    count, size, last = context.files.totals(org)
    return {"num_files": count, "num_bytes": size, "num_ingested": 0, "last_updated": last}


@router.get("/download/{file_id}", response_class=FileResponse)
def download_file(file_id: str, context: Ctx, org: Org) -> FileResponse:
    """The bytes of a file, or the part of them that a `Range` header asks for. 400 for a corrupt file."""
    stored = context.files.get(org, file_id)
    if stored.status == CORRUPT:
        raise refuse(400, "file_corrupt", f"the file {file_id!r} did not arrive as it was sent", "upload it again")
    path = context.contents.path(stored.file_uid, stored.file_id)
    if not path.is_file():
        raise refuse(404, "file_not_found", f"the content of {file_id!r} has just been replaced", "ask again")
    return FileResponse(path, media_type="application/octet-stream", filename=stored.file_id)


@router.delete("/delete/{file_id}", response_model=wire.FileHandle)
def delete_file(file_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """Take a file away. Jobs that were made with it keep their copy."""
    return _handle(context.files.delete(org, file_id))
