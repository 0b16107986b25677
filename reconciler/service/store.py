"""Jobs and what belongs to them, in SQLite. Every change of a job's status goes through `Store.change`."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.service import inputs, queue
from reconciler.service.clock import Clock, stamp
from reconciler.service.database import Database
from reconciler.service.errors import ApiError, Fault, refuse
from reconciler.service.ids import new_id
from reconciler.service.joblog import log_transition
from reconciler.service.jobs import ACTIVE, RETRYABLE, TERMINAL, IllegalTransition, Job, JobStatus, moved
from reconciler.service.wire import CreateJob

_JOB_FIELDS = tuple(Job.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A checked request. `body` is as it came; `tracked` names the ports whose inputs have progress of their own."""

    org_id: str
    body: CreateJob
    pipeline_version: str
    parameters: dict[str, Any]
    tracked: frozenset[str]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what is computed when it is looked at."""

    job: Job
    queue_position: int | None
    queue_depth: int | None
    input_progress: dict[str, int]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; `q` is looked for in name and id, whatever the case."""

    org_id: str
    pipeline_type: str | None = None
    statuses: Sequence[JobStatus] = ()
    q: str | None = None


def body_digest(body: CreateJob) -> str:
    """Equal for requests that mean the same JSON."""
    canonical = json.dumps(body.model_dump(exclude_unset=True), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def job_of(row: sqlite3.Row) -> Job:
    values: dict[str, Any] = {name: row[name] for name in _JOB_FIELDS}
    values["status"] = JobStatus(values["status"])
    values["parameters"] = json.loads(values["parameters"])
    values["error"] = json.loads(values["error"]) if values["error"] else None
    return Job(**values)


def _columns(job: Job) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(job, name) for name in _JOB_FIELDS}
    values["parameters"] = json.dumps(job.parameters)
    values["error"] = None if job.error is None else json.dumps(job.error)
    return values


