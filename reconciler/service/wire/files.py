"""Files, and uploads in parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictStr

from reconciler.service import names
from reconciler.service.settings import DIRECT_LIMIT
from reconciler.service.wire.base import WHOLE, Json, Request

FileName = Annotated[StrictStr, Field(pattern=names.PATTERN, max_length=names.LONGEST)]
FileType = Literal["image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json"]
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class Base64File(Request):
    """A small file inside of JSON. `data` is base64 in the standard alphabet, padded, without line breaks."""

    filename: FileName
    file_type: FileType
    data: Annotated[StrictStr, Field(pattern=_BASE64)]


class FileHandle(BaseModel):
    """A file by its name (`file_id`) and by its content (`file_uid`). `is_valid`: there is something to read."""

    is_valid: bool
    file_id: str
    file_uid: str


class FileMetadata(FileHandle):
    """All that is known about a file."""

    file_type: str
    num_bytes: int
    file_status: Literal["FILE_STATUS_REGISTERED", "FILE_STATUS_CORRUPT"]
    file_attributes: Json
    ingested: bool
    file_index: int
    file_tags: list[str]


class FilePage(BaseModel):
    """Files, newest first."""

    data: list[FileMetadata]
    has_more: bool
    next_cursor: str | None
    prev_cursor: str | None


class FilesInfo(BaseModel):
    """Totals. `last_updated` is in seconds since 1970, 0 when there is no file."""

    num_files: int
    num_bytes: int
    num_ingested: int
    last_updated: float


class InitiateUpload(Request):
    """The body of `POST /files/uploads/initiate`."""

    filename: FileName
    file_type: Literal[
        "image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json", "application/x-ndjson"
    ]
    num_bytes: Annotated[int, Field(ge=0, le=DIRECT_LIMIT), WHOLE]
    resume_if_started: StrictBool = False


class UploadPart(BaseModel):
    """Bytes `offset` to `offset + length` of the file; PUT them to `url` as it is, without a key."""

    part_number: int
    url: str
    offset: int
    length: int
    expires_at: str


class UploadParts(BaseModel):
    """Parts, in the order of the request."""

    parts: list[UploadPart]


class UploadAnswer(UploadParts):
    """An upload in parts. `parts` are those that are still to be sent; `expires_at` is when their URLs expire."""

    upload_id: str
    file_uid: str
    file_name: str
    total_bytes: int
    num_parts: int
    part_size: int
    is_resume: bool
    strategy: Literal["simple", "multipart"]
    integrity_algorithm: Literal["crc32c"]
    expires_at: str


PartNumber = Annotated[int, Field(ge=1, le=10_000), WHOLE]


class PartNumbers(Request):
    """The body of `POST /files/uploads/{upload_id}/parts/urls`."""

    part_numbers: Annotated[list[PartNumber], Field(max_length=10_000)]


class PartToken(Request):
    """A part that was sent. `part_token` is the `ETag` of the answer to the PUT, with or without its quotes."""

    part_number: PartNumber
    part_token: StrictStr


class PartTokens(Request):
    """The body of `POST /files/uploads/{upload_id}/parts/checkpoint`."""

    parts: list[PartToken]


class CompleteUpload(Request):
    """The body of `POST /files/uploads/{upload_id}/complete`. `parts` are those without a checkpoint, at least."""

    parts: list[PartToken] = Field(default_factory=list)
    integrity_checksum: Annotated[StrictStr, Field(pattern="^[A-Za-z0-9+/]{5}[AQgw]==$")] | None = None


class CheckpointedParts(BaseModel):
    """How many parts of the request have a checkpoint now."""

    num_checkpointed: int


class CompleteAnswer(BaseModel):
    """The file that the parts made."""

    file_uid: str
    file_name: str
    num_bytes: int
    file_status: Literal["Registered"]
    file_attributes: Json
