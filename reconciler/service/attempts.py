"""Attempts at jobs, as the database sees them: admitted, begun, recorded while they run, ended.

Every write is conditional on the attempt still being the one that counts. A job that was cancelled, preempted, or
queued again, takes nothing more from workers that have not yet noticed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from reconciler.service import handovers, inputs, queue
from reconciler.service.clock import Clock, stamp
from reconciler.service.contents import Contents, EscapingOutput
from reconciler.service.database import Database
from reconciler.service.inputs import PinnedInput
from reconciler.service.joblog import log_event
from reconciler.service.jobs import ACTIVE, Job, JobStatus
from reconciler.service.protocol import Line
from reconciler.service.recording import Recorded, Recorder, Speaker, recorded
from reconciler.service.registry import Pipeline, Registry
from reconciler.service.store import Store, active_job, drop_results, end_waits, have_waited, jobs_in, queue_heads

MOST_LOSSES = 5  # attempts that an engine lost before the job is FAILED; it may be what takes the machines down


class Superseded(Exception):
    """The job was cancelled, preempted or taken up anew: this attempt no longer counts."""


class Attempts:
    """The scheduler's side of the store."""

    def __init__(self, database: Database, store: Store, contents: Contents, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._contents = contents
        self._registry = registry
        self._clock = clock

    def pipeline(self, job: Job) -> Pipeline | None:
        """What runs the job; None when the service no longer has it."""
        return self._registry.find(job.pipeline_key, job.pipeline_version, job.org_id)

    def head(self) -> Job | None:
        """Whose turn it is: the head of the queue with the highest priority, the older of equals."""
        self.end_waits()
        with self._database.read() as tx:
            heads = queue_heads(tx)
        return min(heads, key=lambda each: (-each.priority, each.ticket), default=None)

    def end_waits(self) -> None:
        """Let the jobs whose wait after a failed attempt is over take their turn."""
        now = self._store.now()
        with self._database.read() as tx:
            waited = have_waited(tx, now)
        if waited:
            with self._database.write() as tx:
                end_waits(tx, now)

    def inputs(self, job: Job) -> list[PinnedInput]:
        """The job's inputs, in the order of the request."""
        with self._database.read() as tx:
            return inputs.pinned(tx, self._contents, job.id)

    def given(self, job: Job) -> list[PinnedInput]:
        """The inputs that are to be worked on, of a job that was admitted."""
        return [each for each in self.inputs(job) if each.status != "completed"]

    def admit(self, job: Job, number: int | None = None) -> tuple[Job, list[PinnedInput]] | None:
        """Admit a job that waits, with the inputs that are to be worked on; None when it no longer waits. With
        `number`, the attempt is that of the hand-over.

        What an earlier attempt left is dropped; a pipeline that can resume keeps inputs that were completed, their
        outputs, and checkpoints.
        """
        pipeline = self.pipeline(job)
        keep = bool(pipeline and pipeline.definition.resume)
        with self._database.write() as tx:
            waiting = [each for each in jobs_in(tx, [JobStatus.PENDING], job.id) if each.ticket == job.ticket]
            if not waiting or waiting[0].attempt != job.attempt:
                return None
            admitted = self._store.change(tx, waiting[0], JobStatus.ADMITTED)
            if number is not None:
                handovers.begun(tx, number, admitted.attempt)
            queue.admitted(tx, admitted)
            inputs.reset(tx, job.id, keep="completed" if keep else None)
            dropped = _drop_unfinished(tx, job.id) if keep else drop_results(tx, job.id)
            tx.execute("DELETE FROM indexes WHERE job_id = ?", (job.id,))
            given = [each for each in inputs.pinned(tx, self._contents, job.id) if each.status != "completed"]
        for content_id in dropped:
            self._contents.remove(content_id)
        return admitted, given

    def note(self, job: Job, event_type: str, message: str) -> None:
        """An entry in the job's log, unless it is there already or the job is gone."""
        with self._database.write() as tx:
            query = "SELECT 1 FROM events WHERE job_id = ? AND event_type = ? AND message = ?"
            said = tx.execute(query, (job.id, event_type, message)).fetchone()
            if not said and jobs_in(tx, list(JobStatus), job.id):
                log_event(tx, job.id, event_type, "INFO", message, at=self._store.now())

    def checkpoints(self, job: Job) -> list[dict[str, Any]]:
        """The checkpoints that a job which resumes may go on from, oldest first: `{id, name, step, metrics, path}`."""
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM checkpoints WHERE job_id = ? ORDER BY seq", (job.id,)).fetchall()
        return [
            {
                "id": row["id"],
                "name": row["name"],
                "step": row["step"],
                "metrics": json.loads(row["metrics"]),
                "path": str(self._contents.path(row["id"], row["filename"])),
            }
            for row in rows
        ]

    def begin(self, job: Job) -> None:
        """The job is RUNNING. Raises `Superseded`."""
        with self._database.write() as tx:
            self._store.change(tx, self._current(tx, job), JobStatus.RUNNING)

    def elapsed(self, job: Job) -> float:
        """Seconds since the attempt was begun; 0 for one that was not."""
        if job.started_at is None:
            return 0
        return max(0.0, (self._clock() - datetime.fromisoformat(job.started_at)).total_seconds())

    def end(self, job: Job, error: dict[str, Any] | None, input_ids: Sequence[str] = (), *, lost: bool = False) -> None:
        """The attempt has ended: without `error` the job is COMPLETED, if the pipeline's rule about failed inputs
        allows; else FAILED, or queued again by the pipeline's retry policy, and a few times in any case when it was
        `lost` by no fault of its own. Of `input_ids`, those being processed failed with the attempt. Raises
        `Superseded`.
        """
        pipeline = self.pipeline(job)
        with self._database.write() as tx:
            current = self._current(tx, job)
            if error is None:
                tx.execute(
                    "UPDATE inputs SET status = 'completed', completed_at = ?"
                    " WHERE job_id = ? AND status IN ('pending', 'processing')",
                    (self._store.now(), job.id),
                )
                error = _failed_inputs(tx, job, pipeline)
            if error is None:
                self._store.change(tx, current, JobStatus.COMPLETED)
                return
            tx.executemany(
                "UPDATE inputs SET status = 'failed', error_message = ?, completed_at = ?"
                " WHERE id = ? AND status = 'processing'",
                [(error["message"], self._store.now(), input_id) for input_id in input_ids],
            )
            inputs.reset(tx, job.id, only="processing")
            again = current.failures < MOST_LOSSES if lost else False
            if pipeline is not None and (again or _tries_again(pipeline, current, error)):
                self._queue_again(tx, current, pipeline, error)
            else:
                self._store.change(tx, current, JobStatus.FAILED, error=error)

    def _queue_again(self, tx: sqlite3.Connection, job: Job, pipeline: Pipeline, error: dict[str, Any]) -> None:
        policy = pipeline.definition.retry_policy
        pause = timedelta(seconds=min(policy.backoff_seconds * 2**job.failures, 86_400))
        message = f"attempt {job.attempt} failed: {error['message']}"
        log_event(tx, job.id, "attempt_failed", "WARN", message, at=self._store.now(), payload=error)
        self._store.queue_again(tx, job, not_before=stamp(self._clock() + pause))

    def preempt(self, job: Job, why: str) -> None:
        """The job is PREEMPTED, unless it ended meanwhile; its workers are gone."""
        with self._database.write() as tx:
            current = active_job(tx, job.id, job.attempt)
            if current:
                self._preempt(tx, current, why)

    def cancelled(self, job: Job, why: str) -> None:
        """The job is CANCELLED, by somebody who asked the engine, unless it ended or waits again meanwhile."""
        with self._database.write() as tx:
            waiting = [each for each in jobs_in(tx, [JobStatus.PENDING], job.id) if each.ticket == job.ticket]
            current = active_job(tx, job.id, job.attempt) or next(iter(waiting), None)
            if current:
                self._store.change(tx, current, JobStatus.CANCELLED, why=why)
                inputs.reset(tx, job.id, only="processing")

    def preempt_active(self, why: str, but: Collection[str] = ()) -> None:
        """Nothing runs any more `but` these jobs: those that were, are PREEMPTED. Only for who holds the lock."""
        with self._database.write() as tx:
            for job in jobs_in(tx, sorted(ACTIVE)):
                if job.id not in but:
                    self._preempt(tx, job, why)

    def _preempt(self, tx: sqlite3.Connection, job: Job, why: str) -> None:
        self._store.change(tx, job, JobStatus.PREEMPTED, why=why)
        inputs.reset(tx, job.id, only="processing")

    def requeue(self) -> None:
        """Jobs that are PREEMPTED wait again, in their old place."""
        with self._database.read() as tx:
            if not jobs_in(tx, [JobStatus.PREEMPTED]):
                return
        with self._database.write() as tx:
            for job in jobs_in(tx, [JobStatus.PREEMPTED]):
                self._store.change(tx, job, JobStatus.PENDING)

    def active(self) -> list[Job]:
        """The jobs that the database has as ADMITTED or RUNNING."""
        with self._database.read() as tx:
            return jobs_in(tx, sorted(ACTIVE))

    def superseded(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of `jobs` whose attempt no longer counts."""
        with self._database.read() as tx:
            return [job for job in jobs if active_job(tx, job.id, job.attempt) is None]

    def _current(self, tx: sqlite3.Connection, job: Job) -> Job:
        current = active_job(tx, job.id, job.attempt)
        if current is None:
            raise Superseded(job.id)
        return current

    def recorded(self, job: Job, index: int) -> Recorded:
        """How far what the index wrote is recorded."""
        with self._database.read() as tx:
            return recorded(tx, job, index)

    def record(self, speaker: Speaker, lines: Sequence[Line], start: int, end: int) -> bool:
        """Keep what a worker wrote from position `start` to `end`; False when that is not where recording has got to.

        A run that is cancelled may leave a call of this behind in a thread, while another reads on in its place.
        Raises `Superseded`, and `EscapingOutput` after keeping all that came before.
        """
        stray: EscapingOutput | None = None
        with self._database.write() as tx:
            self._current(tx, speaker.job)
            if recorded(tx, speaker.job, speaker.index).position != start:
                return False
            try:
                Recorder(tx, self._contents, speaker, self._store.now).record(lines, end)
            except EscapingOutput as error:
                stray = error
        if stray:
            raise stray
        return True


def _drop_unfinished(tx: sqlite3.Connection, job_id: str) -> list[str]:
    """Forget outputs that do not belong to a completed input; their content ids."""
    dropped = tx.execute(
        "DELETE FROM outputs WHERE job_id = ?1 AND COALESCE(input_id, '') NOT IN"
        " (SELECT id FROM inputs WHERE job_id = ?1 AND status = 'completed') RETURNING id",
        (job_id,),
    ).fetchall()
    return [row["id"] for row in dropped]


def _failed_inputs(tx: sqlite3.Connection, job: Job, pipeline: Pipeline | None) -> dict[str, Any] | None:
    """The error of a job whose workers ended well, but too many of its inputs did not."""
    rule = pipeline.definition.fail_job_on if pipeline else "any_input"
    query = (
        "SELECT COUNT(*), COALESCE(SUM(status = 'failed'), 0) FROM inputs WHERE job_id = ? AND status != 'reference'"
    )
    total, failed = tx.execute(query, (job.id,)).fetchone()
    if not failed or rule == "never" or (rule == "all_inputs" and failed < total):
        return None
    (first,) = tx.execute(
        "SELECT error_message FROM inputs WHERE job_id = ? AND status = 'failed' ORDER BY seq LIMIT 1", (job.id,)
    ).fetchone()
    return {
        "code": "inputs_failed",
        "message": f"{failed} of {total} inputs failed: {first or 'no reason was given'}",
        "suggestion": "the inputs with the status failed say why",
        "details": {"failed": failed, "total": total},
    }


def _tries_again(pipeline: Pipeline, job: Job, error: dict[str, Any]) -> bool:
    policy = pipeline.definition.retry_policy
    return job.failures < policy.max_retries and (policy.retry_on is None or error["code"] in policy.retry_on)
