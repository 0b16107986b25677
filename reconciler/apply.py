"""Carry out a plan: one action, one call, one record at a time. Nothing here decides what to do.

For a submission the order is: intent, sync, POST, outcome, sync. A failure of one action never stops the others.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from reconciler.client import Client, Made, Refused
from reconciler.errors import ExitCode, PlatformError, StateError
from reconciler.job import Gone, Seen, Upload, is_terminal
from reconciler.journal import Journal
from reconciler.plan import Action
from reconciler.record import Adopted, Forgotten, Intent, Moved, NotSubmitted, Observed, Retried, Submitted, token


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one action."""

    name: str
    action: str
    outcome: Literal["done", "failed", "skipped", "unknown"]
    job_id: str | None = None
    status: str | None = None
    error: str | None = None
    hint: str | None = None
    exit_code: ExitCode = ExitCode.OK


@dataclass(frozen=True, slots=True)
class Tools:
    """What carrying out needs. `stop` is set by a signal: what has not begun by then is skipped."""

    client: Client
    journal: Journal
    lineage: str
    root: Path
    now: Callable[[], datetime]
    stop: asyncio.Event
    parallelism: int = 16
    done: Callable[[Outcome], None] = lambda outcome: None
    uploading: dict[str, asyncio.Lock] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)

    def timestamp(self) -> str:
        """Now, RFC 3339 UTC, whole seconds."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


async def carry_out(actions: Sequence[Action], commit: str | None, tools: Tools) -> None:
    """Do `actions`, at most `parallelism` at a time, begun in their order. Each outcome goes to `tools.done`."""
    queue = iter(actions)

    async def work() -> None:
        for action in queue:
            if tools.stop.is_set():
                outcome = Outcome(action.name, action.action, "skipped", error="interrupted before it began")
            else:
                outcome = await _carry_out_one(action, commit, tools)
            tools.done(outcome)

    await asyncio.gather(*(work() for _ in range(min(tools.parallelism, len(actions)))))


async def _carry_out_one(action: Action, commit: str | None, tools: Tools) -> Outcome:
    try:
        match action.action:
            case "create" | "replace":
                return await _submit(action, commit, tools)
            case "retry":
                return await _retry(action, tools)
            case "cancel":
                status = await _cancel(action, tools)
                await tools.journal.append(
                    Forgotten(name=action.name, at=tools.timestamp(), job_id=action.job_id or "")
                )
                return _done(action, status=status)
            case _:
                return await _record_only(action, commit, tools)
    except PlatformError as error:
        return _failed(action, error)
    except OSError as error:
        return _failed(action, PlatformError(str(error)))
    except StateError as error:
        # The disk failed: whatever was not begun must not begin. What was begun is settled by the next run.
        tools.stop.set()
        return Outcome(action.name, action.action, "unknown", None, None, error.message, error.hint, ExitCode.UNKNOWN)


def _failed(action: Action, error: PlatformError) -> Outcome:
    return Outcome(
        action.name,
        action.action,
        "failed",
        action.job_id,
        action.status,
        error.message,
        error.hint,
        error.exit_code,
    )


def _done(action: Action, *, job_id: str | None = None, status: str | None = None) -> Outcome:
    return Outcome(action.name, action.action, "done", job_id or action.job_id, status or action.status)


async def _submit(action: Action, commit: str | None, tools: Tools) -> Outcome:
    assert action.request is not None
    assert action.generation is not None
    assert action.fingerprint is not None
    for upload in action.uploads:
        await _upload(upload, tools)
    if action.cancels:
        await _cancel(action, tools)
    mark = token(tools.lineage, action.name, action.generation)
    platform_now = tools.client.platform_now()
    await tools.journal.append(
        Intent(
            name=action.name,
            at=tools.timestamp(),
            action="replace" if action.action == "replace" else "create",
            fingerprint=action.fingerprint,
            generation=action.generation,
            token=mark,
            request=action.request,
            spec_path=action.spec_path or "",
            commit=commit,
            platform_time=platform_now.strftime("%Y-%m-%dT%H:%M:%SZ") if platform_now else None,
        )
    )
    result = await tools.client.submit(action.name, action.request, mark)
    if isinstance(result, Made):
        job = result.job
        entry = Submitted(name=action.name, at=tools.timestamp(), token=mark, job_id=job.id, job=job.raw)
        await tools.journal.append(entry)
        return _done(action, job_id=job.id, status=job.status)
    if isinstance(result, Refused):
        error = result.error
        refusal = NotSubmitted(name=action.name, at=tools.timestamp(), token=mark, refused=True, reason=error.message)
        await tools.journal.append(refusal)
        return _failed(action, error)
    return Outcome(action.name, action.action, "unknown", error=result.reason, exit_code=ExitCode.UNKNOWN)


async def _upload(upload: Upload, tools: Tools) -> None:
    lock = tools.uploading.setdefault(upload.file_id, asyncio.Lock())
    async with lock:  # jobs that share a file send it once
        if upload.file_id in tools.uploaded:
            return
        if not await tools.client.has_file(upload):
            path = tools.root / upload.path
            if await asyncio.to_thread(_digest, path) != upload.digest:
                raise PlatformError(f"{upload.path} has changed since the plan was made", "plan again")
            await tools.client.upload(upload, path)
        tools.uploaded.add(upload.file_id)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


async def _cancel(action: Action, tools: Tools) -> str | None:
    assert action.job_id is not None
    await tools.client.cancel(action.job_id)
    return await _observe(action, tools)


async def _observe(action: Action, tools: Tools) -> str | None:
    """Record what became of the job; its status, if the platform said it."""
    assert action.job_id is not None
    seen = await tools.client.observe(action.job_id)
    if isinstance(seen, Seen):
        entry = Observed(name=action.name, at=tools.timestamp(), job_id=action.job_id, job=seen.job.raw)
        await tools.journal.append(entry)
        return seen.job.status
    if isinstance(seen, Gone):
        await tools.journal.append(Observed(name=action.name, at=tools.timestamp(), job_id=action.job_id, job=None))
    return None


async def _retry(action: Action, tools: Tools) -> Outcome:
    assert action.job_id is not None
    assert action.attempt is not None
    await tools.journal.append(
        Retried(name=action.name, at=tools.timestamp(), job_id=action.job_id, attempt=action.attempt)
    )
    try:
        await tools.client.retry(action.job_id)
    except PlatformError:
        # Refused or not answered: the job may run again all the same, so what it does now is recorded first.
        status = await _observe(action, tools)
        if status is None or is_terminal(status):
            raise
    else:
        status = await _observe(action, tools)
    return _done(action, status=status)


async def _record_only(action: Action, commit: str | None, tools: Tools) -> Outcome:
    at = tools.timestamp()
    if action.action == "adopt":
        assert action.job_id is not None
        assert action.request is not None
        entry = Adopted(
            name=action.name,
            at=at,
            job_id=action.job_id,
            fingerprint=action.fingerprint or "",
            request=action.request,
            spec_path=action.spec_path or "",
            job=action.observed or {},
            commit=commit,
        )
        await tools.journal.append(entry)
    elif action.action == "move":
        moved = Moved(
            name=action.name,
            at=at,
            job_id=action.job_id or "",
            moved_from=action.moved_from or "",
            spec_path=action.spec_path or "",
        )
        await tools.journal.append(moved)
    else:
        await tools.journal.append(Forgotten(name=action.name, at=at, job_id=action.job_id or ""))
    return _done(action)
