"""Jobs and the queue."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, StrictStr, Tag

from reconciler.service.jobs import JobStatus
from reconciler.service.wire.base import WHOLE, Json, Page, PipelineType, Request


class FileItem(Request):
    """A file at an input port. On an n-shot port, `metadata.class` is the label."""

    kind: Literal["file"] = "file"
    file_id: Annotated[StrictStr, Field(min_length=1)]
    metadata: Json = Field(default_factory=dict)


class CheckpointItem(Request):
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


class ComponentParameters(Request):
    """How wide a component runs and with what configuration."""

    parallelism: Annotated[int, Field(ge=1, le=10_000), WHOLE] | None = None
    config: Json | None = None


class CreateJob(Request):
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


class DeleteAnswer(BaseModel):
    """The job is gone, with all that belonged to it."""

    id: str
    deleted: Literal[True]
