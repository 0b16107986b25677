"""A job's log: what happened to it, and what its workers said."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from reconciler.service.jobs import Job, JobStatus

_TRANSITIONS: dict[JobStatus, tuple[str, str]] = {
    JobStatus.PENDING: ("job_queued", "INFO"),
    JobStatus.ADMITTED: ("job_admitted", "INFO"),
    JobStatus.RUNNING: ("running_job", "INFO"),
    JobStatus.COMPLETED: ("job_completed", "SUCCESS"),
    JobStatus.FAILED: ("job_failed", "FAILED"),
    JobStatus.CANCELLED: ("job_cancelled", "WARN"),
    JobStatus.PREEMPTED: ("job_preempted", "WARN"),
}


def log_event(
    tx: sqlite3.Connection,
    job_id: str,
    event_type: str,
    level: str,
    message: str | None,
    *,
    at: str,
    payload: dict[str, Any] | None = None,
    input_id: str | None = None,
    index: int | None = None,
) -> None:
    """Append one entry to the job's log."""
    tx.execute(
        "INSERT INTO events (job_id, event_type, level, message, payload, input_id, idx, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (job_id, event_type, level, message, json.dumps(payload or {}), input_id, index, at),
    )


def log_transition(
    tx: sqlite3.Connection, job: Job, *, at: str, before: JobStatus | None = None, why: str | None = None
) -> None:
    """Append the entry for a job that has just reached its status."""
    event_type, level = _TRANSITIONS[job.status]
    message = f"{before} -> {job.status}" if before else f"created as {job.status}"
    if job.error:
        why = job.error.get("message")
    if why:
        message += f": {why}"
    payload = {
        "from": before,
        "to": job.status,
        "retry_count": job.retry_count,
        "preemption_count": job.preemption_count,
    }
    log_event(tx, job.id, event_type, level, message, at=at, payload=payload)
