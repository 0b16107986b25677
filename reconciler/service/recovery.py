"""What workers had done before they were ended, by a service that died or by this one, is not lost."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.service.attempts import Attempts, Superseded
from reconciler.service.contents import EscapingOutput
from reconciler.service.engines import strays
from reconciler.service.folder import DataFolder
from reconciler.service.jobs import Job
from reconciler.service.protocol import LineSplitter
from reconciler.service.recording import Speaker
from reconciler.service.runs import speaker

_log = logging.getLogger(__name__)


def recover(
    folder: DataFolder,
    attempts: Attempts,
    *,
    places: Collection[str] | None = None,
    working: Collection[str] = (),
) -> None:
    """Call when the scheduler's lock was won: nobody schedules now, whatever the database and the folders say.

    Jobs whose workers had all said that they are done, or why they failed, end as they would have. The others are
    PREEMPTED and wait again. `places`: the markers of places that an engine whose work outlives the service still has,
    and `working` the jobs that still work there; these are left alone.
    """
    if places is None and (killed := strays.kill(str(folder.runs))):
        _log.warning("processes that an earlier service had left behind, and were ended: %d", killed)
    for job in attempts.active():
        if job.id not in working:
            take_up(job, folder.attempt(job.id, job.attempt), attempts)
    attempts.preempt_active("the service that ran it had ended", but=working)
    attempts.requeue()
    for path in folder.runs.iterdir():
        if path.name not in (places or ()):
            shutil.rmtree(path, ignore_errors=True)


def greeted(folder: Path) -> set[str] | None:
    """The ids of all inputs that the indexes of a place were told of; None when not all of them were prepared."""
    greetings = [json.loads(path.read_text()) for path in folder.glob("*/task.json")]
    if not greetings or len(greetings) < greetings[0]["parallelism"]:
        return None
    return {item["id"] for each in greetings for items in each["inputs"].values() for item in items}


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
        _record_rest(who, folder / str(who.index) / "stdout", attempts)
        state = attempts.recorded(job, who.index)
        if state.failure is not None and error is None:
            error, blamed = state.failure, list(who.input_ids)
        done += state.done
    if error is not None:
        attempts.end(job, error, blamed)
    elif done == greetings[0]["parallelism"]:
        attempts.end(job, None)


def _record_rest(who: Speaker, said: Path, attempts: Attempts) -> None:
    """Record what the index wrote and nobody has recorded. A last line without its end was cut off, and is dropped."""
    with suppress(FileNotFoundError, EscapingOutput), said.open("rb") as file:  # the second is recorded as its failure
        while not _record_from(attempts.recorded(who.job, who.index).position, who, file, attempts):
            pass


def _record_from(begin: int, who: Speaker, file: BinaryIO, attempts: Attempts) -> bool:
    """Record all from the position on; False when somebody else has recorded more meanwhile."""
    file.seek(begin)
    splitter = LineSplitter()
    start = begin
    while chunk := file.read(1 << 20):
        if lines := splitter.feed(chunk):
            end = begin + splitter.consumed
            if not attempts.record(who, lines, start, end):
                return False
            start = end
    return True
