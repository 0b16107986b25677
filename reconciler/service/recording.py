"""What workers say, written down: each line once, also when the service dies in between.

How far an index's output is recorded (`position`, in bytes) is kept in the same transaction as what it said, and what
a line makes gets an id that the same line always gives. So the rest can be read again after a crash.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.contents import Contents, EscapingOutput
from reconciler.service.ids import derived_id
from reconciler.service.joblog import log_event
from reconciler.service.jobs import Job
from reconciler.service.protocol import (
    BadLine,
    CheckpointLine,
    DoneLine,
    ErrorLine,
    EventLine,
    HeartbeatLine,
    InputLine,
    Line,
    OutputLine,
    ProgressLine,
    printable,
)

_SHOWN = 60  # characters of such a line, in the message; the payload has more
MOST_ENTRIES = 50_000  # events and progress of one index; a worker that talks without end must not fill the disk
_BAD_LINES = 100  # the same for what is not understood


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who wrote a line: one index of one attempt, the inputs it was given, the ports it may write to."""

    job: Job
    index: int
    input_ids: frozenset[str]
    ports: frozenset[str]
    output_dir: Path


@dataclass(frozen=True, slots=True)
class Recorded:
    """How far an index is recorded: bytes, lines, and whether it said that it is done, or why it failed."""

    position: int = 0
    lines: int = 0
    done: bool = False
    failure: dict[str, Any] | None = None


def recorded(tx: sqlite3.Connection, job: Job, index: int) -> Recorded:
    """How far the index of the job's attempt is recorded."""
    query = "SELECT position, kept, done, failure FROM indexes WHERE job_id = ? AND attempt = ? AND idx = ?"
    row = tx.execute(query, (job.id, job.attempt, index)).fetchone()
    if row is None:
        return Recorded()
    failure = json.loads(row["failure"]) if row["failure"] else None
    return Recorded(row["position"], row["kept"], bool(row["done"]), failure)


