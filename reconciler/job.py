"""The nouns: desired, recorded and observed jobs, and the state that holds the records.

Nothing here reads or writes anything. The recorded nouns are pydantic models because they are a file format; fields
that this version does not know are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from reconciler.errors import Location

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as it was read; only `load` and the client look inside without a model."""


def timestamp(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds: how times are written in the state and the journal."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time with 0 to 9 digits of a second; None for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class JobStatus(StrEnum):
    """The statuses that the platform documents. It may add more: an unknown one is in flight."""

    PENDING = "PENDING"
    ADMITTED = "ADMITTED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


def is_terminal(status: str) -> bool:
    """Whether a job with this status has ended. Statuses that we do not know are in flight."""
    return status in TERMINAL


@dataclass(frozen=True, slots=True)
class Upload:
    """A local file that a job needs on the platform, under a name that says its content."""

    path: str
    file_id: str
    digest: str
    num_bytes: int
    media_type: str


CancelCause: TypeAlias = Literal["hand", "timeout", "preempted", "suspend", "replace"]
"""Why we cancelled a job and kept its record, for a time at least."""
OnRemove: TypeAlias = Literal["prune", "cancel", "forget"]
"""What happens to a job when its spec is removed: what --prune says, it is cancelled, or left alone and forgotten."""


class Policy(Struct, frozen=True, omit_defaults=True):
    """What `reconcile` in a spec asks for. `attempts` counts every run of one submission, the first included."""

    attempts: int = 1
    on_change: Literal["cancel", "keep"] = "cancel"
    protect: bool = False
    retry_on: tuple[str, ...] = ("failed", "cancelled")
    backoff: float = 0.0
    """Seconds between the end of a run and the next one; doubled for each further one."""
    timeout: float | None = None
    """Seconds that a run may take."""
    preempted: float | None = None
    """Seconds that a job may stay PREEMPTED."""
    suspend: bool = False
    rerun: str | None = None
    moved_from: str | None = None
    on_remove: OnRemove = "prune"


class DesiredJob(Struct, frozen=True, omit_defaults=True):
    """A fully resolved job that the specs ask for. `request` is the body of `POST /batch/jobs` without `name`."""

    name: str
    request: JsonObject
    fingerprint: str
    location: Location
    policy: Policy = Policy()
    uploads: tuple[Upload, ...] = ()
    env: tuple[str, ...] = ()
    """Variables of the environment that stand in `request`, unfilled: `${{ env.NAME }}`."""
    needs: frozenset[str] = frozenset()
    """Jobs that must have COMPLETED before this one is submitted, those whose outputs it takes among them."""
    partial: bool = False
    """Of `request` only the pipeline is here: what the fingerprint is of was read in an earlier run."""


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """What the platform says about one job. `raw` is the job object as it came, without credentials."""

    id: str
    name: str
    status: str
    pipeline_type: str = ""
    pipeline_key: str = ""
    pipeline_version: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    retry_count: int = 0
    preemption_count: int = 0
    queue_position: int | None = None
    queue_depth: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    failed_at: str | None = None
    cancelled_at: str | None = None
    error: Mapping[str, Any] | None = None
    raw: JsonObject = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """The platform answered with the job."""

    job: ObservedJob


@dataclass(frozen=True, slots=True)
class Gone:
    """The platform answered that there is no such job."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The platform gave no usable answer. This is an absence of news, not news."""

    reason: str


Observation: TypeAlias = Seen | Gone | Unreachable


@dataclass(frozen=True, slots=True)
class FailureLog:
    """What the platform tells about a job that FAILED, as far as it was read. `absent` says what could not be."""

    events: tuple[JsonObject, ...] = ()
    """The newest of its events, oldest first."""
    events_left_out: int = 0
    inputs: tuple[JsonObject, ...] = ()
    """Inputs that failed, the first of them, without references."""
    absent: str | None = None


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


JobId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s/\\?#%\x00-\x1f\x7f]+$")]
Fingerprint = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Timestamp: TypeAlias = str
"""RFC 3339, UTC. The platform's own are kept as it wrote them."""


class Source(_Stored):
    """Where specs came from: what was checked out, and what ran the command. Null is not known."""

    commit: str | None = None
    branch: str | None = None
    author: str | None = Field(None, description="Who wrote the commit.")
    dirty: bool | None = Field(None, description="Specs, or files that they name, were not what the commit has.")
    folder: str = Field("", description="The working directory, seen from the top of the repository.")
    repository: str | None = Field(None, description="The repository's web address.")
    run_url: str | None = Field(None, description="The page of the CI run.")
    tool_version: str = ""


class Retry(_Stored):
    """One more run of the same platform job that we asked for."""

    attempt: int
    at: Timestamp
    source: Source | None = Field(None, description="What was checked out, and what ran the command, at the retry.")


class Cancellation(_Stored):
    """That one run of the job was cancelled through us, and why. What a person cancelled no policy runs again."""

    attempt: int = Field(description="Which run it was, of those that we asked for.")
    cause: CancelCause = "hand"
    at: Timestamp
    source: Source | None = Field(None, description="What was checked out, and what ran the command.")


class Move(_Stored):
    """A record that went to another name. Its spec is at the record's `spec_path` since the commit of `source`."""

    moved_from: str
    at: Timestamp
    spec_path: str = Field(description="Where the spec was under the old name.")
    line: int | None = None
    source: Source | None = None


class PastJob(_Stored):
    """A platform job that a spec had before the present one. `reason`: why it is the present one no longer."""

    job_id: JobId
    fingerprint: Fingerprint
    status: str
    submitted_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    reason: str
    request: JsonObject | None = None
    spec_path: str | None = None
    line: int | None = None
    source: Source | None = None
    why: str | None = Field(None, description="Why it was submitted or taken over.")
    taken_over_at: Timestamp | None = None
    attempts: int | None = Field(None, description="Runs of this submission that we asked for; null is not known.")
    retries: tuple[Retry, ...] = ()
    cancellation: Cancellation | None = None
    moves: tuple[Move, ...] = ()


class PlatformFile(_Stored):
    """One content of a file of the platform: its `file_id` can get another one, this does not."""

    file_uid: str
    num_bytes: int | None = None


class RecordedJob(_Stored):
    """What the state file says we did last for one name."""

    job_id: JobId
    fingerprint: Fingerprint
    request: JsonObject = Field(description="The resolved request, without `name`.")
    spec_path: str
    line: int | None = Field(None, description="The line of the spec in `spec_path`, when it was submitted or moved.")
    pipeline_version: str | None = Field(None, description="The version that the platform says it used.")
    status: str
    submitted_at: Timestamp | None = None
    observed_at: Timestamp | None = Field(None, description="When `observed` was last seen to change.")
    commit: str | None = Field(None, description="The git commit that was checked out at the submission.")
    source: Source | None = Field(None, description="Where the spec came from at the submission.")
    secrets: dict[str, str] = Field(
        default_factory=dict,
        description="Digests of what `${{ env.NAME }}` in the request stood for; empty where it is not known.",
    )
    why: str | None = Field(None, description="Why it was submitted or taken over.")
    taken_over_at: Timestamp | None = Field(
        None, description="When a job that was there already got recorded; `source`, `line` and `why` are of then."
    )
    attempts: int = Field(1, ge=1, description="Runs of this submission that we asked for, retries included.")
    observed: JsonObject = Field(default_factory=dict, description="The last job object that the platform showed.")
    gone: bool = Field(default=False, description="The platform said that it has no such job.")
    protect: bool = Field(
        default=False, description="`reconcile.protect` of its spec: it holds when the spec is gone, too."
    )
    on_remove: OnRemove = Field("prune", description="`reconcile.on_remove` of its spec.")
    reruns: tuple[str, ...] = Field((), description="Texts of `reconcile.rerun` that have had their run.")
    retries: tuple[Retry, ...] = Field((), description="The runs after the first one, as far as we asked for them.")
    cancellation: Cancellation | None = Field(None, description="The last 'reconciler cancel' of it.")
    moves: tuple[Move, ...] = Field((), description="The names that the record had before, oldest first.")
    files: dict[str, PlatformFile] = Field(
        default_factory=dict,
        description="What the `file_id`s in the request stood for at the submission, as far as it is known.",
    )
    sources: dict[str, str] = Field(
        default_factory=dict, description="Ids of the jobs whose outputs it was given, by the names that they had."
    )
    history: tuple[PastJob, ...] = ()

    @property
    def cancelled_by_hand(self) -> bool:
        """Whether a person had the present run cancelled; a later `retry` is another run."""
        return self.cancellation is not None and self.cancellation.attempt == self.attempts


class State(_Stored):
    """The state file. `serial` grows with each write that changes content."""

    version: Literal[1] = 1
    lineage: str = Field(min_length=1, description="Identity of one state history.")
    serial: int = Field(0, ge=0)
    endpoint: str = Field(description="The platform that the job ids belong to.")
    jobs: dict[str, RecordedJob] = Field(default_factory=dict)
    searched: bool = Field(
        default=True,
        description="Whether the platform was searched for jobs that are ours already. False from a first run, or from "
        "a lost state, until an apply of all specs has ended well.",
    )
    generations: dict[str, int] = Field(
        default_factory=dict,
        description="How many submissions of each name have ended definitely. A token is never used for two.",
    )