class Store:
    """The jobs of one data folder."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> str:
        """The stamp of this moment."""
        return stamp(self._clock())

    def replayed(self, org_id: str, key: str, body: CreateJob) -> JobView | None:
        """The job that was made with the idempotency key. Raises `ApiError` 409 when it was another request."""
        with self._database.read() as tx:
            found = self._by_key(tx, org_id, key, body)
            return self._views(tx, [found])[0] if found else None

    def create(self, new: NewJob, key: str | None, faults: Sequence[Fault] = ()) -> tuple[JobView, bool]:
        """Make the job, with its idempotency key and its pinned inputs, in one transaction; True when it was
        there already. `faults` found before are raised as `ApiError` 400 together with the missing files.
        """
        with self._database.write() as tx:
            found = self._by_key(tx, new.org_id, key, new.body) if key else None
            if found:
                return self._views(tx, [found])[0], True
            pins, missing = inputs.pin(tx, new.org_id, new.body)
            if faults or missing:
                raise ApiError(400, [*faults, *missing])
            job = self._insert(tx, new, key)
            inputs.insert(tx, job.id, new.body, pins, new.tracked, job.created_at)
            log_transition(tx, job, at=job.created_at)
            return self._views(tx, [job])[0], False

    def _by_key(self, tx: sqlite3.Connection, org_id: str, key: str, body: CreateJob) -> Job | None:
        row = tx.execute("SELECT * FROM jobs WHERE org_id = ? AND idempotency_key = ?", (org_id, key)).fetchone()
        if row is None:
            return None
        if row["body_digest"] != body_digest(body):
            raise refuse(
                409,
                "conflict",
                f"this idempotency key made the job {row['id']} from another request",
                "use a new key for a new request",
            )
        return job_of(row)

    def _insert(self, tx: sqlite3.Connection, new: NewJob, key: str | None) -> Job:
        now = self.now()
        turn, ticket = queue.join(tx, new.body.pipeline_type, new.priority, new.org_id)
        job = Job(
            id=new_id("job"),
            org_id=new.org_id,
            name=new.body.name,
            pipeline_type=new.body.pipeline_type,
            pipeline_key=new.body.pipeline_key,
            pipeline_version=new.pipeline_version,
            parameters=new.parameters,
            created_at=now,
            updated_at=now,
            priority=new.priority,
            turn=turn,
            ticket=ticket,
        )
        values = _columns(job) | {"idempotency_key": key, "body_digest": body_digest(new.body)}
        names = ", ".join(values)
        tx.execute(
            f"INSERT INTO jobs ({names}) VALUES ({', '.join(':' + n for n in values)})",  # noqa: S608
            values,
        )
        return job

    def get(self, org_id: str, job_id: str) -> JobView:
        """The job. Raises `ApiError` 404."""
        with self._database.read() as tx:
            return self._views(tx, [load_job(tx, org_id, job_id)])[0]

    def page(self, wanted: JobFilter, *, offset: int, limit: int) -> tuple[int, list[JobView]]:
        """How many jobs match, and a page of them, newest first."""
        clauses, values = ["org_id = ?"], list[Any]([wanted.org_id])
        if wanted.pipeline_type:
            clauses.append("pipeline_type = ?")
            values.append(wanted.pipeline_type)
        if wanted.statuses:
            clauses.append(f"status IN ({', '.join('?' * len(wanted.statuses))})")
            values += wanted.statuses
        counted, count = ("job_counts", "COALESCE(SUM(n), 0)")
        where = " AND ".join(clauses)
        total_values = list(values)
        if wanted.q:
            where += " AND (instr(folded(name), ?) OR instr(folded(id), ?))"
            values += [wanted.q.casefold()] * 2
            counted, count, total_values = "jobs", "COUNT(*)", values
        with self._database.read() as tx:
            (total,) = tx.execute(f"SELECT {count} FROM {counted} WHERE {where}", total_values).fetchone()  # noqa: S608
            query = f"SELECT * FROM jobs WHERE {where} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608
            jobs = [job_of(row) for row in tx.execute(query, [*values, limit, offset])]
            return total, self._views(tx, jobs)

    def _views(self, tx: sqlite3.Connection, jobs: Sequence[Job]) -> list[JobView]:
        marks = ", ".join("?" * len(jobs))
        ids = [job.id for job in jobs]
        progress: dict[str, dict[str, int]] = {job_id: {} for job_id in ids}
        counts = tx.execute(
            f"""SELECT job_id, status, COUNT(*) FROM inputs
            WHERE job_id IN ({marks}) AND status != 'reference' GROUP BY job_id, status""",  # noqa: S608
            ids,
        )
        for job_id, status, count in counts:
            progress[job_id][status] = count
        depths: dict[str, int] = {}
        views = []
        for job in jobs:
            position = depth = None
            if job.status is JobStatus.PENDING:
                if job.pipeline_type not in depths:
                    depths[job.pipeline_type] = queue.depth(tx, job.pipeline_type)
                position, depth = queue.position(tx, job), depths[job.pipeline_type]
            views.append(JobView(job, position, depth, progress[job.id]))
        return views

    def queue_depths(self) -> dict[str, int]:
        """How many jobs of each type wait; types without any are absent."""
        query = "SELECT pipeline_type, SUM(n) FROM queue_blocks GROUP BY pipeline_type"
        with self._database.read() as tx:
            return dict(tx.execute(query).fetchall())

    def cancel(self, org_id: str, job_id: str) -> Job:
        """The job is CANCELLED from now on. Raises `ApiError` 404 and `IllegalTransition`."""
        with self._database.write() as tx:
            job = self.change(tx, load_job(tx, org_id, job_id), JobStatus.CANCELLED)
            inputs.reset(tx, job.id, only="processing")
            return job

    def retry(self, org_id: str, job_id: str) -> tuple[Job, list[str]]:
        """Queue a FAILED or CANCELLED job again, at the end. The second value: contents to remove from disk."""
        with self._database.write() as tx:
            job = load_job(tx, org_id, job_id)
            if job.status not in RETRYABLE:  # RUNNING and PREEMPTED become PENDING too, but not by a request
                raise IllegalTransition(job, JobStatus.PENDING)
            job = self.queue_again(tx, job)
            inputs.reset(tx, job.id)
            return job, drop_results(tx, job.id)

    def queue_again(self, tx: sqlite3.Connection, job: Job, *, not_before: str | None = None) -> Job:
        """Put a job at the end of the queue inside the transaction. Raises `IllegalTransition`."""
        turn, ticket = queue.join(tx, job.pipeline_type, job.priority, job.org_id)
        return self.change(tx, replace(job, turn=turn, ticket=ticket), JobStatus.PENDING, not_before=not_before)

    def delete(self, org_id: str, job_id: str) -> list[str]:
        """Remove a job that has ended, and all that belongs to it. The contents to remove from disk.

        Raises `ApiError` 404, and 409 while it, or a job that reads one of its checkpoints, has not ended.
        """
        with self._database.write() as tx:
            job = load_job(tx, org_id, job_id)
            if job.status not in TERMINAL:
                raise refuse(
                    409,
                    "invalid_job_state",
                    f"job {job_id} is {job.status} and cannot be deleted",
                    "cancel it first: only jobs that have ended can be deleted",
                )
            reader = tx.execute(
                "SELECT jobs.id FROM checkpoints JOIN inputs ON inputs.checkpoint_id = checkpoints.id"
                " JOIN jobs ON jobs.id = inputs.job_id WHERE checkpoints.job_id = ?"
                " AND jobs.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') LIMIT 1",
                (job_id,),
            ).fetchone()
            if reader:
                raise refuse(
                    409, "conflict", f"job {reader[0]} reads a checkpoint of job {job_id}", "wait until it has ended"
                )
            contents = drop_results(tx, job_id)
            unused = tx.execute(
                "SELECT DISTINCT file_uid FROM files JOIN inputs USING (file_uid) WHERE job_id = ?1 AND NOT current"
                " AND NOT EXISTS (SELECT 1 FROM inputs AS i WHERE i.file_uid = files.file_uid AND i.job_id != ?1)",
                (job_id,),
            ).fetchall()
            for table in ("inputs", "events", "progress", "indexes"):
                tx.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))  # noqa: S608
            tx.executemany("DELETE FROM files WHERE file_uid = ?", [(row["file_uid"],) for row in unused])
            tx.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            return contents + [row["file_uid"] for row in unused]

    def change(
        self,
        tx: sqlite3.Connection,
        job: Job,
        target: JobStatus,
        *,
        error: dict[str, Any] | None = None,
        not_before: str | None = None,
        why: str | None = None,
    ) -> Job:
        """Move `job` inside the transaction and log it, with `why`. Raises `IllegalTransition`."""
        now = self.now()
        changed = moved(job, target, at=now, error=error, not_before=not_before)
        values = _columns(changed)
        sets = ", ".join(f"{name} = :{name}" for name in values)
        tx.execute(f"UPDATE jobs SET {sets} WHERE id = :id", values)  # noqa: S608
        log_transition(tx, changed, at=now, before=job.status, why=why)
        return changed


def load_job(tx: sqlite3.Connection, org_id: str, job_id: str) -> Job:
    """The organisation's job. Raises `ApiError` 404, for other organisations' jobs too."""
    row = tx.execute("SELECT * FROM jobs WHERE id = ? AND org_id = ?", (job_id, org_id)).fetchone()
    if row is None:
        raise refuse(404, "not_found", f"there is no job {job_id!r}", "GET /batch/jobs lists the jobs")
    return job_of(row)


def drop_results(tx: sqlite3.Connection, job_id: str) -> list[str]:
    """Forget the job's outputs and checkpoints; their content ids, to be removed from disk after the commit."""
    dropped = tx.execute("DELETE FROM outputs WHERE job_id = ? RETURNING id", (job_id,)).fetchall()
    dropped += tx.execute("DELETE FROM checkpoints WHERE job_id = ? RETURNING id", (job_id,)).fetchall()
    return [row["id"] for row in dropped]


