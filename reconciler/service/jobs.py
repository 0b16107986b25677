"""The life of a job: one table of legal transitions, and what each of them does to the job's fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """The platform's seven statuses."""

    PENDING = "PENDING"
    ADMITTED = "ADMITTED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"


_S = JobStatus

LEGAL: Mapping[JobStatus, frozenset[JobStatus]] = {
    _S.PENDING: frozenset({_S.ADMITTED, _S.CANCELLED}),
    _S.ADMITTED: frozenset({_S.RUNNING, _S.FAILED, _S.CANCELLED, _S.PREEMPTED}),
    _S.RUNNING: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.PREEMPTED, _S.PENDING}),
    _S.PREEMPTED: frozenset({_S.PENDING, _S.CANCELLED}),
    _S.FAILED: frozenset({_S.PENDING}),
    _S.CANCELLED: frozenset({_S.PENDING}),
    _S.COMPLETED: frozenset(),
}

ACTIVE = frozenset({_S.ADMITTED, _S.RUNNING})
CANCELLABLE = frozenset(status for status, targets in LEGAL.items() if _S.CANCELLED in targets)
TERMINAL = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
RETRYABLE = frozenset({_S.FAILED, _S.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored. `attempt` counts how often work was started on it; `priority`, `turn` and
    `ticket` are its place in the queue, where it is passed over until `not_before`. `failures` counts the attempts
    that failed since it was made or retried by hand.
    """

    id: str
    org_id: str
    name: str
    pipeline_type: str
    pipeline_key: str
    pipeline_version: str
    parameters: dict[str, Any]
    created_at: str
    updated_at: str
    turn: int
    ticket: int
    priority: int = 0
    not_before: str | None = None
    failures: int = 0
    status: JobStatus = JobStatus.PENDING
    attempt: int = 0
    retry_count: int = 0
    preemption_count: int = 0
    started_at: str | None = None
    completed_at: str | None = None
    failed_at: str | None = None
    cancelled_at: str | None = None
    error: dict[str, Any] | None = None


class IllegalTransition(Exception):
    """The job's status does not allow the change; `job` is as it was."""

    def __init__(self, job: Job, target: JobStatus) -> None:
        super().__init__(f"job {job.id} is {job.status}, it cannot become {target}")
        self.job = job
        self.target = target


def moved(
    job: Job, target: JobStatus, *, at: str, error: dict[str, Any] | None = None, not_before: str | None = None
) -> Job:
    """`job` after the transition at time `at`; raises `IllegalTransition`.

    `error` goes with FAILED only. To PENDING a job comes back in three ways: RUNNING → PENDING is the pipeline's own
    retry of an attempt that failed, which waits until `not_before`; FAILED or CANCELLED → PENDING is a retry by hand;
    PREEMPTED → PENDING keeps its place in the queue.
    """
    if target not in LEGAL[job.status]:
        raise IllegalTransition(job, target)
    changed = replace(job, status=target, updated_at=at)
    match target:
        case JobStatus.ADMITTED:
            return replace(changed, attempt=job.attempt + 1, not_before=None)
        case JobStatus.RUNNING:
            return replace(changed, started_at=at)
        case JobStatus.COMPLETED:
            return replace(changed, completed_at=at)
        case JobStatus.FAILED:
            return replace(changed, failed_at=at, error=error)
        case JobStatus.CANCELLED:
            return replace(changed, cancelled_at=at, not_before=None)
        case JobStatus.PREEMPTED:
            return replace(changed, preemption_count=job.preemption_count + 1)
        case JobStatus.PENDING:
            again = job.status is not JobStatus.PREEMPTED
            by_hand = job.status in RETRYABLE
            return replace(
                changed,
                retry_count=job.retry_count + again,
                failures=0 if by_hand else job.failures + again,
                not_before=not_before,
                started_at=None,
                completed_at=None,
                failed_at=None,
                cancelled_at=None,
                error=None,
            )
