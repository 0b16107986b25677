"""Attempts at jobs, as the database sees them: begun, recorded while they run, ended.

Every write is conditional on the attempt still being the one that counts. A job that was cancelled, or cancelled and
queued again, takes nothing more from workers that have not yet noticed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.contents import Contents, EscapingOutput
from reconciler.service.database import Database
from reconciler.service.ids import new_id
from reconciler.service.joblog import log_event
from reconciler.service.jobs import ACTIVE, Job, JobStatus
from reconciler.service.protocol import (
    BadLine,
    ErrorLine,
    EventLine,
    InputLine,
    Line,
    OutputLine,
    ProgressLine,
)
from reconciler.service.store import Store, active_job, drop_results, jobs_in, reset_inputs


class Superseded(Exception):
    """The job was cancelled or taken up anew: this attempt no longer counts."""


@dataclass(frozen=True, slots=True)
class PinnedInput:
    """An input with the content that it was pinned to when the job was made."""

    id: str
    port_name: str
    file_id: str
    path: Path
    num_bytes: int
    file_type: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who wrote a line: one index of one attempt, the inputs it was given, the ports it may write to."""

    job: Job
    index: int
    input_ids: frozenset[str]
    ports: frozenset[str]
    output_dir: Path


class Attempts:
    """The scheduler's side of the store."""

    def __init__(self, database: Database, store: Store, contents: Contents) -> None:
        self._database = database
        self._store = store
        self._contents = contents

    def recover(self) -> None:
        """Call when the scheduler's lock was won: nobody runs anything now, whatever the database says."""
        self.preempt_active()
        with self._database.write() as tx:
            for job in jobs_in(tx, [JobStatus.PREEMPTED]):
                self._store.change(tx, job, JobStatus.PENDING)

    def admit(self, fits: Callable[[Job, list[PinnedInput]], bool]) -> tuple[Job, list[PinnedInput]] | None:
        """Admit the head of the queue with its inputs if it fits; nothing overtakes it when it does not."""
        with self._database.write() as tx:
            head = jobs_in(tx, [JobStatus.PENDING], limit=1)
            if not head:
                return None
            inputs = self._inputs(tx, head[0])
            if not fits(head[0], inputs):
                return None
            job = self._store.change(tx, head[0], JobStatus.ADMITTED)
            reset_inputs(tx, job.id)
            dropped = drop_results(tx, job.id)
        for content_id in dropped:
            self._contents.remove(content_id)
        return job, inputs

    def waiting(self) -> bool:
        """Whether a job is in the queue; cheap, and takes no write lock."""
        with self._database.read() as tx:
            return bool(jobs_in(tx, [JobStatus.PENDING], limit=1))

    def _inputs(self, tx: sqlite3.Connection, job: Job) -> list[PinnedInput]:
        rows = tx.execute(
            "SELECT inputs.id, port_name, inputs.file_id, file_uid, num_bytes, file_type, metadata"
            " FROM inputs JOIN files USING (file_uid) WHERE job_id = ? ORDER BY inputs.seq",
            (job.id,),
        )
        return [
            PinnedInput(
                id=row["id"],
                port_name=row["port_name"],
                file_id=row["file_id"],
                path=self._contents.path(row["file_uid"], row["file_id"]),
                num_bytes=row["num_bytes"],
                file_type=row["file_type"],
                metadata=json.loads(row["metadata"]),
            )
            for row in rows
        ]

    def begin(self, job: Job) -> None:
        """The job is RUNNING. Raises `Superseded`."""
        with self._database.write() as tx:
            self._store.change(tx, self._current(tx, job), JobStatus.RUNNING)

    def complete(self, job: Job) -> None:
        """The job is COMPLETED, and its inputs too unless a worker said otherwise. Raises `Superseded`."""
        with self._database.write() as tx:
            self._store.change(tx, self._current(tx, job), JobStatus.COMPLETED)
            tx.execute(
                "UPDATE inputs SET status = 'completed', completed_at = ?"
                " WHERE job_id = ? AND status IN ('pending', 'processing')",
                (self._store.now(), job.id),
            )

    def fail(self, job: Job, error: dict[str, Any], input_ids: Sequence[str] = ()) -> None:
        """The job is FAILED; of `input_ids`, those being processed failed with it. Raises `Superseded`."""
        with self._database.write() as tx:
            self._store.change(tx, self._current(tx, job), JobStatus.FAILED, error=error)
            tx.executemany(
                "UPDATE inputs SET status = 'failed', error_message = ?, completed_at = ?"
                " WHERE id = ? AND status = 'processing'",
                [(error["message"], self._store.now(), input_id) for input_id in input_ids],
            )
            reset_inputs(tx, job.id, only="processing")

    def preempt_active(self) -> None:
        """Nothing runs any more: jobs that were, are PREEMPTED. Only for the process that holds the lock."""
        with self._database.write() as tx:
            for job in jobs_in(tx, sorted(ACTIVE)):
                self._store.change(tx, job, JobStatus.PREEMPTED)
                reset_inputs(tx, job.id, only="processing")

    def superseded(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of `jobs` whose attempt no longer counts."""
        with self._database.read() as tx:
            return [job for job in jobs if active_job(tx, job.id, job.attempt) is None]

    def _current(self, tx: sqlite3.Connection, job: Job) -> Job:
        current = active_job(tx, job.id, job.attempt)
        if current is None:
            raise Superseded(job.id)
        return current

    def record(self, speaker: Speaker, lines: Sequence[Line]) -> None:
        """Keep what a worker said. Raises `Superseded`, and `EscapingOutput` after keeping all that came before."""
        taken: list[str] = []
        stray: EscapingOutput | None = None
        try:
            with self._database.write() as tx:
                self._current(tx, speaker.job)
                for line in lines:
                    try:
                        self._record_line(tx, speaker, line, taken)
                    except EscapingOutput as error:
                        stray = error
                        break
        except BaseException:
            for content_id in taken:
                self._contents.remove(content_id)
            raise
        if stray:
            raise stray

    def _record_line(self, tx: sqlite3.Connection, speaker: Speaker, line: Line, taken: list[str]) -> None:
        foreign = _foreign_input(speaker, line)
        if foreign is not None:
            line = BadLine(f"{foreign!r} is no input of this index", "")
        match line:
            case EventLine():
                self._event(tx, speaker, line.event_type, line.level, line.message, line.payload, line.input_id)
            case ProgressLine():
                self._progress(tx, speaker, line)
            case InputLine():
                done = None if line.status == "processing" else self._store.now()
                tx.execute(
                    "UPDATE inputs SET status = ?, error_message = ?, completed_at = ?"
                    " WHERE id = ? AND status != 'reference'",
                    (line.status, line.error_message, done, line.input_id),
                )
            case OutputLine():
                self._output(tx, speaker, line, taken)
            case ErrorLine():
                error = line.error.model_dump(exclude_none=True)
                self._event(tx, speaker, "error", "ERROR", line.error.message, error)
            case BadLine():
                said = {"reason": line.reason, "line": line.text}
                message = f"the worker wrote a line that is not understood: {line.reason}"
                self._event(tx, speaker, "bad_line", "WARN", message, said)

    def _event(
        self,
        tx: sqlite3.Connection,
        speaker: Speaker,
        event_type: str,
        level: str,
        message: str | None,
        payload: dict[str, Any],
        input_id: str | None = None,
    ) -> None:
        log_event(
            tx,
            speaker.job.id,
            event_type,
            level,
            message,
            at=self._store.now(),
            payload=payload,
            input_id=input_id,
            index=speaker.index,
        )

    def _progress(self, tx: sqlite3.Connection, speaker: Speaker, line: ProgressLine) -> None:
        tx.execute(
            "INSERT INTO progress (job_id, kind, step, message, metrics, payload, input_id, idx, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                speaker.job.id,
                line.kind,
                line.step,
                line.message,
                json.dumps(line.metrics),
                json.dumps(line.payload),
                line.input_id,
                speaker.index,
                self._store.now(),
            ),
        )

    def _output(self, tx: sqlite3.Connection, speaker: Speaker, line: OutputLine, taken: list[str]) -> None:
        if line.port not in speaker.ports:
            raise EscapingOutput(f"the worker named the output port {line.port!r}, which the pipeline does not have")
        output_id = new_id("out")
        path = self._contents.take_over(output_id, speaker.output_dir, line.path)
        taken.append(output_id)
        tx.execute(
            "INSERT INTO outputs (id, job_id, port_name, input_id, filename, file_type, num_bytes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                output_id,
                speaker.job.id,
                line.port,
                line.input_id,
                path.name,
                line.file_type,
                path.stat().st_size,
                self._store.now(),
            ),
        )


def _foreign_input(speaker: Speaker, line: Line) -> str | None:
    """The input that the line is about, when this index was never given it."""
    about = None if isinstance(line, BadLine | ErrorLine) else line.input_id
    return about if about is not None and about not in speaker.input_ids else None
