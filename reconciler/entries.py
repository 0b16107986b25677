"""Journal entries: what a run announces, and what came of it. They are what the journal holds on disk."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from reconciler.job import CancelCause, JobId, JsonObject, OnRemove, PlatformFile, Source

_NAMESPACE = uuid.UUID("9d4f1c1e-6a63-4f0e-8f4b-2c8f5d3b7a10")


def token(lineage: str, name: str, generation: int) -> str:
    """The idempotency token of one deliberate submission: the same decision always has the same token."""
    return str(uuid.uuid5(_NAMESPACE, f"{lineage}\n{generation}\n{name}"))


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    name: str
    at: str = Field(description="When, by our clock, RFC 3339 UTC.")


class Intent(_Entry):
    """Written and synced before the request leaves: from here on there may be a job."""

    kind: Literal["intent"] = "intent"
    action: Literal["create", "replace"]
    fingerprint: str
    generation: int
    token: str
    request: JsonObject
    sent: JsonObject | None = Field(None, description="The body that was sent, where it is not `request`.")
    sources: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    spec_path: str
    line: int | None = None
    source: Source | None = None
    protect: bool = False
    on_remove: OnRemove = "prune"
    rerun: str | None = None
    files: dict[str, PlatformFile] = Field(default_factory=dict)
    why: str | None = Field(None, description="The reason that the plan gave.")
    platform_time: str | None = Field(None, description="The platform's clock at that moment, if it was known.")


class Submitted(_Entry):
    """The outcome of an intent: there is a job, ours."""

    kind: Literal["submitted"] = "submitted"
    token: str
    job_id: JobId
    job: JsonObject
    adopted: bool = Field(default=False, description="It was found by a look-up, not answered to the request.")
    why: str | None = Field(None, description="How it was found, when it was.")


class NotSubmitted(_Entry):
    """The outcome of an intent: there is no job. `refused` when the platform said so, else a look-up did."""

    kind: Literal["not-submitted"] = "not-submitted"
    token: str
    refused: bool
    reason: str


class Adopted(_Entry):
    """A platform job that was not recorded, taken over."""

    kind: Literal["adopted"] = "adopted"
    job_id: JobId
    fingerprint: str
    request: JsonObject
    secrets: dict[str, str] = Field(default_factory=dict)
    spec_path: str
    job: JsonObject
    line: int | None = None
    source: Source | None = None
    protect: bool = False
    on_remove: OnRemove = "prune"
    rerun: str | None = None
    why: str | None = None


class Retried(_Entry):
    """Written before the platform is asked to run the job again, so that the budget is never overdrawn."""

    kind: Literal["retried"] = "retried"
    job_id: JobId
    attempt: int
    undone: bool = Field(default=False, description="The platform certainly did not run it: the attempt is given back.")
    source: Source | None = None


class Cancelled(_Entry):
    """This run is to be cancelled, and why. Written before the platform is asked: what follows depends on it."""

    kind: Literal["cancelled"] = "cancelled"
    job_id: JobId
    attempt: int
    cause: CancelCause = "hand"
    undone: bool = Field(default=False, description="The platform certainly did not cancel it.")
    source: Source | None = None


class Observed(_Entry):
    """The platform's word on a recorded job; `job` is None when it has no such job."""

    kind: Literal["observed"] = "observed"
    job_id: JobId
    job: JsonObject | None


class Moved(_Entry):
    """The record goes to another name."""

    kind: Literal["moved"] = "moved"
    job_id: JobId
    moved_from: str
    spec_path: str
    line: int | None = None
    protect: bool | None = Field(None, description="As the spec says; None in journals that did not say it.")
    on_remove: OnRemove | None = None
    source: Source | None = None


class Protected(_Entry):
    """The spec says otherwise than the record whether the job is protected, or what its removal means."""

    kind: Literal["protected"] = "protected"
    job_id: JobId
    protect: bool
    on_remove: OnRemove | None = None


class Forgotten(_Entry):
    """The record is dropped."""

    kind: Literal["forgotten"] = "forgotten"
    job_id: JobId


Entry: TypeAlias = Annotated[
    Intent | Submitted | NotSubmitted | Adopted | Retried | Cancelled | Observed | Moved | Protected | Forgotten,
    Field(discriminator="kind"),
]
