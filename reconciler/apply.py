"""Carry out a plan: one action, one call, one record at a time. Nothing here decides what to do.

For a submission the order is: intent, sync, POST, outcome, sync. A failure of one action never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from reconciler.actions import Action
from reconciler.client import Client, Made, Refused, Submission
from reconciler.client.response import NotSent
from reconciler.entries import (
    Adopted,
    Cancelled,
    Forgotten,
    Intent,
    Moved,
    NotSubmitted,
    Observed,
    Retried,
    Submitted,
    token,
)
from reconciler.errors import ExitCode, KeyRefused, PlanRefused, PlatformError, ReconcilerError, StateError
from reconciler.foresight import Foresight
from reconciler.identities import literal_files
from reconciler.job import CancelCause, Gone, JobStatus, JsonObject, PlatformFile, Seen, Source, is_terminal, timestamp
from reconciler.journal import Journal
from reconciler.secrets import digests
from reconciler.transfer import named, transfer_all
from reconciler.uploading import Uploading, upload_all


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
    denied: bool = False
    """Whether the platform refused the key, or did not let it do this."""


_RECORD_ONLY = frozenset({"adopt", "move", "forget"})


@dataclass(frozen=True, slots=True)
class Tools:
    """What carrying out needs. `stop` is set by a signal: what has not begun by then is skipped."""

    client: Client
    journal: Journal
    lineage: str
    root: Path
    folder: Path
    """Where files that go from job to job lie for a moment."""
    now: Callable[[], datetime]
    stop: asyncio.Event
    source: Source | None = None
    parallelism: int = 16
    known: frozenset[str] = frozenset()
    """Job ids that are recorded already: a new job cannot have one of them."""
    done: Callable[[Outcome], None] = lambda outcome: None
    uploading: Uploading = field(default_factory=Uploading)
    foresight: Foresight = field(default_factory=Foresight)

    def timestamp(self) -> str:
        """Now, RFC 3339 UTC, whole seconds."""
        return timestamp(self.now())


async def carry_out(actions: Sequence[Action], tools: Tools) -> None:
    """Do `actions`, begun in their order. Each outcome goes to `tools.done`.

    At most `parallelism` requests are under way at a time, which the client sees to. A quarter more actions are begun:
    their entries are durable when a request may go out, so that none waits for the disk in the place of another.
    """
    # Bookkeeping goes first, all of it: a job that is adopted must be on record before anything else can go wrong.
    for group in (
        [a for a in actions if a.action in _RECORD_ONLY],
        [a for a in actions if a.action not in _RECORD_ONLY],
    ):
        await _side_by_side(group, tools)


async def _side_by_side(actions: Sequence[Action], tools: Tools) -> None:
    queue = iter(actions)

    async def work() -> None:
        for action in queue:
            if tools.stop.is_set():
                outcome = Outcome(action.name, action.action, "skipped", error="interrupted before it began")
            else:
                outcome = await _carry_out_one(action, tools)
            tools.done(outcome)

    at_once = tools.parallelism + tools.parallelism // 4
    await asyncio.gather(*(work() for _ in range(min(at_once, len(actions)))))


async def _carry_out_one(action: Action, tools: Tools) -> Outcome:
    try:
        match action.action:
            case "create" | "replace":
                return await _submit(action, tools)
            case "retry":
                return await _retry(action, tools)
            case "cancel" if action.cause is not None:
                return await _cancel_and_keep(action, tools)
            case "cancel":
                status = await _cancel(action, tools)
                await tools.journal.append(
                    Forgotten(name=action.name, at=tools.timestamp(), job_id=action.job_id or "")
                )
                return _done(action, status=status)
            case _:
                return await _record_only(action, tools)
    except (PlatformError, PlanRefused) as error:
        return _failed(action, error)
    except OSError as error:
        return _failed(action, PlatformError(str(error)))
    except StateError as error:
        # The disk failed before anything was sent: whatever was not begun must not begin.
        tools.stop.set()
        return _failed(action, error)


def _failed(action: Action, error: ReconcilerError) -> Outcome:
    return Outcome(
        action.name,
        action.action,
        "failed",
        action.job_id,
        action.status,
        error.message,
        error.hint,
        error.exit_code,
        isinstance(error, KeyRefused),
    )


def _done(action: Action, *, job_id: str | None = None, status: str | None = None) -> Outcome:
    return Outcome(action.name, action.action, "done", job_id or action.job_id, status or action.status)


async def _submit(action: Action, tools: Tools) -> Outcome:
    assert action.request is not None
    sent = action.pinned or action.request
    if action.sources:
        sent, taken = await named(tools.client, sent, action.sources)
        await transfer_all(tools.client, taken, tools.folder, tools.parallelism)
    tools.client.secrets.fill(sent)  # before anything is cancelled for it
    if action.cancels and (unfit := tools.foresight.unfit(sent, tools.client.secrets)):
        return _left(action, unfit)
    if not await upload_all(action.uploads, tools.client, tools.root, tools.stop, tools.uploading):
        return Outcome(action.name, action.action, "skipped", error="interrupted before it began")
    files = await tools.foresight.identities.of(tools.client, literal_files(action.request, action.uploads))
    if action.cancels and (fault := await tools.foresight.fault(tools.client, action.request, action.uploads)):
        return _left(action, fault)
    if action.moved_from:
        await tools.journal.append(_moved(action, tools))
    if action.cancels:
        await tools.journal.append(_cancelled(action, "replace", tools))
        await _cancel(action, tools)
    intent = _intent(action, sent, files, tools)
    await tools.journal.append(intent)
    result = await tools.client.submit(action.name, sent, intent.token)
    try:
        return await _record_submission(action, result, intent.token, tools)
    except StateError as error:
        # It was sent, and could not be written down: the next run settles it by its intent.
        tools.stop.set()
        made = f"{result.job.id}: " if isinstance(result, Made) else ""
        return _unknown(action, f"{made}{error.message}")


def _left(action: Action, fault: ReconcilerError) -> Outcome:
    """Nothing was cancelled for what cannot follow."""
    return replace(_failed(action, fault), hint=f"{fault.hint}; {action.job_id} was left as it is")


def _intent(action: Action, sent: JsonObject, files: dict[str, PlatformFile], tools: Tools) -> Intent:
    """What is about to be submitted: `sent`, with what the platform says of its files."""
    assert action.request is not None
    assert action.generation is not None
    assert action.fingerprint is not None
    platform_now = tools.client.platform_now()
    return Intent(
        name=action.name,
        at=tools.timestamp(),
        action="replace" if action.action == "replace" else "create",
        fingerprint=action.fingerprint,
        generation=action.generation,
        token=token(tools.lineage, action.name, action.generation),
        request=action.request,
        sent=sent if sent != action.request else None,
        sources=action.sources,
        secrets=digests(tools.lineage, action.secrets, tools.client.secrets.environment),
        spec_path=action.spec_path or "",
        line=action.line,
        source=tools.source,
        protect=action.protected,
        on_remove=action.on_remove,
        rerun=action.rerun,
        files=files,
        why=action.reason,
        platform_time=timestamp(platform_now) if platform_now else None,
    )


async def _record_submission(action: Action, result: Submission, mark: str, tools: Tools) -> Outcome:
    if isinstance(result, Made) and result.job.id in tools.known:
        return _unknown(action, f"the platform answered with a job that is recorded already, {result.job.id}")
    if isinstance(result, Made):
        job = result.job
        entry = Submitted(name=action.name, at=tools.timestamp(), token=mark, job_id=job.id, job=job.raw)
        await tools.journal.append(entry)
        return _done(action, job_id=job.id, status=job.status)
    if isinstance(result, Refused):
        error = result.error
        refusal = NotSubmitted(name=action.name, at=tools.timestamp(), token=mark, refused=True, reason=error.message)
        await tools.journal.append(refusal)
        failed = _failed(action, error)
        if not action.cancels:
            return failed
        gone = (
            f"{action.job_id} was cancelled for it, so nothing runs now; with its old spec the next apply runs it again"
        )
        return replace(failed, hint=f"{failed.hint}; {gone}" if failed.hint else gone)
    return _unknown(action, result.reason)


def _unknown(action: Action, reason: str) -> Outcome:
    return Outcome(action.name, action.action, "unknown", error=reason, exit_code=ExitCode.UNKNOWN)


async def _cancel(action: Action, tools: Tools) -> str | None:
    """Cancel, and record what became of it. Raises `PlatformError` unless the job has ended or its end was accepted."""
    assert action.job_id is not None
    accepted = await tools.client.cancel(action.job_id)
    status, gone = await _observe(action, tools)
    if not accepted and not gone and (status is None or not is_terminal(status)):
        hint = "nothing was done instead of it; run the command again when the job can be cancelled"
        raise PlatformError(f"{action.job_id} could not be cancelled: it is {status or 'not to be seen'}", hint)
    return status


def _cancelled(action: Action, cause: CancelCause, tools: Tools) -> Cancelled:
    return Cancelled(
        name=action.name,
        at=tools.timestamp(),
        job_id=action.job_id or "",
        attempt=action.attempt or 1,
        cause=cause,
        source=tools.source,
    )


async def _cancel_and_keep(action: Action, tools: Tools) -> Outcome:
    """Cancel, and keep the record, with a note why: what becomes of the job depends on it."""
    assert action.cause is not None
    entry = _cancelled(action, action.cause, tools)
    await tools.journal.append(entry)
    try:
        status = await _cancel(action, tools)
    except PlatformError as error:
        if _certainly_not(error):
            await tools.journal.append(entry.model_copy(update={"undone": True}))
        raise
    if status is not None and is_terminal(status) and status != JobStatus.CANCELLED:
        reason = f"{action.job_id} had ended before it could be cancelled: it is {status}"
        return Outcome(action.name, "cancel", "skipped", action.job_id, status, error=reason)
    return _done(action, status=status)


def _certainly_not(error: PlatformError) -> bool:
    """Whether the platform did nothing of what it was asked for."""
    return isinstance(error, NotSent) or (error.status is not None and 400 <= error.status < 500)


async def _observe(action: Action, tools: Tools) -> tuple[str | None, bool]:
    """Record what became of the job; its status, if the platform said it, and whether the platform has no such job."""
    assert action.job_id is not None
    seen = await tools.client.observe(action.job_id)
    if isinstance(seen, Seen):
        entry = Observed(name=action.name, at=tools.timestamp(), job_id=action.job_id, job=seen.job.raw)
        await tools.journal.append(entry)
        return seen.job.status, False
    if isinstance(seen, Gone):
        await tools.journal.append(Observed(name=action.name, at=tools.timestamp(), job_id=action.job_id, job=None))
    return None, isinstance(seen, Gone)


async def _retry(action: Action, tools: Tools) -> Outcome:
    assert action.job_id is not None
    assert action.attempt is not None
    status, _ = await _observe(action, tools)
    if status is not None and status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return _done(action, status=status)  # somebody retried it meanwhile
    entry = Retried(
        name=action.name, at=tools.timestamp(), job_id=action.job_id, attempt=action.attempt, source=tools.source
    )
    await tools.journal.append(entry)
    try:
        await tools.client.retry(action.job_id)
    except PlatformError as error:
        if _certainly_not(error):
            await tools.journal.append(entry.model_copy(update={"undone": True}))  # it certainly did not run
        # Refused or not answered: the job may run again all the same, so what it does now is recorded.
        status, _ = await _observe(action, tools)
        if status is None or is_terminal(status):
            raise
    else:
        status, _ = await _observe(action, tools)
    return _done(action, status=status)


async def _record_only(action: Action, tools: Tools) -> Outcome:
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
            secrets=dict.fromkeys(action.secrets, ""),  # what it was submitted with is not known
            spec_path=action.spec_path or "",
            job=action.observed or {},
            line=action.line,
            source=tools.source,
            protect=action.protected,
            on_remove=action.on_remove,
            rerun=action.rerun,
            why=action.reason,
        )
        await tools.journal.append(entry)
    elif action.action == "move":
        await tools.journal.append(_moved(action, tools))
    else:
        await tools.journal.append(Forgotten(name=action.name, at=at, job_id=action.job_id or ""))
    return _done(action)


def _moved(action: Action, tools: Tools) -> Moved:
    return Moved(
        name=action.name,
        at=tools.timestamp(),
        job_id=action.job_id or "",
        moved_from=action.moved_from or "",
        spec_path=action.spec_path or "",
        line=action.line,
        protect=action.protected,
        on_remove=action.on_remove,
        source=tools.source,
    )