class Recorder:
    """Writes the lines of one batch within a transaction."""

    def __init__(self, tx: sqlite3.Connection, contents: Contents, speaker: Speaker, now: Callable[[], str]) -> None:
        self._tx = tx
        self._contents = contents
        self._speaker = speaker
        self._now = now

    def record(self, lines: Sequence[Line], position: int) -> None:
        """Write `lines`, after which the output is recorded up to `position`.

        Raises `EscapingOutput` for an output that cannot be taken; what came before it is written.
        """
        before = recorded(self._tx, self._speaker.job, self._speaker.index)
        done, failure, number = before.done, before.failure, before.lines
        try:
            for line in lines:
                if done:
                    break
                number += 1
                if isinstance(line, ErrorLine) and failure is None:
                    failure = line.error.model_dump(exclude_none=True)
                done = isinstance(line, DoneLine) and failure is None
                self._line(line, number)
        except EscapingOutput as error:
            failure = failure or invalid_output(error, self._speaker.index)
            raise
        finally:
            self._keep(Recorded(position, number, done, failure))

    def _keep(self, now: Recorded) -> None:
        self._tx.execute(
            "INSERT INTO indexes (job_id, attempt, idx, position, kept, done, failure) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET position = excluded.position, kept = excluded.kept, done = excluded.done,"
            " failure = excluded.failure",
            (
                self._speaker.job.id,
                self._speaker.job.attempt,
                self._speaker.index,
                now.position,
                now.lines,
                now.done,
                json.dumps(now.failure) if now.failure else None,
            ),
        )

    def _line(self, line: Line, number: int) -> None:
        foreign = _foreign_input(self._speaker, line)
        if foreign is not None:
            line = BadLine(f"{foreign!r} is no input of this index", "")
        if number > MOST_ENTRIES and isinstance(line, EventLine | ProgressLine | BadLine):
            if number == MOST_ENTRIES + 1:
                self._event(
                    "too_many_lines", "WARN", f"index {self._speaker.index} says too much: the rest is not kept"
                )
            return
        match line:
            case EventLine():
                self._event(line.event_type, line.level, line.message, line.payload, line.input_id)
            case ProgressLine():
                self._progress(line)
            case InputLine():
                done = None if line.status == "processing" else self._now()
                self._tx.execute(
                    "UPDATE inputs SET status = ?, error_message = ?, completed_at = ?"
                    " WHERE id = ? AND status != 'reference'",
                    (line.status, line.error_message, done, line.input_id),
                )
            case OutputLine():
                self._output(line, number)
            case CheckpointLine():
                self._checkpoint(line, number)
            case ErrorLine():
                self._event("error", "ERROR", line.error.message, line.error.model_dump(exclude_none=True))
            case BadLine():
                self._bad_line(line)
            case HeartbeatLine() | DoneLine():
                return

    def _event(
        self,
        event_type: str,
        level: str,
        message: str | None,
        payload: dict[str, Any] | None = None,
        input_id: str | None = None,
    ) -> None:
        log_event(
            self._tx,
            self._speaker.job.id,
            event_type,
            level,
            message,
            at=self._now(),
            payload=payload,
            input_id=input_id,
            index=self._speaker.index,
        )

    def _bad_line(self, line: BadLine) -> None:
        query = "SELECT COUNT(*) FROM events WHERE job_id = ? AND event_type = 'bad_line' AND idx = ?"
        (count,) = self._tx.execute(query, (self._speaker.job.id, self._speaker.index)).fetchone()
        if count < _BAD_LINES:
            shown = f": {line.text[:_SHOWN]!r}" if line.text else ""
            message = f"the worker wrote a line that is not understood: {line.reason}{shown}"
            self._event("bad_line", "WARN", message, {"reason": line.reason, "line": line.text})

    def _progress(self, line: ProgressLine) -> None:
        self._tx.execute(
            "INSERT INTO progress (job_id, kind, step, message, metrics, payload, input_id, idx, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._speaker.job.id,
                line.kind,
                line.step,
                line.message,
                json.dumps(line.metrics),
                json.dumps(line.payload),
                line.input_id,
                self._speaker.index,
                self._now(),
            ),
        )

    def _take(self, prefix: str, path: str, number: int) -> tuple[str, Path]:
        """Take a file over; the id is that of the line, so that the line read again finds what it took before."""
        job = self._speaker.job
        content_id = derived_id(prefix, job.id, str(job.attempt), str(self._speaker.index), str(number))
        return content_id, self._contents.take_over(content_id, self._speaker.output_dir, path)

    def _output(self, line: OutputLine, number: int) -> None:
        if line.port not in self._speaker.ports:
            known = ", ".join(sorted(self._speaker.ports)) or "none"
            raise EscapingOutput(
                f"the worker named the output port {line.port!r}, which the pipeline does not have: it has {known}"
            )
        output_id, path = self._take("out", line.path, number)
        self._tx.execute(
            "INSERT INTO outputs (id, job_id, port_name, input_id, filename, file_type, num_bytes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                output_id,
                self._speaker.job.id,
                line.port,
                line.input_id,
                path.name,
                line.file_type,
                path.stat().st_size,
                self._now(),
            ),
        )

    def _checkpoint(self, line: CheckpointLine, number: int) -> None:
        checkpoint_id, path = self._take("ckp", line.path, number)
        self._tx.execute(
            "INSERT INTO checkpoints (id, job_id, name, step, metrics, filename, file_type, num_bytes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                checkpoint_id,
                self._speaker.job.id,
                line.name,
                line.step,
                json.dumps(line.metrics),
                path.name,
                line.file_type,
                path.stat().st_size,
                self._now(),
            ),
        )


def invalid_output(error: EscapingOutput, index: int) -> dict[str, Any]:
    """The error of a job with an output that cannot be taken over."""
    return {"code": "invalid_output", "message": printable(str(error)), "details": {"index": index}}


def _foreign_input(speaker: Speaker, line: Line) -> str | None:
    """The input that the line is about, when this index was never given it."""
    about = getattr(line, "input_id", None)
    return str(about) if about is not None and about not in speaker.input_ids else None
