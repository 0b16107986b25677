"""Whether a data folder is in a state that what happened explains. Each function returns what is wrong, in words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.service import queue
from reconciler.service.contents import Contents
from reconciler.service.database import Database
from reconciler.service.engines import strays
from reconciler.service.files import Files
from reconciler.service.folder import DataFolder
from reconciler.service.jobs import ACTIVE, LEGAL, RETRYABLE, JobStatus
from reconciler.service.store import job_of

# Copies each event when it is written: a job that is deleted takes its own with it.
KEEP_EVENTS = """
CREATE TABLE IF NOT EXISTS kept_events (id INTEGER PRIMARY KEY, job_id TEXT, event_type TEXT, payload TEXT, at TEXT);
CREATE TRIGGER IF NOT EXISTS keep_event AFTER INSERT ON events BEGIN
    INSERT INTO kept_events VALUES (new.id, new.job_id, new.event_type, new.payload, new.created_at);
END;
CREATE TABLE IF NOT EXISTS kept_jobs (id TEXT PRIMARY KEY, name TEXT);
CREATE TRIGGER IF NOT EXISTS keep_job AFTER INSERT ON jobs BEGIN
    INSERT INTO kept_jobs VALUES (new.id, new.name);
END;
"""


def prepare(data: Path) -> None:
    """Make the data folder, with a database that keeps the events of deleted jobs."""
    data.mkdir(exist_ok=True)
    Database(DataFolder(data).database).close()
    with closing(sqlite3.connect(DataFolder(data).database)) as database:
        database.executescript(KEEP_EVENTS)


def connect(data: Path) -> sqlite3.Connection:
    database = sqlite3.connect(DataFolder(data).database, isolation_level=None, timeout=30)
    database.row_factory = sqlite3.Row
    return database


@dataclass
class Life:
    """A job as its events tell it."""

    status: JobStatus | None = None
    attempt: int = 0
    retries: int = 0
    preemptions: int = 0
    completions: int = 0
    last: str = ""
    reached: dict[JobStatus, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def move(self, source: str | None, target: JobStatus, at: str) -> None:
        """The next transition that was logged."""
        if (self.status and str(self.status)) != source:
            self.faults.append(f"{source} -> {target} was logged for a job that was {self.status}")
        if self.status is None and target is not JobStatus.PENDING:
            self.faults.append(f"it began as {target}")
        if self.status is not None and target not in LEGAL[self.status]:
            self.faults.append(f"{self.status} -> {target} is not legal")
        if at < self.last:
            self.faults.append(f"{target} at {at}, after {self.last}")
        self.retries += target is JobStatus.PENDING and self.status not in (None, JobStatus.PREEMPTED)
        self.preemptions += target is JobStatus.PREEMPTED
        self.attempt += target is JobStatus.ADMITTED
        self.completions += target is JobStatus.COMPLETED
        if target is JobStatus.PENDING:
            self.reached.clear()
        self.reached[target] = self.last = at
        self.status = target


def lives(database: sqlite3.Connection) -> dict[str, Life]:
    """What the events say of every job that ever was."""
    found: dict[str, Life] = {}
    query = "SELECT job_id, event_type, payload, at FROM kept_events ORDER BY id"
    for job_id, _, payload, at in transitions(database.execute(query)):
        found.setdefault(job_id, Life()).move(payload["from"], JobStatus(payload["to"]), at)
    return found


def transitions(rows: Iterable[Any]) -> Iterable[tuple[str, str, dict[str, Any], str]]:
    for job_id, event_type, text, at in rows:
        payload = json.loads(text)
        if set(payload) == {"from", "to", "retry_count", "preemption_count"}:
            yield job_id, event_type, payload, at


def faults_of_jobs(database: sqlite3.Connection) -> list[str]:
    """Every job is what its events say, no more and no less."""
    told = lives(database)
    found = []
    jobs = {row["id"]: row for row in database.execute("SELECT * FROM jobs")}
    for job_id, row in jobs.items():
        life = told.get(job_id, Life())
        stored = (row["status"], row["attempt"], row["retry_count"], row["preemption_count"])
        logged = (life.status, life.attempt, life.retries, life.preemptions)
        if stored != logged:
            found.append(f"job {row['name']} is {stored}, its events say {logged}")
        stamps = {
            JobStatus.RUNNING: row["started_at"],
            JobStatus.COMPLETED: row["completed_at"],
            JobStatus.FAILED: row["failed_at"],
            JobStatus.CANCELLED: row["cancelled_at"],
        }
        for status, at in stamps.items():
            if status in life.reached and at != life.reached[status]:
                found.append(f"job {row['name']} was {status} at {at}, its events say {life.reached[status]}")
            if status is not JobStatus.RUNNING and status not in life.reached and at is not None:
                found.append(f"job {row['name']} has a time at which it was {status}, but never was")
        if row["updated_at"] != life.last:
            found.append(f"job {row['name']} was changed at {row['updated_at']}, its events say {life.last}")
        if (row["error"] is not None) != (row["status"] == "FAILED"):
            found.append(f"job {row['name']} is {row['status']} with the error {row['error']}")
    for job_id, life in told.items():
        found += [f"job {job_id}: {fault}" for fault in life.faults]
        if life.completions > 1:
            found.append(f"job {job_id} was completed {life.completions} times")
        if job_id not in jobs and life.status not in (*RETRYABLE, JobStatus.COMPLETED):
            found.append(f"job {job_id} was {life.status} and is gone")
    return found


def faults_of_counts(database: sqlite3.Connection) -> list[str]:
    """The counts that triggers keep are those of a recount."""
    pairs = {
        "job_counts": "SELECT org_id, pipeline_type, status, COUNT(*) FROM jobs GROUP BY 1, 2, 3",
        "queue_counts": "SELECT pipeline_type, priority, turn / 64, COUNT(*) FROM jobs"
        " WHERE status = 'PENDING' GROUP BY 1, 2, 3",
        "queue_blocks": "SELECT pipeline_type, priority, turn / 4096, COUNT(*) FROM jobs"
        " WHERE status = 'PENDING' GROUP BY 1, 2, 3",
    }
    found = []
    for table, recount in pairs.items():
        kept = {tuple(row) for row in database.execute(f"SELECT * FROM {table} WHERE n != 0")}
        real = {tuple(row) for row in database.execute(recount)}
        if kept != real:
            found.append(f"{table} has {sorted(kept - real)} where a recount gives {sorted(real - kept)}")
    return found


def most_slots(database: sqlite3.Connection, widths: Mapping[str, int]) -> int:
    """The most slots that were in use at once, when a job of that name takes so many."""
    names = dict(tuple(row) for row in database.execute("SELECT id, name FROM kept_jobs"))
    active: dict[str, int] = {}
    most = 0
    rows = database.execute("SELECT job_id, event_type, payload, at FROM kept_events ORDER BY id")
    for job_id, _, payload, _ in transitions(rows):
        if payload["to"] in ACTIVE:
            active[job_id] = widths[names[job_id]]
        else:
            active.pop(job_id, None)
        most = max(most, sum(active.values()))
    return most


def faults_of_contents(data: Path, database: sqlite3.Connection) -> list[str]:
    """What is listed is there and whole; what is not goes as soon as it is old, and no run has left anything."""
    folder = DataFolder(data)
    listed = {
        row["id"]: (row["name"], row["num_bytes"])
        for row in database.execute(
            "SELECT file_uid AS id, file_id AS name, num_bytes FROM files"
            " UNION ALL SELECT id, filename, num_bytes FROM outputs"
            " UNION ALL SELECT id, filename, num_bytes FROM checkpoints"
        )
    }
    found = [f"runs holds {path.name}" for path in folder.runs.iterdir()]
    found += [f"{path.name} is listed, but only incoming" for path in folder.incoming.iterdir() if path.name in listed]
    for content_id, (name, num_bytes) in listed.items():
        path = folder.contents / content_id / name
        if not path.is_file() or path.stat().st_size != num_bytes:
            found.append(f"{content_id}/{name} of {num_bytes} bytes is not there, or not whole")
    later = datetime.now(UTC) + timedelta(hours=2)
    swept = Database(folder.database)
    Files(swept, Contents(folder), lambda: later).sweep()
    swept.close()
    kept = {path.name for path in folder.contents.iterdir()}
    if kept != set(listed) or any(folder.incoming.iterdir()):
        found.append(f"after a sweep there is {kept ^ set(listed)}, and {list(folder.incoming.iterdir())}")
    return found


def faults_of_outputs(database: sqlite3.Connection) -> list[str]:
    """A completed job has one output for each of its completed inputs, if it has any outputs at all."""
    query = """
        SELECT jobs.name, inputs.file_id, COUNT(outputs.id) AS n FROM jobs JOIN inputs ON inputs.job_id = jobs.id
        LEFT JOIN outputs ON outputs.input_id = inputs.id
        WHERE jobs.status = 'COMPLETED' AND inputs.status = 'completed' GROUP BY inputs.id HAVING n != 1"""
    found = [f"job {row['name']} has {row['n']} outputs for {row['file_id']}" for row in database.execute(query)]
    left = "SELECT name FROM jobs JOIN inputs ON job_id = jobs.id WHERE jobs.status = 'COMPLETED' AND inputs.status IN"
    found += [f"job {row['name']} left inputs" for row in database.execute(f"{left} ('pending', 'processing')")]
    return found


def faults_of_positions(database: sqlite3.Connection) -> list[str]:
    """At this moment the positions in the queue are 1..n for each type, in the order that the queue has."""
    found = []
    database.execute("BEGIN")
    try:
        queues: dict[str, list[int]] = {}
        query = "SELECT * FROM jobs WHERE status = 'PENDING' ORDER BY pipeline_type, priority DESC, turn, ticket"
        for job in map(job_of, database.execute(query).fetchall()):
            queues.setdefault(job.pipeline_type, []).append(queue.position(database, job))
        for kind, positions in queues.items():
            if positions != list(range(1, len(positions) + 1)):
                found.append(f"the queue of {kind} has the positions {positions}")
            if queue.depth(database, kind) != len(positions):
                found.append(f"the queue of {kind} has {len(positions)} jobs, not {queue.depth(database, kind)}")
    finally:
        database.execute("ROLLBACK")
    return found


def faults(data: Path) -> list[str]:
    """All of it, for a service that has ended everything and was stopped."""
    with closing(connect(data)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        found = [] if verdict == "ok" else [f"the database is broken: {verdict}"]
        found += [f"{row[0]} has a row without its parent" for row in database.execute("PRAGMA foreign_key_check")]
        found += faults_of_jobs(database) + faults_of_counts(database) + faults_of_outputs(database)
        found += faults_of_contents(data, database)
    found += [f"process {process.pid} is alive" for process in strays.marked(str(DataFolder(data).runs))]
    return found
