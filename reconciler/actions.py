"""What a plan is: actions with their reasons. Plain data, which can be printed, saved, compared or refused."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from reconciler.compare import Change
from reconciler.guards import Refusal
from reconciler.job import (
    CancelCause,
    JsonObject,
    OnRemove,
    Source,
    Upload,
)

ActionKind: TypeAlias = Literal["create", "replace", "retry", "cancel", "adopt", "move", "forget", "orphan", "keep"]
SUBMITS = frozenset({"create", "replace"})
PASSIVE = frozenset({"keep", "orphan"})
"""Actions that do nothing."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class Action(_Value):
    """What will be done about one job, and why. The fields from `request` on are what apply needs to do it."""

    name: str
    action: ActionKind
    reason: str
    note: str | None = Field(None, description="What is good to know as well. It changes nothing.")
    spec_path: str | None = None
    line: int | None = None
    job_id: str | None = None
    status: str | None = None
    fingerprint: str | None = None
    changes: tuple[Change, ...] = ()
    request: JsonObject | None = Field(None, description="The body to submit, without `name`.")
    pipeline_version: str | None = Field(
        None, description="The version to submit where `request` names none: the latest when the plan was made."
    )
    secrets: dict[str, str] = Field(
        default_factory=dict,
        description="Variables of the environment that `request` names, and digests of what they have; empty where "
        "that is not known, or the state has no history yet.",
    )
    uploads: tuple[Upload, ...] = Field((), description="Local files that the platform needs first.")
    cancels: bool = Field(default=False, description="The job `job_id` is cancelled first.")
    generation: int | None = Field(None, description="Which deliberate submission of this name it is.")
    attempt: int | None = Field(None, description="Which run of the submission a retry starts, or a cancel ends.")
    fault: str | None = Field(
        None, description="What it would be refused for, as things are: the job `job_id` is not cancelled then."
    )
    by_hand: bool = Field(default=False, description="A person asked for it.")
    cause: CancelCause | None = Field(None, description="Why a job is cancelled that stays on record.")
    on_remove: OnRemove = Field("prune", description="`reconcile.on_remove` of its spec, or of its record without one.")
    rerun: str | None = Field(None, description="The text of `reconcile.rerun` that this submission is for.")
    moved_from: str | None = None
    protected: bool = Field(default=False, description="`reconcile.protect` of its spec, or of its record without one.")
    blocked: ActionKind | None = Field(None, description="What is not done, since the job is protected.")
    override: str | None = Field(None, description="The command line that does what is blocked all the same.")
    observed: JsonObject | None = Field(None, description="The platform job to adopt.")
    waits_for: tuple[str, ...] = Field((), description="Jobs that must have COMPLETED before this is done.")
    sources: dict[str, str] = Field(
        default_factory=dict, description="Ids of the COMPLETED jobs whose outputs `request` takes, by name."
    )

    @property
    def unchanged(self) -> bool:
        """There is nothing to say of it but how many are like it."""
        return self.action == "keep" and self.blocked is None

    @property
    def told(self) -> str:
        """The reason and the note, for people."""
        return f"{self.reason}; {self.note}" if self.note else self.reason

    @property
    def pinned(self) -> JsonObject | None:
        """`request` with the version of the pipeline."""
        if self.request is None or self.pipeline_version is None:
            return self.request
        return {**self.request, "pipeline_version": self.pipeline_version}


class Plan(_Value):
    """What apply would do. It is data: it can be printed, saved, compared, refused or carried out."""

    format_version: Literal[1] = 1
    lineage: str | None = Field(None, description="Null on a first run: the state has no history yet.")
    serial: int = 0
    endpoint: str
    environment: str | None = Field(None, description="The environment of `reconciler.yaml` that it is for.")
    source: Source | None = Field(None, description="Where the specs come from.")
    options: dict[str, Any] = Field(default_factory=dict, description="How the plan was asked for.")
    actions: tuple[Action, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = Field((), description="Why apply refuses all of it, if it does.")
    unsettled: tuple[str, ...] = Field((), description="Names with a submission whose outcome is unknown.")

    def pending(self) -> tuple[Action, ...]:
        """The actions that do something."""
        return tuple(a for a in self.actions if a.action not in PASSIVE)

    def ready(self) -> tuple[Action, ...]:
        """The actions that do something now."""
        return tuple(a for a in self.pending() if not a.waits_for)

    def waiting(self) -> tuple[Action, ...]:
        """The actions that do something when other jobs have COMPLETED."""
        return tuple(a for a in self.pending() if a.waits_for)

    def blocked(self) -> tuple[Action, ...]:
        """The protected jobs about which something else would be done."""
        return tuple(a for a in self.actions if a.blocked)

    def summary(self) -> dict[str, int]:
        """How many actions there are of each kind, kinds without any left out, in the order of the plan."""
        counts: dict[str, int] = {}
        for action in self.actions:
            counts[action.action] = counts.get(action.action, 0) + 1
        return counts
