"""What `reconcile` in a spec asks for about a recorded job: when it is cancelled, and when it runs again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.durations import told
from reconciler.job import CancelCause, JobStatus, Policy, RecordedJob, parse_time, timestamp


@dataclass(frozen=True, slots=True)
class Ending:
    """A job in flight is to be cancelled, its record kept."""

    cause: CancelCause
    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """Whether a job that FAILED or was CANCELLED runs again, and why or why not."""

    runs: bool
    reason: str


CLOCKED: frozenset[CancelCause] = frozenset({"timeout", "preempted"})
"""Why a job is cancelled when its time is over."""


def ends_by_the_clock(policy: Policy) -> bool:
    """Whether a job can be cancelled for nothing but the time that it takes."""
    return policy.timeout is not None or policy.preempted is not None


def ending(
    policy: Policy, have: RecordedJob, status: str, job: Mapping[str, Any], now: datetime | None
) -> Ending | None:
    """Why a job that is in flight must not go on; None when it may. `job`: what the platform said last."""
    if policy.suspend:
        return Ending("suspend", f"suspended; cancels {have.job_id} ({status})")
    began = parse_time(_text(job, "started_at")) if status == JobStatus.RUNNING else None
    if policy.timeout is not None and _longer(began, policy.timeout, now):
        return Ending("timeout", f"running for more than {told(policy.timeout)}; cancels {have.job_id}")
    since = parse_time(_text(job, "updated_at")) or parse_time(have.observed_at)
    if policy.preempted is not None and status == JobStatus.PREEMPTED and _longer(since, policy.preempted, now):
        return Ending("preempted", f"PREEMPTED for more than {told(policy.preempted)}; cancels {have.job_id}")
    return None


def _longer(since: datetime | None, limit: float, now: datetime | None) -> bool:
    """Whether `limit` seconds are over. A clock that is not known ends nothing."""
    return since is not None and now is not None and (now - since).total_seconds() > limit


def again(policy: Policy, have: RecordedJob, status: str, job: Mapping[str, Any], now: datetime | None) -> Again:
    """Whether a job that ended as `status`, FAILED or CANCELLED, runs again."""
    cause = _cause(have, status)
    ended = status.lower()
    if cause == "hand":
        reason = "cancelled by hand" if status == JobStatus.CANCELLED else f"{ended}; cancelled by hand before"
        return Again(runs=False, reason=reason)
    if policy.suspend:
        return Again(runs=False, reason=f"{ended}; suspended")
    if cause == "suspend":
        return Again(runs=True, reason="no longer suspended")
    if cause == "replace":
        return Again(runs=True, reason="cancelled for another job that was not submitted in its place")
    if policy.attempts <= 1:
        return Again(runs=False, reason=f"{ended}; no retry policy")
    if cause not in policy.retry_on:
        return Again(runs=False, reason=f"{ended}; retry is for {', '.join(policy.retry_on)}, not for {cause}")
    if have.attempts >= policy.attempts:
        return Again(runs=False, reason=f"{ended}; no attempts left of {policy.attempts}")
    attempt = f"attempt {have.attempts + 1} of {policy.attempts}"
    told_cause = f" ({cause})" if cause not in ("failed", "cancelled") else ""
    due = _due(policy, have, status, job)
    if due is not None and (now is None or now < due):
        return Again(runs=False, reason=f"{ended}{told_cause}; {attempt} not before {timestamp(due)}")
    return Again(runs=True, reason=f"{ended}{told_cause}; {attempt}")


def _cause(have: RecordedJob, status: str) -> str:
    """Why the present run ended: `failed`, `cancelled` outside, or what we cancelled it for."""
    ours = have.cancellation
    if ours is None or ours.attempt != have.attempts:
        return status.lower()
    # By hand counts in any case: somebody did not want this run, however it ended.
    return ours.cause if ours.cause == "hand" or status == JobStatus.CANCELLED else status.lower()


def _due(policy: Policy, have: RecordedJob, status: str, job: Mapping[str, Any]) -> datetime | None:
    """When the next run may begin: the back-off after the end of the last one, twice as long each time."""
    if not policy.backoff:
        return None
    ended = parse_time(_text(job, f"{status.lower()}_at")) or parse_time(have.observed_at)
    return ended + timedelta(seconds=policy.backoff * 2.0 ** (have.attempts - 1)) if ended else None


def _text(job: Mapping[str, Any], key: str) -> str | None:
    value = job.get(key)
    return value if isinstance(value, str) else None
