"""What belongs to a job: events, inputs, outputs, checkpoints, progress."""

from __future__ import annotations

from pydantic import BaseModel

from reconciler.service.wire.base import DataRef, EventLevel, InputStatus, Json, Page
from reconciler.service.wire.jobs import InputProgress


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
