"""Which jobs an engine with a queue of its own has been given; as rows, so that no place is forgotten.

A row is made before the engine is asked for a place, and removed when nothing works at the place any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.service.database import Database
from reconciler.service.jobs import ACTIVE, Job, JobStatus
from reconciler.service.store import job_of


@dataclass(frozen=True, slots=True)
class Handover:
    """A job that was handed over. `attempt` is None while it waits there."""

    number: int
    job_id: str
    ticket: int
    indexes: int
    attempt: int | None = None

    @property
    def marker(self) -> str:
        """The name of the place, which no other place ever has."""
        return f"{self.job_id}.{self.number}"

    def waits(self, job: Job | None) -> bool:
        """Whether `job`, as it is now, is still the one that waits there."""
        return job is not None and self.attempt is None and (job.status, job.ticket) == (JobStatus.PENDING, self.ticket)

    def works(self, job: Job | None) -> bool:
        """Whether `job`, as it is now, is at the attempt that was begun there."""
        return job is not None and job.status in ACTIVE and job.attempt == self.attempt


class Handovers:
    """The rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[tuple[Handover, Job | None]]:
        """Every hand-over, with its job as it is now; None when it has been deleted."""
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM handovers ORDER BY number").fetchall()
            found = [Handover(*tuple(row)) for row in rows]
            return [(each, _job(tx, each.job_id)) for each in found]

    def next(self, most: int) -> list[Job]:
        """The jobs whose turn it is and that have not been handed over, at most so many."""
        with self._database.read() as tx:
            jobs = []
            for (pipeline_type,) in tx.execute("SELECT DISTINCT pipeline_type FROM queue_blocks").fetchall():
                rows = tx.execute(
                    "SELECT * FROM jobs WHERE status = 'PENDING' AND pipeline_type = ? AND not_before IS NULL"
                    " AND id NOT IN (SELECT job_id FROM handovers) ORDER BY priority DESC, turn, ticket LIMIT ?",
                    (pipeline_type, most),
                ).fetchall()
                jobs += [job_of(row) for row in rows]
        return sorted(jobs, key=lambda each: (-each.priority, each.ticket))[:most]

    def add(self, jobs: Sequence[Job], indexes: Callable[[Job], int]) -> list[tuple[Handover, Job]]:
        """Hand those over that still wait; they keep their place in the queue until they are admitted."""
        widths = {job.id: indexes(job) for job in jobs}
        made = []
        with self._database.write() as tx:
            for job in jobs:
                now = _job(tx, job.id)
                if now is None or (now.status, now.ticket, now.attempt) != (job.status, job.ticket, job.attempt):
                    continue
                (number,) = tx.execute(
                    "INSERT INTO handovers (job_id, ticket, indexes) VALUES (?, ?, ?) RETURNING number",
                    (job.id, job.ticket, widths[job.id]),
                ).fetchone()
                made.append((Handover(number, job.id, job.ticket, widths[job.id]), now))
        return made

    def remove(self, handover: Handover) -> None:
        """Nothing works at the place any more."""
        with self._database.write() as tx:
            tx.execute("DELETE FROM handovers WHERE number = ?", (handover.number,))


def begun(tx: sqlite3.Connection, number: int, attempt: int) -> None:
    """The place of the hand-over has room, and the job is admitted there."""
    tx.execute("UPDATE handovers SET attempt = ? WHERE number = ?", (attempt, number))


def _job(tx: sqlite3.Connection, job_id: str) -> Job | None:
    row = tx.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return job_of(row) if row else None