def active_job(tx: sqlite3.Connection, job_id: str, attempt: int) -> Job | None:
    """The job, if this attempt at it still counts."""
    row = tx.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    job = job_of(row) if row else None
    return job if job and job.status in ACTIVE and job.attempt == attempt else None


def jobs_in(tx: sqlite3.Connection, statuses: Sequence[JobStatus], job_id: str | None = None) -> list[Job]:
    """The jobs in these statuses, the oldest ticket first; with `job_id`, that one or none."""
    marks = ", ".join("?" * len(statuses))
    one = "" if job_id is None else " AND id = ?"
    query = f"SELECT * FROM jobs WHERE status IN ({marks}){one} ORDER BY ticket"  # noqa: S608
    return [job_of(row) for row in tx.execute(query, [*statuses, *([] if job_id is None else [job_id])])]


def have_waited(tx: sqlite3.Connection, now: str) -> bool:
    """Whether there are jobs whose wait after a failed attempt is over."""
    # Without being told, SQLite reads all jobs that wait.
    query = (
        "SELECT 1 FROM jobs INDEXED BY jobs_later"
        " WHERE status = 'PENDING' AND not_before IS NOT NULL AND not_before <= ? LIMIT 1"
    )
    return tx.execute(query, (now,)).fetchone() is not None


def end_waits(tx: sqlite3.Connection, now: str) -> None:
    """Let those jobs take their turn."""
    tx.execute(
        "UPDATE jobs INDEXED BY jobs_later SET not_before = NULL"
        " WHERE status = 'PENDING' AND not_before IS NOT NULL AND not_before <= ?",
        (now,),
    )


def queue_heads(tx: sqlite3.Connection) -> list[Job]:
    """The job whose turn it is in each queue, not counting those that wait after a failed attempt."""
    heads = []
    for (pipeline_type,) in tx.execute("SELECT DISTINCT pipeline_type FROM queue_blocks").fetchall():
        row = tx.execute(
            "SELECT * FROM jobs WHERE status = 'PENDING' AND pipeline_type = ?"
            " AND not_before IS NULL ORDER BY priority DESC, turn, ticket LIMIT 1",
            (pipeline_type,),
        ).fetchone()
        if row:
            heads.append(job_of(row))
    return heads
