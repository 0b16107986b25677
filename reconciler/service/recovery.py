"""What workers had done before they were ended, by a service that died or by this one, is not lost."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.service.attempts import Attempts, Superseded
from reconciler.service.contents import EscapingOutput
from reconciler.service.engines import strays
from reconciler.service.folder import DataFolder
from reconciler.service.jobs import Job
from reconciler.service.protocol import DoneLine, ErrorLine, Line, LineSplitter
from reconciler.service.runs import speaker

_log = logging.getLogger(__name__)


def recover(folder: DataFolder, attempts: Attempts) -> None:
    """Call when the scheduler's lock was won: nobody schedules now, whatever the database and the folders say.

    Jobs whose workers had all said that they are done, or why they failed, end as they would have. The others are
    PREEMPTED and wait again.
    """
    killed = strays.kill(str(folder.runs))
    if killed:
        _log.warning("ended %d processes that an earlier service had left behind", killed)
    for job in attempts.active():
        take_up(job, folder.attempt(job.id, job.attempt), attempts)
    attempts.preempt_active()
    attempts.requeue()
    for path in folder.runs.iterdir():
        shutil.rmtree(path, ignore_errors=True)


def take_up(job: Job, folder: Path, attempts: Attempts) -> None:
    """Record what the workers of an attempt had written in its folder before they were ended, and end the job if that
    is all of its work. Nothing happens when the attempt no longer counts.
    """
    try:
        _take_up(job, folder, attempts)
    except Superseded:
        return
    except (OSError, ValueError, KeyError):
        _log.exception("what job %s had written cannot be read; it runs again", job.id)


def _take_up(job: Job, folder: Path, attempts: Attempts) -> None:
    pipeline = attempts.pipeline(job)
    greetings = [json.loads(path.read_text()) for path in sorted(folder.glob("*/task.json"))]
    if pipeline is None or not greetings:
        return
    done = 0
    error: dict[str, Any] | None = None
    blamed: list[str] = []
    for greeting in greetings:
        who = speaker(job, pipeline, greeting)
        state = attempts.recorded(job, who.index)
        said = folder / str(who.index) / "stdout"
        lines, end = _read(said, state.position)
        if lines and not state.done:
            try:
                attempts.record(who, lines, end)
            except EscapingOutput as escaping:
                error = error or {"code": "invalid_output", "message": str(escaping)}
        failure = _failure(said)
        if failure is not None and error is None:
            error, blamed = failure, list(who.input_ids)
        done += state.done or any(isinstance(line, DoneLine) for line in lines)
    if error is not None:
        attempts.end(job, error, blamed)
    elif done == greetings[0]["parallelism"]:
        attempts.end(job, None)


def _read(said: Path, start: int) -> tuple[list[Line], int]:
    """The lines from `start` on, and where they end. A last line without its end was cut off, and is dropped."""
    splitter = LineSplitter()
    lines = [line for batch in _batches(said, start, splitter) for line in batch]
    return lines, start + splitter.consumed


def _failure(said: Path) -> dict[str, Any] | None:
    """The first error that the worker named, unless it had said before that it was done. It may have been recorded
    already, by a service that died before it acted on it.
    """
    for batch in _batches(said, 0, LineSplitter()):
        for line in batch:
            if isinstance(line, ErrorLine):
                return line.error.model_dump(exclude_none=True)
            if isinstance(line, DoneLine):
                return None
    return None


def _batches(said: Path, start: int, splitter: LineSplitter) -> Iterator[list[Line]]:
    if said.is_file():
        with said.open("rb") as file:
            file.seek(start)
            while chunk := file.read(1 << 20):
                yield splitter.feed(chunk)
