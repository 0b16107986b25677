"""What goes over HTTP, as the platform names it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, StrictStr, Tag
from pydantic_core import PydanticCustomError

from reconciler.service import names
from reconciler.service.jobs import JobStatus
from reconciler.service.settings import DIRECT_LIMIT

PipelineType = Literal["batch", "training"]
InputStatus = Literal["pending", "processing", "completed", "failed", "reference"]
EventLevel = Literal["INFO", "WARN", "ERROR", "SUCCESS", "FAILED"]
Json = dict[str, Any]


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# As in JSON Schema, 3.0 is an integer; "3" and true are not.
_WHOLE = BeforeValidator(_number)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FileItem(_Request):
    """A file at an input port. On an n-shot port, `metadata.class` is the label."""

    kind: Literal["file"] = "file"
    file_id: Annotated[StrictStr, Field(min_length=1)]
    metadata: Json = Field(default_factory=dict)


class CheckpointItem(_Request):
    """A checkpoint of an earlier job at an input port."""

    kind: Literal["checkpoint"]
    checkpoint_id: Annotated[StrictStr, Field(min_length=1)]
    metadata: Json = Field(default_factory=dict)


def _kind(item: Any) -> str:
    kind = item.get("kind", "file") if isinstance(item, dict) else getattr(item, "kind", "file")
    return kind if kind in KINDS else "file"


KINDS = ("file", "checkpoint")
InputItem = Annotated[
    Annotated[FileItem, Tag("file")] | Annotated[CheckpointItem, Tag("checkpoint")], Discriminator(_kind)
]


class ComponentParameters(_Request):
    """How wide a component runs and with what configuration."""

    parallelism: Annotated[int, Field(ge=1, le=10_000), _WHOLE] | None = None
    config: Json | None = None


class CreateJob(_Request):
    """The body of `POST /batch/jobs`. Absent, null and empty `inputs` or `parameters` mean the same."""

    name: Annotated[StrictStr, Field(min_length=1, pattern=r"\S")]
    pipeline_type: PipelineType
    pipeline_key: Annotated[StrictStr, Field(min_length=1)]
    pipeline_version: Annotated[StrictStr, Field(min_length=1)] | None = None
    inputs: dict[str, list[InputItem]] | None = None
    parameters: dict[str, ComponentParameters] | None = None


class InputProgress(BaseModel):
    """How many tracked inputs are in each status."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0


class JobAnswer(BaseModel):
    """A job. Every field is always there."""

    id: str
    org_id: str
    name: str
    pipeline_type: PipelineType
    pipeline_key: str
    pipeline_version: str
    status: JobStatus
    parameters: Json
    retry_count: int
    preemption_count: int
    queue_position: int | None
    queue_depth: int | None
    input_progress: InputProgress = InputProgress()
    created_at: str
    updated_at: str
    started_at: str | None
    completed_at: str | None
    failed_at: str | None
    cancelled_at: str | None
    error: Json | None


class Page(BaseModel):
    """What all lists by offset have in common; `limit` is the one that was used."""

    total: int
    offset: int
    limit: int


class JobPage(Page):
    """Jobs, newest first."""

    jobs: list[JobAnswer]


class CancelAnswer(BaseModel):
    """The cancel was accepted; the processes end within moments."""

    id: str
    status: JobStatus
    cancelled_at: str


class RetryAnswer(BaseModel):
    """The job is queued again."""

    id: str
    status: JobStatus
    retry_count: int


class QueueDepth(BaseModel):
    """How many jobs of one type wait."""

    pipeline_type: PipelineType
    depth: int


class Queues(BaseModel):
    """The depths of all types, zeros included."""

    queues: list[QueueDepth]


class Event(BaseModel):
    """An entry in a job's log."""

    id: int
    event_type: str
    level: EventLevel
    message: str | None
    payload: Json
    input_id: str | None
    index: int | None
    created_at: str


class EventPage(Page):
    """Events, newest first."""

    job_id: str
    events: list[Event]


class DataRef(BaseModel):
    """Where content is. `ref` begins with `/` and is relative to the base of the API; fetch it with the same key."""

    ref: str
    filename: str
    file_type: str
    file_extension: str
    num_bytes: int
    metadata: Json
    file_attributes: Json


class Input(BaseModel):
    """One file at one port of a job."""

    id: str
    job_id: str
    port_name: str
    file_id: str
    data: DataRef
    status: InputStatus
    error_message: str | None
    created_at: str
    completed_at: str | None


class InputPage(Page):
    """Inputs, in the order of the request that made the job."""

    job_id: str
    inputs: list[Input]


class Output(BaseModel):
    """One file that a job made. `data.ref` works until `expires_at`."""

    id: str
    job_id: str
    port_name: str
    input_id: str | None
    input_file_id: str | None
    data: DataRef
    expires_at: str
    created_at: str


class OutputPage(Page):
    """Outputs, oldest first."""

    job_id: str
    outputs: list[Output]


class Checkpoint(BaseModel):
    """A state of a model that a training job has saved. `data.ref` works for an hour."""

    id: str
    job_id: str
    name: str
    step: int
    metrics: Json
    data: DataRef
    created_at: str


class CheckpointPage(Page):
    """Checkpoints, oldest first."""

    job_id: str
    checkpoints: list[Checkpoint]


class ProgressEntry(BaseModel):
    """What a worker said about how far it is."""

    id: int
    kind: str
    step: int
    message: str | None
    metrics: Json
    payload: Json
    input_id: str | None
    index: int | None
    created_at: str


class ProgressPage(Page):
    """Progress entries, newest first."""

    job_id: str
    entries: list[ProgressEntry]


class InputWithProgress(BaseModel):
    """A tracked input and what was said last about it; `step` is that of `latest_progress`."""

    input: Input
    latest_progress: ProgressEntry | None
    step: int | None


class InputProgressPage(Page):
    """Tracked inputs, in the order of the request, or the other way round."""

    job_id: str
    items: list[InputWithProgress]


class InputCounts(InputProgress):
    """How many tracked inputs of a job, or of one of its ports, are in each status."""

    job_id: str


class FileCounts(BaseModel):
    """Inputs that have ended."""

    completed: int
    failed: int


class ItemCounts(BaseModel):
    """Items within inputs that were worked on: lines, windows, images."""

    success: int
    failed: int


class TracePoint(BaseModel):
    """Sums up to the time `t`; they only grow."""

    t: str
    step: int
    files: FileCounts
    items: dict[str, ItemCounts]


class Traces(BaseModel):
    """How the job went on over time, in buckets of `bucket_seconds`."""

    job_id: str
    bucket_seconds: float
    latest_event_at: str | None
    points: list[TracePoint]


class DeleteAnswer(BaseModel):
    """The job is gone, with all that belonged to it."""

    id: str
    deleted: Literal[True]


FileName = Annotated[StrictStr, Field(pattern=names.PATTERN, max_length=names.LONGEST)]
FileType = Literal["image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json"]
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class Base64File(_Request):
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


class InitiateUpload(_Request):
    """The body of `POST /files/uploads/initiate`."""

    filename: FileName
    file_type: Literal[
        "image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json", "application/x-ndjson"
    ]
    num_bytes: Annotated[int, Field(ge=0, le=DIRECT_LIMIT), _WHOLE]
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


PartNumber = Annotated[int, Field(ge=1, le=10_000), _WHOLE]


class PartNumbers(_Request):
    """The body of `POST /files/uploads/{upload_id}/parts/urls`."""

    part_numbers: Annotated[list[PartNumber], Field(max_length=10_000)]


class PartToken(_Request):
    """A part that was sent. `part_token` is the `ETag` of the answer to the PUT, with or without its quotes."""

    part_number: PartNumber
    part_token: StrictStr


class PartTokens(_Request):
    """The body of `POST /files/uploads/{upload_id}/parts/checkpoint`."""

    parts: list[PartToken]


class CompleteUpload(_Request):
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


class PipelineAnswer(BaseModel):
    """One version of a pipeline."""

    id: str
    pipeline_key: str
    pipeline_version: str
    name: str
    description: str
    pipeline_type: PipelineType
    components: dict[str, str]
    default_config: dict[str, Json]
    config_schema: Json
    user_config_schema: Json
    edges: list[Json]
    inputs: dict[str, Json]
    outputs: dict[str, Json]
    retry_policy: Json
    visibility: Literal["platform", "org"]
    org_id: str
    status: Literal["draft", "published", "deactivated", "deleted"]
    created_at: str
    updated_at: str


class PipelinePage(Page):
    """Pipeline versions, by key and then newest version first."""

    pipelines: list[PipelineAnswer]


class PipelineSchema(BaseModel):
    """What a pipeline version takes and gives. `user_schema` describes a component's `config`."""

    id: str
    pipeline_key: str
    pipeline_version: str
    user_schema: Json
    config_schema: Json
    inputs: dict[str, Json]
    outputs: dict[str, Json]


class ErrorEntry(BaseModel):
    """One fault."""

    code: str
    message: str
    suggestion: str | None
    error_uid: str


class ErrorEnvelope(BaseModel):
    """Every answer that is not a success."""

    errors: list[ErrorEntry]
